"""Solver, decomposition and export together."""

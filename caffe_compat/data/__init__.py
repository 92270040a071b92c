"""Stored bytes -> arrays (no torch)."""

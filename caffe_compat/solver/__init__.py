"""Caffe's solver."""

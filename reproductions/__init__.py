"""Nets of the paper, trained, forced and measured with caffe_compat."""

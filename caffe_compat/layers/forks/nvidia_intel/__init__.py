"""What NVIDIA's and Intel's forks add to Caffe's own types."""

from caffe_compat.layers.forks.nvidia_intel import fused as fused

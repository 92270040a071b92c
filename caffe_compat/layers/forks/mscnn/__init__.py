"""The layers of MS-CNN (zhaoweicai/mscnn)."""

from caffe_compat.layers.forks.mscnn import boxes as boxes
from caffe_compat.layers.forks.mscnn import heads as heads
from caffe_compat.layers.forks.mscnn import roi_align as roi_align

"""The layers of the segmentation forks: DeepLab, PSPNet, SegNet."""

from caffe_compat.layers.forks.segmentation import bn as bn
from caffe_compat.layers.forks.segmentation import evaluation as evaluation
from caffe_compat.layers.forks.segmentation import resampling as resampling
from caffe_compat.layers.forks.segmentation import spatial_transformer as spatial_transformer

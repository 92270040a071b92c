"""The layers of Fast and Faster R-CNN (rbgirshick/caffe-fast-rcnn, py-faster-rcnn and their ports)."""

from caffe_compat.layers.forks.faster_rcnn import proposal as proposal
from caffe_compat.layers.forks.faster_rcnn import python_layers as python_layers
from caffe_compat.layers.forks.faster_rcnn import roi_pooling as roi_pooling

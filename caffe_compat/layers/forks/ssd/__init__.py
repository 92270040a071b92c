"""SSD's layers (weiliu89/caffe, branch ssd)."""

from caffe_compat.layers.forks.ssd import detection as detection
from caffe_compat.layers.forks.ssd import detection_evaluate as detection_evaluate
from caffe_compat.layers.forks.ssd import multibox_loss as multibox_loss
from caffe_compat.layers.forks.ssd import normalize as normalize
from caffe_compat.layers.forks.ssd import rearrangement as rearrangement

"""The layers of FlowNet 2.0 (lmb-freiburg/flownet2)."""

from caffe_compat.layers.forks.flownet import flow as flow
from caffe_compat.layers.forks.flownet import lpq_loss as lpq_loss

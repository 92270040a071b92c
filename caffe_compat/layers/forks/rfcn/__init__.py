"""The layers of R-FCN and of its deformable kin (daijifeng001/caffe-rfcn and ports)."""

from caffe_compat.layers.forks.rfcn import deformable as deformable
from caffe_compat.layers.forks.rfcn import ohem as ohem

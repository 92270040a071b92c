"""R-FCN: daijifeng001/caffe-rfcn and ports.

ohem           BoxAnnotatorOHEM SoftmaxWithLossOHEM SmoothL1LossOHEM
psroi_pooling  PSROIPooling
"""

from caffe_compat.layers.forks.rfcn import ohem as ohem
from caffe_compat.layers.forks.rfcn import psroi_pooling as psroi_pooling

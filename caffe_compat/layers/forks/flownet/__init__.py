"""FlowNet 2.0: lmb-freiburg/flownet2.

channel_norm  ChannelNorm
correlation   Correlation Correlation1D
custom_data   CustomData
flow_warp     FlowWarp
lpq_loss      LpqLoss
mean          Mean
neg_relu      NegReLU
resample      Resample Downsample
"""

from caffe_compat.layers.forks.flownet import channel_norm as channel_norm
from caffe_compat.layers.forks.flownet import correlation as correlation
from caffe_compat.layers.forks.flownet import custom_data as custom_data
from caffe_compat.layers.forks.flownet import flow_warp as flow_warp
from caffe_compat.layers.forks.flownet import lpq_loss as lpq_loss
from caffe_compat.layers.forks.flownet import mean as mean
from caffe_compat.layers.forks.flownet import neg_relu as neg_relu
from caffe_compat.layers.forks.flownet import resample as resample

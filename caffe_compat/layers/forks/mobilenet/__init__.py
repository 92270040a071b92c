"""MobileNet and ShuffleNet: their forks, farmingyard/ShuffleNet.

depthwise_convolution  DepthwiseConvolution ConvolutionDepthwise
hard_swish             HardSwish HSwish
shuffle_channel        ShuffleChannel
"""

from caffe_compat.layers.forks.mobilenet import depthwise_convolution as depthwise_convolution
from caffe_compat.layers.forks.mobilenet import hard_swish as hard_swish
from caffe_compat.layers.forks.mobilenet import shuffle_channel as shuffle_channel

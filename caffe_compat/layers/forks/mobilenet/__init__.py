"""The layers of the MobileNet and ShuffleNet forks."""

from caffe_compat.layers.forks.mobilenet import depthwise_convolution as depthwise_convolution

"""MobileNet and ShuffleNet: their forks, farmingyard/ShuffleNet.

depthwise_convolution  DepthwiseConvolution ConvolutionDepthwise
hard_swish             HardSwish HSwish
shuffle_channel        ShuffleChannel
"""

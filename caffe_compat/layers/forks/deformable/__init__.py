"""Deformable ConvNets: unsky/Deformable-ConvNets-caffe, makefile/frcnn.

deformable_convolution    DeformableConvolution
deformable_psroi_pooling  DeformablePSROIPooling
"""

from caffe_compat.layers.forks.deformable import deformable_convolution as deformable_convolution
from caffe_compat.layers.forks.deformable import deformable_psroi_pooling as deformable_psroi_pooling

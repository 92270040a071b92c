"""Deformable ConvNets: unsky/Deformable-ConvNets-caffe, makefile/frcnn.

deformable_convolution    DeformableConvolution
deformable_psroi_pooling  DeformablePSROIPooling
"""

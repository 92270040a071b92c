"""NVIDIA and Intel: NVIDIA/caffe, intel/caffe.

batch_norm     a variant of BatchNorm
convolution    a variant of Convolution
inner_product  a variant of InnerProduct
l1_loss        L1Loss
"""

from caffe_compat.layers.forks.nvidia_intel import batch_norm as batch_norm
from caffe_compat.layers.forks.nvidia_intel import convolution as convolution
from caffe_compat.layers.forks.nvidia_intel import inner_product as inner_product
from caffe_compat.layers.forks.nvidia_intel import l1_loss as l1_loss

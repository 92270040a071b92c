"""NVIDIA and Intel: NVIDIA/caffe, intel/caffe.

batch_norm     a variant of BatchNorm
convolution    a variant of Convolution
inner_product  a variant of InnerProduct
l1_loss        L1Loss
"""

"""Converted nets: synopsys-caffe, sophgo/caffe, inisis/caffe, winggan/caffe, whose layers stand for other frameworks'.

hard_sigmoid  HardSigmoid
mat_mul       MatMul
max_unpool    MaxUnPool
padding       Padding
pass_through  PassThrough
softplus      Softplus
"""

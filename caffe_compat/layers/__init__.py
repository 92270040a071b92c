"""Caffe's layer types, one module a family; importing the package registers all of them."""

from caffe_compat.layers import activation as activation
from caffe_compat.layers import arithmetic as arithmetic
from caffe_compat.layers import convolution as convolution
from caffe_compat.layers import cross_entropy as cross_entropy
from caffe_compat.layers import dropout as dropout
from caffe_compat.layers import hdf5_output as hdf5_output
from caffe_compat.layers import infogain as infogain
from caffe_compat.layers import inner_product as inner_product
from caffe_compat.layers import loss as loss
from caffe_compat.layers import lrn as lrn
from caffe_compat.layers import metric as metric
from caffe_compat.layers import normalization as normalization
from caffe_compat.layers import pooling as pooling
from caffe_compat.layers import python_layer as python_layer
from caffe_compat.layers import recurrent as recurrent
from caffe_compat.layers import routing as routing
from caffe_compat.layers import selection as selection
from caffe_compat.layers import soft_threshold as soft_threshold
from caffe_compat.layers import softmax as softmax
from caffe_compat.layers import source as source
from caffe_compat.layers import stored as stored

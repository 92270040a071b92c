"""The layer types of Caffe 1.0 (BVLC/caffe), and the two of the paper's fork: soft_threshold.py."""

from caffe_compat.layers.caffe import accuracy as accuracy
from caffe_compat.layers.caffe import activation as activation
from caffe_compat.layers.caffe import arithmetic as arithmetic
from caffe_compat.layers.caffe import convolution as convolution
from caffe_compat.layers.caffe import cross_entropy as cross_entropy
from caffe_compat.layers.caffe import data as data
from caffe_compat.layers.caffe import dropout as dropout
from caffe_compat.layers.caffe import hdf5_output as hdf5_output
from caffe_compat.layers.caffe import infogain_loss as infogain_loss
from caffe_compat.layers.caffe import inner_product as inner_product
from caffe_compat.layers.caffe import lrn as lrn
from caffe_compat.layers.caffe import normalization as normalization
from caffe_compat.layers.caffe import pooling as pooling
from caffe_compat.layers.caffe import python_layer as python_layer
from caffe_compat.layers.caffe import recurrent as recurrent
from caffe_compat.layers.caffe import routing as routing
from caffe_compat.layers.caffe import selection as selection
from caffe_compat.layers.caffe import soft_threshold as soft_threshold
from caffe_compat.layers.caffe import softmax as softmax

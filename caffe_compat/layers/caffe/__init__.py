"""Caffe 1.0: the layer types of BVLC/caffe, and the two of the paper's fork (wenwei202/caffe, branch sfm).

abs_val                     AbsVal
accuracy                    Accuracy
activation                  ReLU PReLU ELU Sigmoid TanH BNLL Swish
arg_max                     ArgMax
batch_norm                  BatchNorm
batch_reindex               BatchReindex
clip                        Clip
concat_slice                Concat Slice
contrastive_loss            ContrastiveLoss
convolution                 Convolution Deconvolution
crop                        Crop
data                        Data HDF5Data ImageData WindowData
dropout                     Dropout
eltwise                     Eltwise
embed                       Embed
euclidean_loss              EuclideanLoss
exp_log                     Exp Log
filter                      Filter
flatten_reshape             Flatten Reshape
hdf5_output                 HDF5Output
hinge_loss                  HingeLoss
im2col                      Im2col
infogain_loss               InfogainLoss
inner_product               InnerProduct
input_data                  Input DummyData MemoryData
lrn                         LRN
lstm                        LSTM LSTMUnit
multinomial_logistic_loss   MultinomialLogisticLoss
mvn                         MVN
parameter                   Parameter
pooling                     Pooling
power                       Power
python_layer                Python
recurrent                   what RNN and LSTM have in common
reduction                   Reduction
rnn                         RNN
scale_bias                  Scale Bias
sigmoid_cross_entropy_loss  SigmoidCrossEntropyLoss
silence                     Silence
softmax                     Softmax
softmax_with_loss           SoftmaxWithLoss
sparsify                    Sparsify
split                       Split
spp                         SPP
symmetric_rectify           SymmetricRectify
threshold                   Threshold
tile                        Tile
"""

from caffe_compat.layers.caffe import abs_val as abs_val
from caffe_compat.layers.caffe import accuracy as accuracy
from caffe_compat.layers.caffe import activation as activation
from caffe_compat.layers.caffe import arg_max as arg_max
from caffe_compat.layers.caffe import batch_norm as batch_norm
from caffe_compat.layers.caffe import batch_reindex as batch_reindex
from caffe_compat.layers.caffe import clip as clip
from caffe_compat.layers.caffe import concat_slice as concat_slice
from caffe_compat.layers.caffe import contrastive_loss as contrastive_loss
from caffe_compat.layers.caffe import convolution as convolution
from caffe_compat.layers.caffe import crop as crop
from caffe_compat.layers.caffe import data as data
from caffe_compat.layers.caffe import dropout as dropout
from caffe_compat.layers.caffe import eltwise as eltwise
from caffe_compat.layers.caffe import embed as embed
from caffe_compat.layers.caffe import euclidean_loss as euclidean_loss
from caffe_compat.layers.caffe import exp_log as exp_log
from caffe_compat.layers.caffe import filter as filter
from caffe_compat.layers.caffe import flatten_reshape as flatten_reshape
from caffe_compat.layers.caffe import hdf5_output as hdf5_output
from caffe_compat.layers.caffe import hinge_loss as hinge_loss
from caffe_compat.layers.caffe import im2col as im2col
from caffe_compat.layers.caffe import infogain_loss as infogain_loss
from caffe_compat.layers.caffe import inner_product as inner_product
from caffe_compat.layers.caffe import input_data as input_data
from caffe_compat.layers.caffe import lrn as lrn
from caffe_compat.layers.caffe import lstm as lstm
from caffe_compat.layers.caffe import multinomial_logistic_loss as multinomial_logistic_loss
from caffe_compat.layers.caffe import mvn as mvn
from caffe_compat.layers.caffe import parameter as parameter
from caffe_compat.layers.caffe import pooling as pooling
from caffe_compat.layers.caffe import power as power
from caffe_compat.layers.caffe import python_layer as python_layer
from caffe_compat.layers.caffe import recurrent as recurrent
from caffe_compat.layers.caffe import reduction as reduction
from caffe_compat.layers.caffe import rnn as rnn
from caffe_compat.layers.caffe import scale_bias as scale_bias
from caffe_compat.layers.caffe import sigmoid_cross_entropy_loss as sigmoid_cross_entropy_loss
from caffe_compat.layers.caffe import silence as silence
from caffe_compat.layers.caffe import softmax as softmax
from caffe_compat.layers.caffe import softmax_with_loss as softmax_with_loss
from caffe_compat.layers.caffe import sparsify as sparsify
from caffe_compat.layers.caffe import split as split
from caffe_compat.layers.caffe import spp as spp
from caffe_compat.layers.caffe import symmetric_rectify as symmetric_rectify
from caffe_compat.layers.caffe import threshold as threshold
from caffe_compat.layers.caffe import tile as tile

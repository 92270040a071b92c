"""Caffe 1.0: the layer types of BVLC/caffe, and the two of the paper's fork (wenwei202/caffe, branch sfm).

abs_val                     AbsVal
accuracy                    Accuracy
activation                  ReLU PReLU ELU Sigmoid TanH BNLL Swish
arg_max                     ArgMax
backward                    backward passes of layers that compute with what is left in memory
batch_norm                  BatchNorm
batch_norm_chain            a BatchNorm and the layers behind it as one
batch_norm_loops            BatchNorm and what is behind it by compiled loops
batch_reindex               BatchReindex
blas                        what a matrix product leaves where its result lies on a factor
clip                        Clip
concat_slice                Concat Slice
connections                 which of its inputs a filter of a Convolution reads
contrastive_loss            ContrastiveLoss
convolution                 Convolution Deconvolution
crop                        Crop
data                        Data HDF5Data ImageData WindowData
dropout                     Dropout
eltwise                     Eltwise
eltwise_loops               the SUM of two blobs and a ReLU by compiled loops
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
lrn_loops                   LRN by compiled loops
lstm                        LSTM LSTMUnit
multinomial_logistic_loss   MultinomialLogisticLoss
mvn                         MVN
overwriting                 forward passes in place that overwrite their bottom
parameter                   Parameter
pooling                     Pooling
pooling_loops               MAX and AVE pooling by compiled loops
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

"""Caffe -> ONNX: a file that runtimes of today read, and a check of its outputs.

program      nodes and constants while they are written, one layer as it is called; who writes which layer type
windows      layers with windows or learned mixing: convolution, pooling, LRN, InnerProduct, resampling
elements     layers that work value by value, over an axis, or only move values
channels     layers that normalise, scale or rectify over channels, and dense blocks of them
places       layers that move values to other places, repeat or drop them
sequences    recurrent layers step by step, embedding, reversal, greedy decoding
detection    prior boxes, decoding, NonMaxSuppression, pooling of regions
yolo         YOLO's detections
attention    attention over heads, and its normalisation
converted    layers that stand for other frameworks' operators
in_place     layers in place that overwrite what is still read
model        a whole net as an onnx.ModelProto
file         that model as a file, and the file beside the net
"""

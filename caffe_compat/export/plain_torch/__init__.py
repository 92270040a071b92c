"""Caffe -> PyTorch source: a model.py of torch.nn alone, its weights, and a check of every blob.

source      the text of model.py while it is written: modules, statements, weights; who writes which layer type
elements    layers that work value by value, over an axis, or only move values
windows     layers with windows or learned mixing: convolution, pooling, LRN, InnerProduct
forks       layers of forks: rectifiers, normalisations, moves of values, constants
functions   what torch.nn has no module for, as short functions that model.py gets a copy of
program     a whole net as the text of model.py
folder      the files: model.py, weights.safetensors, blobs.npz, verify.py
"""

"""Caffe's layer types, registered when the package is imported.

The modules of this folder are the frame: what a layer's author imports. The types are in two packages.

    caffe    the types of Caffe 1.0 and the two of the paper's fork
    forks    the types of other forks, a package a family; nothing in `caffe` imports from it
"""

from caffe_compat.layers import caffe as caffe
from caffe_compat.layers import forks as forks
from caffe_compat.layers import loss as loss
from caffe_compat.layers import source as source

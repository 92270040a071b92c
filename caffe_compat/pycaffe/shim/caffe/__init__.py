"""`import caffe` where `caffe-compat python --install` was run: caffe_compat.pycaffe, under that name."""

from caffe_compat.pycaffe.door import open_door

open_door()

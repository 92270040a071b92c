"""`caffe.proto`: Caffe's messages for scripts."""

from caffe_compat.pycaffe.proto import caffe_pb2 as caffe_pb2

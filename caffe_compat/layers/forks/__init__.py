"""The layer types of Caffe's forks, a package a family, named for where it comes from; `caffe` imports none."""

from caffe_compat.layers.forks import data as data
from caffe_compat.layers.forks import faces as faces
from caffe_compat.layers.forks import faster_rcnn as faster_rcnn
from caffe_compat.layers.forks import flownet as flownet
from caffe_compat.layers.forks import mobilenet as mobilenet
from caffe_compat.layers.forks import mscnn as mscnn
from caffe_compat.layers.forks import nvidia_intel as nvidia_intel
from caffe_compat.layers.forks import rfcn as rfcn
from caffe_compat.layers.forks import segmentation as segmentation
from caffe_compat.layers.forks import ssd as ssd
from caffe_compat.layers.forks import text as text
from caffe_compat.layers.forks import yolo as yolo

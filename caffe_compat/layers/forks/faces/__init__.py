"""The layers of face recognition forks (happynear/caffe-windows, wy1iu/SphereFace)."""

from caffe_compat.layers.forks.faces import focal_loss as focal_loss
from caffe_compat.layers.forks.faces import label_specific_add as label_specific_add
from caffe_compat.layers.forks.faces import local as local
from caffe_compat.layers.forks.faces import margins as margins

"""SENet: hujie-frank/SENet.

axpy  Axpy
"""

from caffe_compat.layers.forks.senet import axpy as axpy

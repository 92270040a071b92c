"""Hashing: leetonfreestyle/DMSH.

hashing_image_data  HashingImageData
hashing_loss        HashingLoss
"""

from caffe_compat.layers.forks.hashing import hashing_image_data as hashing_image_data
from caffe_compat.layers.forks.hashing import hashing_loss as hashing_loss

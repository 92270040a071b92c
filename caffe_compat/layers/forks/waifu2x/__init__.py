"""waifu2x: waifu2x-caffe's fork.

crop_center  CropCenter
"""

from caffe_compat.layers.forks.waifu2x import crop_center as crop_center

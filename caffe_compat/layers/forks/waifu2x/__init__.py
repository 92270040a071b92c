"""waifu2x: lltcggie/caffe, the fork of waifu2x-caffe.

crop_center  CropCenter
"""

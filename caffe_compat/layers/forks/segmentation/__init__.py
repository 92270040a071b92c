"""Segmentation: DeepLab, hszhao/PSPNet, yjxiong/caffe, alexgkendall/caffe-segnet, ALISCIFP/Segmentation.

bn                   BN SyncBN
dense_data           DenseImageData ImageLabelmapData ImageSegData SegData
gather_scatter       Gather Scatter
interp               Interp
seg_accuracy         SegAccuracy
spatial_transformer  SpatialTransformer
st_loc_loss          STLoss LocLoss
upsample             Upsample
"""

from caffe_compat.layers.forks.segmentation import bn as bn
from caffe_compat.layers.forks.segmentation import dense_data as dense_data
from caffe_compat.layers.forks.segmentation import gather_scatter as gather_scatter
from caffe_compat.layers.forks.segmentation import interp as interp
from caffe_compat.layers.forks.segmentation import seg_accuracy as seg_accuracy
from caffe_compat.layers.forks.segmentation import spatial_transformer as spatial_transformer
from caffe_compat.layers.forks.segmentation import st_loc_loss as st_loc_loss
from caffe_compat.layers.forks.segmentation import upsample as upsample

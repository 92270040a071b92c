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

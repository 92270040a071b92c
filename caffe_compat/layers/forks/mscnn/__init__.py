"""MS-CNN: zhaoweicai/mscnn.

bbox_accuracy       BboxAccuracy
box_output          BoxOutput
decode_bbox         DecodeBBox
detection_accuracy  DetectionAccuracy
detection_loss      DetectionLoss
heads               what the layers of MS-CNN have in common
image_gt_data       ImageGtData
proposal_target     ProposalTarget
roi_align           ROIAlign
"""

from caffe_compat.layers.forks.mscnn import bbox_accuracy as bbox_accuracy
from caffe_compat.layers.forks.mscnn import box_output as box_output
from caffe_compat.layers.forks.mscnn import decode_bbox as decode_bbox
from caffe_compat.layers.forks.mscnn import detection_accuracy as detection_accuracy
from caffe_compat.layers.forks.mscnn import detection_loss as detection_loss
from caffe_compat.layers.forks.mscnn import heads as heads
from caffe_compat.layers.forks.mscnn import image_gt_data as image_gt_data
from caffe_compat.layers.forks.mscnn import proposal_target as proposal_target
from caffe_compat.layers.forks.mscnn import roi_align as roi_align

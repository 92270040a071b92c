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

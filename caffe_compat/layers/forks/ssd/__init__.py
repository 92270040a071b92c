"""SSD: weiliu89/caffe, branch ssd.

annotated_data      AnnotatedData AnnotatedRData
detection_evaluate  DetectionEvaluate
detection_output    DetectionOutput
multibox_loss       MultiBoxLoss
normalize           Normalize
permute             Permute
prior_box           PriorBox
video_data          VideoData
"""

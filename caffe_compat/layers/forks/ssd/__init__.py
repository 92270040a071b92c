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

from caffe_compat.layers.forks.ssd import annotated_data as annotated_data
from caffe_compat.layers.forks.ssd import detection_evaluate as detection_evaluate
from caffe_compat.layers.forks.ssd import detection_output as detection_output
from caffe_compat.layers.forks.ssd import multibox_loss as multibox_loss
from caffe_compat.layers.forks.ssd import normalize as normalize
from caffe_compat.layers.forks.ssd import permute as permute
from caffe_compat.layers.forks.ssd import prior_box as prior_box
from caffe_compat.layers.forks.ssd import video_data as video_data

"""YOLO: eric612/MobileNet-YOLO.

activation             ReLU6 Mish
assisted_excitation    AssistedExcitation
detection_output       YoloDetectionOutput Yolov3DetectionOutput
gaussian_yolov3        GaussianYolov3
heads                  what the losses of YOLO have in common
lane_data              LaneData
region_loss            RegionLoss
reorg                  Reorg
segmentation_evaluate  SegmentationEvaluate
yolo_seg               YoloSeg
yolov3                 Yolov3
"""

from caffe_compat.layers.forks.yolo import activation as activation
from caffe_compat.layers.forks.yolo import assisted_excitation as assisted_excitation
from caffe_compat.layers.forks.yolo import detection_output as detection_output
from caffe_compat.layers.forks.yolo import gaussian_yolov3 as gaussian_yolov3
from caffe_compat.layers.forks.yolo import heads as heads
from caffe_compat.layers.forks.yolo import lane_data as lane_data
from caffe_compat.layers.forks.yolo import region_loss as region_loss
from caffe_compat.layers.forks.yolo import reorg as reorg
from caffe_compat.layers.forks.yolo import segmentation_evaluate as segmentation_evaluate
from caffe_compat.layers.forks.yolo import yolo_seg as yolo_seg
from caffe_compat.layers.forks.yolo import yolov3 as yolov3

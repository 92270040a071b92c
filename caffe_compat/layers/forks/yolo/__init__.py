"""The layers of YOLO's ports (eric612/MobileNet-YOLO)."""

from caffe_compat.layers.forks.yolo import detection_output as detection_output
from caffe_compat.layers.forks.yolo import shapes_only as shapes_only
from caffe_compat.layers.forks.yolo import yolo_loss as yolo_loss

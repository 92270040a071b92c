"""YOLO: eric612/MobileNet-YOLO.

activation             ReLU6 Relu6 Mish
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

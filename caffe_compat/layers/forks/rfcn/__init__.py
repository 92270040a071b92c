"""R-FCN: daijifeng001/caffe-rfcn and ports.

ohem           BoxAnnotatorOHEM SoftmaxWithLossOHEM SmoothL1LossOHEM
psroi_pooling  PSROIPooling
"""

"""Normalisation: GuoShi28/Caffe-Instance-Normalization-and-Guided-Instance-Normalization, kurff/caffe-experimental.

instance_norm  InstanceNorm
l2_norm        L2Norm
"""

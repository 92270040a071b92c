"""OpenVINO: openvinotoolkit/training_toolbox_caffe, and what OpenVINO's reader of Caffe files knows.

prior_box_clustered  PriorBoxClustered
region_yolo          RegionYolo
reorg_yolo           ReorgYolo
"""

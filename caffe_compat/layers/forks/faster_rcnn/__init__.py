"""Fast and Faster R-CNN: rbgirshick/caffe-fast-rcnn, rbgirshick/py-faster-rcnn, and ports to C++.

frcnn           FrcnnProposal FrcnnAnchorTarget FrcnnProposalTarget
frcnn_data      FrcnnRoiData FrcnnVidData
proposal        Proposal
python_layers   the Python layers ProposalLayer AnchorTargetLayer ProposalTargetLayer RoIDataLayer
roi_pooling     ROIPooling
smooth_l1_loss  SmoothL1Loss
"""

from caffe_compat.layers.forks.faster_rcnn import frcnn as frcnn
from caffe_compat.layers.forks.faster_rcnn import frcnn_data as frcnn_data
from caffe_compat.layers.forks.faster_rcnn import proposal as proposal
from caffe_compat.layers.forks.faster_rcnn import python_layers as python_layers
from caffe_compat.layers.forks.faster_rcnn import roi_pooling as roi_pooling
from caffe_compat.layers.forks.faster_rcnn import smooth_l1_loss as smooth_l1_loss

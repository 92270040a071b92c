"""Fast and Faster R-CNN: rbgirshick/caffe-fast-rcnn, rbgirshick/py-faster-rcnn, and ports to C++.

frcnn           FrcnnProposal FrcnnAnchorTarget FrcnnProposalTarget
frcnn_data      FrcnnRoiData FrcnnVidData
proposal        Proposal
python_layers   the Python layers ProposalLayer AnchorTargetLayer ProposalTargetLayer RoIDataLayer
roi_pooling     ROIPooling
smooth_l1_loss  SmoothL1Loss
"""

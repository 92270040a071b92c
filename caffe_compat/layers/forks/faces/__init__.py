"""Face recognition: happynear/caffe-windows, ydwen/caffe-face, wy1iu/sphereface, wy1iu/LargeMargin_Softmax_Loss.

center_loss             CenterLoss
focal_loss              FocalLoss
label_specific_add      LabelSpecificAdd
local                   Local
margin_inner_product    LargeMarginInnerProduct MarginInnerProduct
multi_label_image_data  MultiLabelImageData
normalize               a variant of Normalize
triplet_loss            TripletLoss
"""

from caffe_compat.layers.forks.faces import center_loss as center_loss
from caffe_compat.layers.forks.faces import focal_loss as focal_loss
from caffe_compat.layers.forks.faces import label_specific_add as label_specific_add
from caffe_compat.layers.forks.faces import local as local
from caffe_compat.layers.forks.faces import margin_inner_product as margin_inner_product
from caffe_compat.layers.forks.faces import multi_label_image_data as multi_label_image_data
from caffe_compat.layers.forks.faces import normalize as normalize
from caffe_compat.layers.forks.faces import triplet_loss as triplet_loss

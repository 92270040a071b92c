"""Face recognition: happynear/caffe-windows, ydwen/caffe-face, wy1iu/sphereface, wy1iu/LargeMargin_Softmax_Loss.

center_loss             CenterLoss
focal_loss              FocalLoss
label_specific_add      LabelSpecificAdd
local                   Local
margin_inner_product    LargeMarginInnerProduct MarginInnerProduct
multi_label_image_data  MultiLabelImageData
normalize               a variant of Normalize
predict_box             PredictBox
triplet_loss            TripletLoss
"""

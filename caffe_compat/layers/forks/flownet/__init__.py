"""FlowNet 2.0: lmb-freiburg/flownet2.

channel_norm  ChannelNorm
correlation   Correlation Correlation1D
custom_data   CustomData
flow_warp     FlowWarp
lpq_loss      LpqLoss
mean          Mean
neg_relu      NegReLU
resample      Resample Downsample
"""

"""TransCNN and HAT-Net: yun-liu/TransCNN.

group_norm  GroupNorm
hmhsa       HMHSA
"""

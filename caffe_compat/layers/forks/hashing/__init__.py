"""Hashing: leetonfreestyle/DMSH.

hashing_image_data  HashingImageData
hashing_loss        HashingLoss
"""

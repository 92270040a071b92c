"""SENet: hujie-frank/SENet.

axpy  Axpy
"""

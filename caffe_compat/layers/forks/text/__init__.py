"""The layers of text recognition forks (senlinuc/caffe_ocr and kin)."""

from caffe_compat.layers.forks.text import ctc as ctc
from caffe_compat.layers.forks.text import dense_block as dense_block
from caffe_compat.layers.forks.text import sequences as sequences

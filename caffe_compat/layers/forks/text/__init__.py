"""Text recognition: senlinuc/caffe_ocr, tianzhi0549/CTPN, junhyukoh/caffe-lstm.

ctc          WarpCTCLoss CTCGreedyDecoder
dense_block  DenseBlock
lstm         Lstm
reverse      Reverse ReverseTime
transpose    Transpose
"""

from caffe_compat.layers.forks.text import ctc as ctc
from caffe_compat.layers.forks.text import dense_block as dense_block
from caffe_compat.layers.forks.text import lstm as lstm
from caffe_compat.layers.forks.text import reverse as reverse
from caffe_compat.layers.forks.text import transpose as transpose

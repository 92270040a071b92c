"""Text recognition: senlinuc/caffe_ocr, tianzhi0549/CTPN, junhyukoh/caffe-lstm, xmfbit/warpctc-caffe.

continuation_indicator  ContinuationIndicator
ctc                     WarpCTCLoss CTCGreedyDecoder
dense_block             DenseBlock
lstm                    Lstm
reverse                 Reverse ReverseTime
transpose               Transpose
"""

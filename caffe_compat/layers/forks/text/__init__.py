"""Text recognition: senlinuc/caffe_ocr, tianzhi0549/CTPN, junhyukoh/caffe-lstm, xmfbit/warpctc-caffe.

continuation_indicator  ContinuationIndicator
ctc                     WarpCTCLoss CtcLoss CTCGreedyDecoder
dense_block             DenseBlock
labelsequence_accuracy  LabelsequenceAccuracy
lstm                    Lstm
reverse                 Reverse ReverseTime
transpose               Transpose
"""

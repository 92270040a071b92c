"""The layer types of Caffe's forks, a package a family, named for where it comes from; `caffe` imports none.

converted     Converted nets: synopsys-caffe, sophgo/caffe, inisis/caffe, winggan/caffe.
deformable    Deformable ConvNets: unsky/Deformable-ConvNets-caffe, makefile/frcnn.
faces         Face recognition: happynear/caffe-windows, ydwen/caffe-face, wy1iu/sphereface,
              wy1iu/LargeMargin_Softmax_Loss.
faster_rcnn   Fast and Faster R-CNN: rbgirshick/caffe-fast-rcnn, rbgirshick/py-faster-rcnn, and ports to C++.
flownet       FlowNet 2.0: lmb-freiburg/flownet2.
hashing       Hashing: leetonfreestyle/DMSH.
mobilenet     MobileNet and ShuffleNet: their forks, farmingyard/ShuffleNet.
mscnn         MS-CNN: zhaoweicai/mscnn.
norms         Normalisation: GuoShi28/Caffe-Instance-Normalization-and-Guided-Instance-Normalization,
              kurff/caffe-experimental.
nvidia_intel  NVIDIA and Intel: NVIDIA/caffe, intel/caffe.
openvino      OpenVINO: openvinotoolkit/training_toolbox_caffe.
rfcn          R-FCN: daijifeng001/caffe-rfcn and ports.
segmentation  Segmentation: DeepLab, hszhao/PSPNet, yjxiong/caffe, alexgkendall/caffe-segnet,
              ALISCIFP/Segmentation.
senet         SENet: hujie-frank/SENet.
ssd           SSD: weiliu89/caffe, branch ssd.
text          Text recognition: senlinuc/caffe_ocr, tianzhi0549/CTPN, junhyukoh/caffe-lstm,
              xmfbit/warpctc-caffe.
waifu2x       waifu2x: lltcggie/caffe, the fork of waifu2x-caffe.
yolo          YOLO: eric612/MobileNet-YOLO.
data          ForkData: what their data layers have in common, whose files are not read here
"""

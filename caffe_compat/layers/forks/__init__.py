"""The layer types of Caffe's forks, a package a family, named for where it comes from; `caffe` imports none.

deformable    Deformable ConvNets: unsky/Deformable-ConvNets-caffe, makefile/frcnn.
faces         Face recognition: happynear/caffe-windows, ydwen/caffe-face, wy1iu/sphereface,
              wy1iu/LargeMargin_Softmax_Loss.
faster_rcnn   Fast and Faster R-CNN: rbgirshick/caffe-fast-rcnn, rbgirshick/py-faster-rcnn, and ports to C++.
flownet       FlowNet 2.0: lmb-freiburg/flownet2.
hashing       Hashing: leetonfreestyle/DMSH.
mobilenet     MobileNet and ShuffleNet: their forks, farmingyard/ShuffleNet.
mscnn         MS-CNN: zhaoweicai/mscnn.
nvidia_intel  NVIDIA and Intel: NVIDIA/caffe, intel/caffe.
rfcn          R-FCN: daijifeng001/caffe-rfcn and ports.
segmentation  Segmentation: DeepLab, hszhao/PSPNet, yjxiong/caffe, alexgkendall/caffe-segnet,
              ALISCIFP/Segmentation.
senet         SENet: hujie-frank/SENet.
ssd           SSD: weiliu89/caffe, branch ssd.
text          Text recognition: senlinuc/caffe_ocr, tianzhi0549/CTPN, junhyukoh/caffe-lstm.
waifu2x       waifu2x: waifu2x-caffe's fork.
yolo          YOLO: eric612/MobileNet-YOLO.
data          ForkData: what their data layers have in common, whose files are not read here
"""

from caffe_compat.layers.forks import data as data
from caffe_compat.layers.forks import deformable as deformable
from caffe_compat.layers.forks import faces as faces
from caffe_compat.layers.forks import faster_rcnn as faster_rcnn
from caffe_compat.layers.forks import flownet as flownet
from caffe_compat.layers.forks import hashing as hashing
from caffe_compat.layers.forks import mobilenet as mobilenet
from caffe_compat.layers.forks import mscnn as mscnn
from caffe_compat.layers.forks import nvidia_intel as nvidia_intel
from caffe_compat.layers.forks import rfcn as rfcn
from caffe_compat.layers.forks import segmentation as segmentation
from caffe_compat.layers.forks import senet as senet
from caffe_compat.layers.forks import ssd as ssd
from caffe_compat.layers.forks import text as text
from caffe_compat.layers.forks import waifu2x as waifu2x
from caffe_compat.layers.forks import yolo as yolo

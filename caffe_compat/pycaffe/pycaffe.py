"""`caffe.pycaffe`: the names that pycaffe has in this module."""

from caffe_compat.pycaffe.mode import NCCL as NCCL
from caffe_compat.pycaffe.mode import Timer as Timer
from caffe_compat.pycaffe.net import Net as Net
from caffe_compat.pycaffe.solver import AdaDeltaSolver as AdaDeltaSolver
from caffe_compat.pycaffe.solver import AdaGradSolver as AdaGradSolver
from caffe_compat.pycaffe.solver import AdamSolver as AdamSolver
from caffe_compat.pycaffe.solver import NesterovSolver as NesterovSolver
from caffe_compat.pycaffe.solver import RMSPropSolver as RMSPropSolver
from caffe_compat.pycaffe.solver import SGDSolver as SGDSolver

"""`caffe_compat.pycaffe`: what scripts call `caffe`.

    import caffe_compat.pycaffe as caffe

or, for scripts that are not to be edited, `caffe-compat python SCRIPT ARGS`. Names, habits and numbers are those of
pycaffe in BVLC Caffe 1.0; nets are `caffe_compat.Net`s, run layer by layer, so that every blob can be looked at and
written into.
"""

from __future__ import annotations

from caffe_compat.pycaffe import io as io
from caffe_compat.pycaffe import net_spec as net_spec
from caffe_compat.pycaffe import proto as proto
from caffe_compat.pycaffe.classifier import Classifier as Classifier
from caffe_compat.pycaffe.detector import Detector as Detector
from caffe_compat.pycaffe.door import find_submodules
from caffe_compat.pycaffe.layer import Layer as Layer
from caffe_compat.pycaffe.logs import init_log as init_log
from caffe_compat.pycaffe.logs import log as log
from caffe_compat.pycaffe.mode import NCCL as NCCL
from caffe_compat.pycaffe.mode import Timer as Timer
from caffe_compat.pycaffe.mode import has_nccl as has_nccl
from caffe_compat.pycaffe.mode import layer_type_list as layer_type_list
from caffe_compat.pycaffe.mode import set_device as set_device
from caffe_compat.pycaffe.mode import set_mode_cpu as set_mode_cpu
from caffe_compat.pycaffe.mode import set_mode_gpu as set_mode_gpu
from caffe_compat.pycaffe.mode import set_multiprocess as set_multiprocess
from caffe_compat.pycaffe.mode import set_random_seed as set_random_seed
from caffe_compat.pycaffe.mode import set_solver_count as set_solver_count
from caffe_compat.pycaffe.mode import set_solver_rank as set_solver_rank
from caffe_compat.pycaffe.mode import solver_count as solver_count
from caffe_compat.pycaffe.mode import solver_rank as solver_rank
from caffe_compat.pycaffe.net import Net as Net
from caffe_compat.pycaffe.net_spec import NetSpec as NetSpec
from caffe_compat.pycaffe.net_spec import layers as layers
from caffe_compat.pycaffe.net_spec import params as params
from caffe_compat.pycaffe.net_spec import to_proto as to_proto
from caffe_compat.pycaffe.solver import AdaDeltaSolver as AdaDeltaSolver
from caffe_compat.pycaffe.solver import AdaGradSolver as AdaGradSolver
from caffe_compat.pycaffe.solver import AdamSolver as AdamSolver
from caffe_compat.pycaffe.solver import NesterovSolver as NesterovSolver
from caffe_compat.pycaffe.solver import RMSPropSolver as RMSPropSolver
from caffe_compat.pycaffe.solver import SGDSolver as SGDSolver
from caffe_compat.pycaffe.solver import get_solver as get_solver

TRAIN, TEST = 0, 1
__version__ = "1.0.0"  # of the Caffe whose interface this is

find_submodules()

"""`caffe._caffe`: the names that pycaffe has from C++."""

from caffe_compat.pycaffe.blob import Blob as Blob
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
from caffe_compat.pycaffe.solver import AdaDeltaSolver as AdaDeltaSolver
from caffe_compat.pycaffe.solver import AdaGradSolver as AdaGradSolver
from caffe_compat.pycaffe.solver import AdamSolver as AdamSolver
from caffe_compat.pycaffe.solver import NesterovSolver as NesterovSolver
from caffe_compat.pycaffe.solver import RMSPropSolver as RMSPropSolver
from caffe_compat.pycaffe.solver import SGDSolver as SGDSolver
from caffe_compat.pycaffe.solver import Solver as Solver
from caffe_compat.pycaffe.solver import SolverParameter as SolverParameter
from caffe_compat.pycaffe.solver import get_solver as get_solver
from caffe_compat.pycaffe.vectors import BlobVec as BlobVec
from caffe_compat.pycaffe.vectors import BoolVec as BoolVec
from caffe_compat.pycaffe.vectors import DtypeVec as DtypeVec
from caffe_compat.pycaffe.vectors import IntVec as IntVec
from caffe_compat.pycaffe.vectors import LayerVec as LayerVec
from caffe_compat.pycaffe.vectors import NetVec as NetVec
from caffe_compat.pycaffe.vectors import RawBlobVec as RawBlobVec
from caffe_compat.pycaffe.vectors import StringVec as StringVec

__version__ = "1.0.0"

"""Read, run, train, shrink and write Caffe models in PyTorch, with Caffe's own numbers.

The names below are the whole public interface. Each is imported from its home when it is first used, so that
`import caffe_compat` stays fast where no torch is needed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from caffe_compat.errors import (
    CaffeCompatError,
    DataError,
    GraphError,
    ParseError,
    RankError,
    ShapeError,
    SolverError,
    UnsupportedLayerError,
    UnsupportedParameterError,
    WeightsError,
    WriteError,
)

if TYPE_CHECKING:
    from caffe_compat.data.contents import survey
    from caffe_compat.data.crops import Preprocessing, list_images, read_labels, read_mean_planes
    from caffe_compat.data.datasets import CIFAR10_SHA256, MNIST_SHA256, check_published, make_cifar10, make_mnist
    from caffe_compat.data.datum import encode_datum
    from caffe_compat.data.download import CIFAR10_FILES, CIFAR10_URL, MNIST_FILES, MNIST_URL, download
    from caffe_compat.data.image_lists import read_image_list
    from caffe_compat.data.imagenet import IMAGENET_PARTS, make_imagenet
    from caffe_compat.data.imageset import Conversion, make_imageset
    from caffe_compat.data.lmdb import write_lmdb
    from caffe_compat.data.mean import compute_mean, write_mean
    from caffe_compat.data.padding import pad_database
    from caffe_compat.decompose.budget import Plan, ranks_by_budget
    from caffe_compat.decompose.certificate import Certificate, certify
    from caffe_compat.decompose.cost import (
        Comparison,
        Cost,
        break_even_rank,
        compare_cost,
        layer_costs,
        theoretical_speedup,
    )
    from caffe_compat.decompose.factorize import METHODS, Factorization, factorize
    from caffe_compat.decompose.finetune import can_train, write_fine_tune_solver
    from caffe_compat.decompose.groups import merge_groups, regroup_weights, split_groups
    from caffe_compat.decompose.latency import ranks_by_latency
    from caffe_compat.decompose.ranks import (
        rank_by_energy,
        rank_by_norm,
        ranks_by_energy,
        ranks_by_evbmf,
        ranks_by_norm,
        ranks_in_order,
        read_ranks,
        round_ranks,
    )
    from caffe_compat.decompose.responses import decompose_by_responses, recalibrate
    from caffe_compat.decompose.rewrite import decompose
    from caffe_compat.decompose.timing import compare_time, pinned
    from caffe_compat.export.check import check
    from caffe_compat.export.deploy import deploy
    from caffe_compat.export.exported_program import (
        check_exported_program,
        to_exported_program,
        write_exported_program,
    )
    from caffe_compat.export.onnx import check_onnx, to_onnx, write_onnx
    from caffe_compat.export.opencv import check_opencv
    from caffe_compat.export.page import html_page
    from caffe_compat.export.report import FINDINGS, Report
    from caffe_compat.net.classifier import Classifier, Prediction, own_preprocessing
    from caffe_compat.net.comparison import (
        BlobComparison,
        common_shapes,
        compare_blobs,
        complete_inputs,
        random_inputs,
        run_blobs,
    )
    from caffe_compat.net.features import extract_features
    from caffe_compat.net.loading import load_files
    from caffe_compat.net.net import Net
    from caffe_compat.net.own_data import own_batches
    from caffe_compat.proto.binary import read_blob, write_blob, write_net
    from caffe_compat.proto.conversion import convert_state, convert_weights
    from caffe_compat.proto.files import write_atomically
    from caffe_compat.proto.model import (
        Model,
        Weights,
        is_binary,
        read_model,
        read_net,
        read_solver,
        read_weights,
        write_model,
    )
    from caffe_compat.proto.printer import format_text
    from caffe_compat.proto.schema import NetParameter, SolverParameter
    from caffe_compat.proto.text import find_faults, parse_text
    from caffe_compat.proto.upgrade import upgrade_solver
    from caffe_compat.recipes.rank_pruning import Pruned, prune_ranks
    from caffe_compat.recipes.shrink import Shrunk, shrink
    from caffe_compat.recipes.stages import Stage
    from caffe_compat.solver.callbacks import KeepBest, KeepLast, Patience
    from caffe_compat.solver.distributed import DistributedSolver, is_root, process_count, process_group
    from caffe_compat.solver.filters import filter_angles
    from caffe_compat.solver.log import GlogHandler, JsonLinesLog
    from caffe_compat.solver.nets import output_weights
    from caffe_compat.solver.regularizers.force import force_gradient
    from caffe_compat.solver.solver import Solver
    from caffe_compat.solver.state import SolverState
    from caffe_compat.solver.structure import zero_shares
    from caffe_compat.solver.updates import momentum_step

__version__ = "0.1.0"

_HOMES = {
    "BlobComparison": "net.comparison",
    "CIFAR10_FILES": "data.download",
    "CIFAR10_SHA256": "data.datasets",
    "CIFAR10_URL": "data.download",
    "Certificate": "decompose.certificate",
    "Classifier": "net.classifier",
    "Comparison": "decompose.cost",
    "Conversion": "data.imageset",
    "Cost": "decompose.cost",
    "DistributedSolver": "solver.distributed",
    "FINDINGS": "export.report",
    "Factorization": "decompose.factorize",
    "GlogHandler": "solver.log",
    "IMAGENET_PARTS": "data.imagenet",
    "JsonLinesLog": "solver.log",
    "KeepBest": "solver.callbacks",
    "KeepLast": "solver.callbacks",
    "METHODS": "decompose.factorize",
    "MNIST_FILES": "data.download",
    "MNIST_SHA256": "data.datasets",
    "MNIST_URL": "data.download",
    "Model": "proto.model",
    "Net": "net.net",
    "NetParameter": "proto.schema",
    "Patience": "solver.callbacks",
    "Plan": "decompose.budget",
    "Prediction": "net.classifier",
    "Preprocessing": "data.crops",
    "Pruned": "recipes.rank_pruning",
    "Report": "export.report",
    "Shrunk": "recipes.shrink",
    "Solver": "solver.solver",
    "SolverParameter": "proto.schema",
    "SolverState": "solver.state",
    "Stage": "recipes.stages",
    "Weights": "proto.model",
    "break_even_rank": "decompose.cost",
    "can_train": "decompose.finetune",
    "certify": "decompose.certificate",
    "check": "export.check",
    "check_exported_program": "export.exported_program",
    "check_onnx": "export.onnx",
    "check_opencv": "export.opencv",
    "check_published": "data.datasets",
    "common_shapes": "net.comparison",
    "compare_blobs": "net.comparison",
    "compare_cost": "decompose.cost",
    "compare_time": "decompose.timing",
    "complete_inputs": "net.comparison",
    "compute_mean": "data.mean",
    "convert_state": "proto.conversion",
    "convert_weights": "proto.conversion",
    "decompose": "decompose.rewrite",
    "decompose_by_responses": "decompose.responses",
    "deploy": "export.deploy",
    "download": "data.download",
    "encode_datum": "data.datum",
    "extract_features": "net.features",
    "factorize": "decompose.factorize",
    "filter_angles": "solver.filters",
    "find_faults": "proto.text",
    "force_gradient": "solver.regularizers.force",
    "format_text": "proto.printer",
    "html_page": "export.page",
    "is_binary": "proto.model",
    "is_root": "solver.distributed",
    "layer_costs": "decompose.cost",
    "list_images": "data.crops",
    "load_files": "net.loading",
    "make_cifar10": "data.datasets",
    "make_imagenet": "data.imagenet",
    "make_imageset": "data.imageset",
    "make_mnist": "data.datasets",
    "merge_groups": "decompose.groups",
    "momentum_step": "solver.updates",
    "output_weights": "solver.nets",
    "own_batches": "net.own_data",
    "own_preprocessing": "net.classifier",
    "pad_database": "data.padding",
    "parse_text": "proto.text",
    "pinned": "decompose.timing",
    "process_count": "solver.distributed",
    "process_group": "solver.distributed",
    "prune_ranks": "recipes.rank_pruning",
    "random_inputs": "net.comparison",
    "rank_by_energy": "decompose.ranks",
    "rank_by_norm": "decompose.ranks",
    "ranks_by_budget": "decompose.budget",
    "ranks_by_energy": "decompose.ranks",
    "ranks_by_evbmf": "decompose.ranks",
    "ranks_by_latency": "decompose.latency",
    "ranks_by_norm": "decompose.ranks",
    "ranks_in_order": "decompose.ranks",
    "read_blob": "proto.binary",
    "read_image_list": "data.image_lists",
    "read_labels": "data.crops",
    "read_mean_planes": "data.crops",
    "read_model": "proto.model",
    "read_net": "proto.model",
    "read_ranks": "decompose.ranks",
    "read_solver": "proto.model",
    "read_weights": "proto.model",
    "recalibrate": "decompose.responses",
    "regroup_weights": "decompose.groups",
    "round_ranks": "decompose.ranks",
    "run_blobs": "net.comparison",
    "shrink": "recipes.shrink",
    "split_groups": "decompose.groups",
    "survey": "data.contents",
    "theoretical_speedup": "decompose.cost",
    "to_exported_program": "export.exported_program",
    "to_onnx": "export.onnx",
    "upgrade_solver": "proto.upgrade",
    "write_atomically": "proto.files",
    "write_blob": "proto.binary",
    "write_exported_program": "export.exported_program",
    "write_fine_tune_solver": "decompose.finetune",
    "write_lmdb": "data.lmdb",
    "write_mean": "data.mean",
    "write_model": "proto.model",
    "write_net": "proto.binary",
    "write_onnx": "export.onnx",
    "zero_shares": "solver.structure",
}

__all__ = [
    "CIFAR10_FILES",
    "CIFAR10_SHA256",
    "CIFAR10_URL",
    "FINDINGS",
    "IMAGENET_PARTS",
    "METHODS",
    "MNIST_FILES",
    "MNIST_SHA256",
    "MNIST_URL",
    "BlobComparison",
    "CaffeCompatError",
    "Certificate",
    "Classifier",
    "Comparison",
    "Conversion",
    "Cost",
    "DataError",
    "DistributedSolver",
    "Factorization",
    "GlogHandler",
    "GraphError",
    "JsonLinesLog",
    "KeepBest",
    "KeepLast",
    "Model",
    "Net",
    "NetParameter",
    "ParseError",
    "Patience",
    "Plan",
    "Prediction",
    "Preprocessing",
    "Pruned",
    "RankError",
    "Report",
    "ShapeError",
    "Shrunk",
    "Solver",
    "SolverError",
    "SolverParameter",
    "SolverState",
    "Stage",
    "UnsupportedLayerError",
    "UnsupportedParameterError",
    "Weights",
    "WeightsError",
    "WriteError",
    "break_even_rank",
    "can_train",
    "certify",
    "check",
    "check_exported_program",
    "check_onnx",
    "check_opencv",
    "check_published",
    "common_shapes",
    "compare_blobs",
    "compare_cost",
    "compare_time",
    "complete_inputs",
    "compute_mean",
    "convert_state",
    "convert_weights",
    "decompose",
    "decompose_by_responses",
    "deploy",
    "download",
    "encode_datum",
    "extract_features",
    "factorize",
    "filter_angles",
    "find_faults",
    "force_gradient",
    "format_text",
    "html_page",
    "is_binary",
    "is_root",
    "layer_costs",
    "list_images",
    "load_files",
    "make_cifar10",
    "make_imagenet",
    "make_imageset",
    "make_mnist",
    "merge_groups",
    "momentum_step",
    "output_weights",
    "own_batches",
    "own_preprocessing",
    "pad_database",
    "parse_text",
    "pinned",
    "process_count",
    "process_group",
    "prune_ranks",
    "random_inputs",
    "rank_by_energy",
    "rank_by_norm",
    "ranks_by_budget",
    "ranks_by_energy",
    "ranks_by_evbmf",
    "ranks_by_latency",
    "ranks_by_norm",
    "ranks_in_order",
    "read_blob",
    "read_image_list",
    "read_labels",
    "read_mean_planes",
    "read_model",
    "read_net",
    "read_ranks",
    "read_solver",
    "read_weights",
    "recalibrate",
    "regroup_weights",
    "round_ranks",
    "run_blobs",
    "shrink",
    "split_groups",
    "survey",
    "theoretical_speedup",
    "to_exported_program",
    "to_onnx",
    "upgrade_solver",
    "write_atomically",
    "write_blob",
    "write_exported_program",
    "write_fine_tune_solver",
    "write_lmdb",
    "write_mean",
    "write_model",
    "write_net",
    "write_onnx",
    "zero_shares",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


# `decompose` is the function; importing the subpackage for the first time binds its name: do that now, and unbind it.
importlib.import_module(f"{__name__}.decompose")
del globals()["decompose"]

"""Read, run, train, shrink and write Caffe models in PyTorch, with Caffe's own numbers.

The names below are the whole public interface. Each is imported from its home when it is first used, so that
`import caffe_compat` stays fast where no torch is needed.
"""

from __future__ import annotations

import caffe_compat.early  # isort: split

import importlib
from typing import TYPE_CHECKING, Any

from caffe_compat.progress import doing as _doing

if TYPE_CHECKING:
    from caffe_compat.commands.registry import register_command
    from caffe_compat.data.contents import Record, first_records, survey
    from caffe_compat.data.crops import Preprocessing, list_images, read_labels, read_mean_planes
    from caffe_compat.data.datasets import (
        CIFAR10_SHA256,
        MNIST_SHA256,
        check_published,
        convert_mnist,
        make_cifar10,
        make_mnist,
    )
    from caffe_compat.data.datum import encode_datum
    from caffe_compat.data.download import CIFAR10_FILES, CIFAR10_URL, MNIST_FILES, MNIST_URL, download
    from caffe_compat.data.float_labels import (
        labels_path,
        make_labelled_databases,
        make_labelled_hdf5,
        read_float_list,
    )
    from caffe_compat.data.image_lists import read_image_list
    from caffe_compat.data.imagenet import IMAGENET_PARTS, make_imagenet
    from caffe_compat.data.imageset import Conversion, make_imageset
    from caffe_compat.data.lmdb import write_lmdb
    from caffe_compat.data.mean import compute_mean, write_mean
    from caffe_compat.data.padding import pad_database
    from caffe_compat.decompose.break_even import break_even_rank, theoretical_speedup
    from caffe_compat.decompose.budget import Plan, ranks_by_budget
    from caffe_compat.decompose.certificate import certify
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
    from caffe_compat.errors import (
        CaffeCompatError,
        DataError,
        GraphError,
        MissingDataError,
        ParseError,
        PluginError,
        RankError,
        ShapeError,
        SolverError,
        UnsupportedLayerError,
        UnsupportedParameterError,
        UserCodeError,
        WeightsError,
        WriteError,
    )
    from caffe_compat.export.check import check
    from caffe_compat.export.check_report import FINDINGS, Report
    from caffe_compat.export.deploy import deploy
    from caffe_compat.export.ending import ending_at
    from caffe_compat.export.exported_program import (
        check_exported_program,
        to_exported_program,
        write_exported_program,
    )
    from caffe_compat.export.folding import fold_batch_norm
    from caffe_compat.export.onnx.file import check_onnx, write_onnx
    from caffe_compat.export.onnx.model import onnx_types, to_onnx
    from caffe_compat.export.opencv import check_opencv
    from caffe_compat.export.page import html_page
    from caffe_compat.export.pixels import pixels_of, with_preprocessing
    from caffe_compat.export.plain_torch.folder import check_torch_source, torch_source, write_torch_source
    from caffe_compat.export.runtimes.compare import RUNTIME_TOLERANCE, check_with, is_for_training, parse_road
    from caffe_compat.export.runtimes.facts import Known, known_differences, known_version
    from caffe_compat.export.runtimes.report import known_of_files, roads_of, with_runtimes
    from caffe_compat.export.runtimes.rewriting import for_runtime
    from caffe_compat.export.runtimes.running import installed_version, needed_version, runtime_title
    from caffe_compat.export.surgery.certify import certify_surgery
    from caffe_compat.export.surgery.classifier import resize_classifier
    from caffe_compat.export.surgery.dense import fully_connected, fully_convolutional
    from caffe_compat.export.surgery.inputs import fold_scaling, join_channels, resize_input, swap_channels
    from caffe_compat.export.surgery.operation import Operation
    from caffe_compat.export.surgery.repeating import read_surgery, verify_surgery
    from caffe_compat.layers.base import Context, Count, Layer
    from caffe_compat.layers.registry import plugin_layer_types, register_layer
    from caffe_compat.layers.table import LayerType, layer_types
    from caffe_compat.net.certificate import Certificate
    from caffe_compat.net.classifier import Classifier, Prediction, own_preprocessing
    from caffe_compat.net.comparison import (
        BlobComparison,
        common_shapes,
        compare_blobs,
        run_blobs,
    )
    from caffe_compat.net.cost import Comparison, Cost, compare_cost, layer_costs
    from caffe_compat.net.description import Description
    from caffe_compat.net.features import extract_arrays, extract_features
    from caffe_compat.net.in_place import default_in_place
    from caffe_compat.net.inputs import complete_inputs, valid_inputs
    from caffe_compat.net.loading import load_files
    from caffe_compat.net.missing import missing_weights, refuse_missing
    from caffe_compat.net.net import Net
    from caffe_compat.net.own_data import own_batches
    from caffe_compat.net.prepared import PreparedNet
    from caffe_compat.net.sources import refuse_unknown_inputs
    from caffe_compat.net.timing import compare_time, pinned
    from caffe_compat.plugins import has_plugins, use_plugin
    from caffe_compat.proto.arrays import read_npy, read_npz
    from caffe_compat.proto.binary import read_blob, write_blob, write_net
    from caffe_compat.proto.conversion import convert_state, convert_weights
    from caffe_compat.proto.files import all_or_none, write_atomically
    from caffe_compat.proto.kinds import is_binary, refuse_exchanged
    from caffe_compat.proto.model import (
        Model,
        ModelLike,
        Weights,
        as_model,
        model_text,
        read_model,
        read_net,
        read_solver,
        read_weights,
        write_model,
    )
    from caffe_compat.proto.outline import BlobOutline, Outline, outline
    from caffe_compat.proto.pixels import Pixels
    from caffe_compat.proto.printer import format_text
    from caffe_compat.proto.reading import open_file, parse_json, read_bytes, read_json, read_lines
    from caffe_compat.proto.schema import NetParameter, SolverParameter
    from caffe_compat.proto.statistics import Statistics, measure
    from caffe_compat.proto.stored import stored_arrays
    from caffe_compat.proto.text import find_faults, parse_text
    from caffe_compat.proto.upgrade import upgrade_solver
    from caffe_compat.prune.importance import choose_least, filter_norms, mean_gradients, round_ratios
    from caffe_compat.prune.narrow import Narrowed, narrow
    from caffe_compat.prune.projection import project_inputs
    from caffe_compat.prune.pruning import PrunedFilters, certify_pruned, prune_filters, read_kept
    from caffe_compat.prune.reset import reset_normalization
    from caffe_compat.prune.selection import CRITERIA, Selection
    from caffe_compat.prune.sparsity import measure_sparsity, prune_and_fuse
    from caffe_compat.pycaffe.door import install_caffe, run_as_caffe, uninstall_caffe
    from caffe_compat.recipes.rank_pruning import Pruned, prune_ranks
    from caffe_compat.recipes.shrink import Shrunk, shrink
    from caffe_compat.recipes.stages import Stage
    from caffe_compat.solver.board import TensorBoardLog
    from caffe_compat.solver.callbacks import KeepBest, KeepLast, Patience
    from caffe_compat.solver.distributed import DistributedSolver, is_root, process_count, process_group
    from caffe_compat.solver.filters import filter_angles
    from caffe_compat.solver.log import GlogHandler, JsonLinesLog
    from caffe_compat.solver.methods import TRAINING_METHODS
    from caffe_compat.solver.methods.listed import OTHER_METHODS
    from caffe_compat.solver.nets import output_weights
    from caffe_compat.solver.regularizers.force import force_gradient
    from caffe_compat.solver.regularizers.registry import register_regularizer
    from caffe_compat.solver.run_options import resumed_options
    from caffe_compat.solver.snapshots import NEWEST, Snapshot, newest_snapshot, open_snapshot
    from caffe_compat.solver.solver import Solver
    from caffe_compat.solver.state import SolverState
    from caffe_compat.solver.structure import zero_shares
    from caffe_compat.solver.updates import momentum_step
    from caffe_compat.solver.watching import ProgressBar, watch

    __all__ = [  # noqa: RUF022 - what a type checker takes for exported, in the order of the computed list below
        "BlobComparison", "BlobOutline", "CIFAR10_FILES", "CIFAR10_SHA256", "CIFAR10_URL", "CRITERIA",
        "CaffeCompatError", "Certificate", "Classifier", "Comparison", "Context", "Conversion", "Cost", "Count",
        "DataError", "Description", "DistributedSolver", "FINDINGS", "Factorization", "GlogHandler", "GraphError",
        "IMAGENET_PARTS", "JsonLinesLog", "KeepBest", "KeepLast", "Known", "Layer", "LayerType", "METHODS",
        "MNIST_FILES", "MNIST_SHA256", "MNIST_URL", "MissingDataError", "Model", "ModelLike", "NEWEST", "Narrowed",
        "Net", "NetParameter", "OTHER_METHODS", "Operation", "Outline", "ParseError", "Patience", "Pixels", "Plan",
        "PluginError", "Prediction", "PreparedNet", "Preprocessing", "ProgressBar", "Pruned", "PrunedFilters",
        "RUNTIME_TOLERANCE", "RankError", "Record", "Report", "Selection", "ShapeError", "Shrunk", "Snapshot", "Solver",
        "SolverError", "SolverParameter", "SolverState", "Stage", "Statistics", "TRAINING_METHODS", "TensorBoardLog",
        "UnsupportedLayerError", "UnsupportedParameterError", "UserCodeError", "Weights", "WeightsError", "WriteError",
        "all_or_none", "as_model", "break_even_rank", "can_train", "certify", "certify_pruned",
        "certify_surgery", "check", "check_exported_program", "check_onnx", "check_opencv", "check_published",
        "check_torch_source", "check_with", "choose_least", "common_shapes", "compare_blobs", "compare_cost",
        "compare_time", "complete_inputs", "compute_mean", "convert_mnist", "convert_state", "convert_weights",
        "decompose", "decompose_by_responses", "default_in_place", "deploy", "download", "encode_datum", "ending_at",
        "extract_arrays", "extract_features", "factorize", "filter_angles", "filter_norms", "find_faults",
        "first_records", "fold_batch_norm", "fold_scaling", "for_runtime", "force_gradient", "format_text",
        "fully_connected", "fully_convolutional", "has_plugins", "html_page", "install_caffe",
        "installed_version", "is_binary", "is_for_training", "is_root", "join_channels", "known_differences",
        "known_of_files", "known_version", "labels_path", "layer_costs", "layer_types", "list_images",
        "load_files", "make_cifar10", "make_imagenet", "make_imageset", "make_labelled_databases",
        "make_labelled_hdf5", "make_mnist", "mean_gradients", "measure", "measure_sparsity", "merge_groups",
        "missing_weights", "model_text", "momentum_step", "narrow", "needed_version", "newest_snapshot", "onnx_types",
        "open_file", "open_snapshot", "outline", "output_weights", "own_batches", "own_preprocessing",
        "pad_database", "parse_json", "parse_road", "parse_text", "pinned", "pixels_of", "plugin_layer_types",
        "process_count", "process_group", "project_inputs", "prune_and_fuse", "prune_filters", "prune_ranks",
        "rank_by_energy", "rank_by_norm", "ranks_by_budget", "ranks_by_energy", "ranks_by_evbmf",
        "ranks_by_latency", "ranks_by_norm", "ranks_in_order", "read_blob", "read_bytes", "read_float_list",
        "read_image_list", "read_json", "read_kept", "read_labels", "read_lines", "read_mean_planes",
        "read_model", "read_net", "read_npy", "read_npz", "read_ranks", "read_solver", "read_surgery",
        "read_weights", "recalibrate", "refuse_exchanged", "refuse_missing", "refuse_unknown_inputs",
        "register_command", "register_layer", "register_regularizer", "regroup_weights", "reset_normalization",
        "resize_classifier", "resize_input", "resumed_options", "roads_of", "round_ranks", "round_ratios",
        "run_as_caffe", "run_blobs", "runtime_title", "shrink", "split_groups", "stored_arrays", "survey",
        "swap_channels", "theoretical_speedup", "to_exported_program", "to_onnx", "torch_source",
        "uninstall_caffe", "upgrade_solver", "use_plugin", "valid_inputs", "verify_surgery", "watch",
        "with_preprocessing", "with_runtimes", "write_atomically", "write_blob", "write_exported_program",
        "write_fine_tune_solver", "write_lmdb", "write_mean", "write_model", "write_net", "write_onnx",
        "write_torch_source", "zero_shares",
    ]  # fmt: skip

__version__ = "0.1.0"

_MODULES = {  # home -> its public names
    "commands.registry": "register_command",
    "data.contents": "Record first_records survey",
    "data.crops": "Preprocessing list_images read_labels read_mean_planes",
    "data.datasets": "CIFAR10_SHA256 MNIST_SHA256 check_published convert_mnist make_cifar10 make_mnist",
    "data.datum": "encode_datum",
    "data.download": "CIFAR10_FILES CIFAR10_URL MNIST_FILES MNIST_URL download",
    "data.float_labels": "labels_path make_labelled_databases make_labelled_hdf5 read_float_list",
    "data.image_lists": "read_image_list",
    "data.imagenet": "IMAGENET_PARTS make_imagenet",
    "data.imageset": "Conversion make_imageset",
    "data.lmdb": "write_lmdb",
    "data.mean": "compute_mean write_mean",
    "data.padding": "pad_database",
    "decompose.break_even": "break_even_rank theoretical_speedup",
    "decompose.budget": "Plan ranks_by_budget",
    "decompose.certificate": "certify",
    "decompose.factorize": "Factorization METHODS factorize",
    "decompose.finetune": "can_train write_fine_tune_solver",
    "decompose.groups": "merge_groups regroup_weights split_groups",
    "decompose.latency": "ranks_by_latency",
    "decompose.ranks": "rank_by_energy rank_by_norm ranks_by_energy ranks_by_evbmf ranks_by_norm ranks_in_order "
    "read_ranks round_ranks",
    "decompose.responses": "decompose_by_responses recalibrate",
    "decompose.rewrite": "decompose",
    "errors": "CaffeCompatError DataError GraphError MissingDataError ParseError PluginError RankError ShapeError "
    "SolverError UnsupportedLayerError UnsupportedParameterError UserCodeError WeightsError WriteError",
    "export.check": "check",
    "export.deploy": "deploy",
    "export.ending": "ending_at",
    "export.exported_program": "check_exported_program to_exported_program write_exported_program",
    "export.folding": "fold_batch_norm",
    "export.onnx.file": "check_onnx write_onnx",
    "export.onnx.model": "onnx_types to_onnx",
    "export.opencv": "check_opencv",
    "export.page": "html_page",
    "export.pixels": "pixels_of with_preprocessing",
    "export.plain_torch.folder": "check_torch_source torch_source write_torch_source",
    "export.check_report": "FINDINGS Report",
    "export.runtimes.compare": "RUNTIME_TOLERANCE check_with is_for_training parse_road",
    "export.runtimes.facts": "Known known_differences known_version",
    "export.runtimes.report": "known_of_files roads_of with_runtimes",
    "export.runtimes.rewriting": "for_runtime",
    "export.runtimes.running": "installed_version needed_version runtime_title",
    "export.surgery.certify": "certify_surgery",
    "export.surgery.classifier": "resize_classifier",
    "export.surgery.dense": "fully_connected fully_convolutional",
    "export.surgery.inputs": "fold_scaling join_channels resize_input swap_channels",
    "export.surgery.operation": "Operation",
    "export.surgery.repeating": "read_surgery verify_surgery",
    "layers.base": "Context Count Layer",
    "layers.registry": "plugin_layer_types register_layer",
    "layers.table": "LayerType layer_types",
    "net.certificate": "Certificate",
    "net.classifier": "Classifier Prediction own_preprocessing",
    "net.comparison": "BlobComparison common_shapes compare_blobs run_blobs",
    "net.cost": "Comparison Cost compare_cost layer_costs",
    "net.description": "Description",
    "net.features": "extract_arrays extract_features",
    "net.in_place": "default_in_place",
    "net.inputs": "complete_inputs valid_inputs",
    "net.loading": "load_files",
    "net.missing": "missing_weights refuse_missing",
    "net.net": "Net",
    "net.prepared": "PreparedNet",
    "net.own_data": "own_batches",
    "net.sources": "refuse_unknown_inputs",
    "net.timing": "compare_time pinned",
    "plugins": "has_plugins use_plugin",
    "proto.arrays": "read_npy read_npz",
    "proto.binary": "read_blob write_blob write_net",
    "proto.conversion": "convert_state convert_weights",
    "proto.files": "all_or_none write_atomically",
    "proto.kinds": "is_binary refuse_exchanged",
    "proto.model": "Model ModelLike Weights as_model model_text read_model read_net read_solver read_weights "
    "write_model",
    "proto.outline": "BlobOutline Outline outline",
    "proto.pixels": "Pixels",
    "proto.printer": "format_text",
    "proto.reading": "open_file parse_json read_bytes read_json read_lines",
    "proto.schema": "NetParameter SolverParameter",
    "proto.statistics": "Statistics measure",
    "proto.stored": "stored_arrays",
    "proto.text": "find_faults parse_text",
    "proto.upgrade": "upgrade_solver",
    "pycaffe.door": "install_caffe run_as_caffe uninstall_caffe",
    "prune.importance": "choose_least filter_norms mean_gradients round_ratios",
    "prune.narrow": "Narrowed narrow",
    "prune.pruning": "PrunedFilters certify_pruned prune_filters read_kept",
    "prune.projection": "project_inputs",
    "prune.reset": "reset_normalization",
    "prune.selection": "CRITERIA Selection",
    "prune.sparsity": "measure_sparsity prune_and_fuse",
    "recipes.rank_pruning": "Pruned prune_ranks",
    "recipes.shrink": "Shrunk shrink",
    "recipes.stages": "Stage",
    "solver.board": "TensorBoardLog",
    "solver.callbacks": "KeepBest KeepLast Patience",
    "solver.distributed": "DistributedSolver is_root process_count process_group",
    "solver.filters": "filter_angles",
    "solver.log": "GlogHandler JsonLinesLog",
    "solver.methods": "TRAINING_METHODS",
    "solver.methods.listed": "OTHER_METHODS",
    "solver.nets": "output_weights",
    "solver.regularizers.force": "force_gradient",
    "solver.regularizers.registry": "register_regularizer",
    "solver.run_options": "resumed_options",
    "solver.snapshots": "NEWEST Snapshot newest_snapshot open_snapshot",
    "solver.solver": "Solver",
    "solver.state": "SolverState",
    "solver.structure": "zero_shares",
    "solver.updates": "momentum_step",
    "solver.watching": "ProgressBar watch",
}
_HOMES = {name: home for home, names in _MODULES.items() for name in names.split()}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with _doing("loading", is_start=True):  # of torch, seconds
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


# `decompose` is the function; importing the subpackage for the first time binds its name: do that now, and unbind it.
importlib.import_module(f"{__name__}.decompose")
del globals()["decompose"]

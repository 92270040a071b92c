"""Read, run, train, shrink and write Caffe models in PyTorch, with Caffe's own numbers.

The names below are the whole public interface. Each is imported from its home when it is first used, so that
`import caffe_compat` stays fast where no torch is needed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from caffe_compat.commands.registry import register_command
    from caffe_compat.data.contents import Record, first_records, survey
    from caffe_compat.data.crops import Preprocessing, list_images, read_labels, read_mean_planes
    from caffe_compat.data.datasets import CIFAR10_SHA256, MNIST_SHA256, check_published, make_cifar10, make_mnist
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
    from caffe_compat.export.exported_program import (
        check_exported_program,
        to_exported_program,
        write_exported_program,
    )
    from caffe_compat.export.folding import fold_batch_norm
    from caffe_compat.export.onnx import check_onnx, onnx_types, to_onnx, write_onnx
    from caffe_compat.export.opencv import check_opencv
    from caffe_compat.export.page import html_page
    from caffe_compat.export.pixels import pixels_of, with_preprocessing
    from caffe_compat.export.plain_torch.folder import check_torch_source, torch_source, write_torch_source
    from caffe_compat.export.surgery.certify import certify_surgery
    from caffe_compat.export.surgery.classifier import resize_classifier
    from caffe_compat.export.surgery.dense import fully_connected, fully_convolutional
    from caffe_compat.export.surgery.inputs import fold_scaling, join_channels, resize_input, swap_channels
    from caffe_compat.export.surgery.operation import Operation
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
    from caffe_compat.net.features import extract_arrays, extract_features
    from caffe_compat.net.in_place import default_in_place
    from caffe_compat.net.inputs import complete_inputs, valid_inputs
    from caffe_compat.net.loading import load_files
    from caffe_compat.net.missing import missing_weights, refuse_missing
    from caffe_compat.net.net import Net
    from caffe_compat.net.own_data import own_batches
    from caffe_compat.net.sources import refuse_unknown_inputs

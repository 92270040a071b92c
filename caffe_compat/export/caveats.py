"""Why a layer that is built here may still give other numbers than in the Caffe that its net is written for."""

from __future__ import annotations

from typing import Any

from caffe_compat.layers.base import Layer
from caffe_compat.layers.table import layer_types
from caffe_compat.proto import dialects
from caffe_compat.proto.schema import NetParameter, is_repeated

# Fields of forks that say how, where or how fast to compute, not what
_NEUTRAL = frozenset(
    {
        "backward_math", "backward_type", "cache", "conv_algorithm", "conv_algos_override",
        "cudnn_convolution_algo_seeker", "cudnn_math_override", "debug", "debug_params", "display", "engine",
        "forward_math", "forward_type", "fuse", "multinode", "optimization", "parser_threads", "per_fla_fuse",
        "prefetch", "random_seed", "reshape_every_iter", "stats_batch_size", "threads", "use_gpu_transform",
        "BC_ultra_space_efficient", "force_nd_im2col", "gpuIdx", "workspace_MB",
    }
)  # fmt: skip

# Fields of a layer's param that the solver reads
_SOLVED = frozenset({"force_mult", "block_group_lasso", "decay_proto", "breadth_decay_mult", "kernel_shape_decay_mult"})

# Fields of forks beside the messages of a layer's type that change what it computes
_ACTING = frozenset({"activations_compress", "compress", "weights_compress"})


def caveat(param: Any, phase: str) -> str:
    """Why the numbers of a layer are not Caffe's to the last digits; empty where they are."""
    if param.type == "Python":
        return "what it computes is the user's own code, which was not run"
    if param.type == "DummyData" and any(filler.type != "constant" for filler in param.dummy_data_param.data_filler):
        return "values are drawn with Caffe's distribution, not its random numbers"
    if phase == "TRAIN" and _draws(param):
        return "draws in TRAIN with Caffe's distribution, not its random numbers"
    return ""


def of_plugin(param: Any, kind: type[Layer]) -> str:
    """What to say of a layer of a type that the package has not; empty for its own types."""
    if param.type in layer_types():
        return ""
    return f"of a plugin ({kind.__module__}); nothing here proves its numbers"


def _draws(param: Any) -> bool:
    if param.type == "Dropout":
        return bool(param.dropout_param.dropout_ratio > 0)
    if param.type in ("Pooling", "SPP"):
        fields = param.pooling_param if param.type == "Pooling" else param.spp_param
        return bool(fields.pool == type(fields).STOCHASTIC)
    transform = param.transform_param
    return bool(not param.bottom and (transform.mirror or transform.crop_size))


def is_neutral(path: str) -> bool:
    """Whether the field at `path` says how or where a layer computes, and leaves its numbers as they are."""
    return path.split(".")[-1] in _NEUTRAL


def ignored_fields(param: Any, kind: type[Layer]) -> str:
    """What to say of the fields that only forks have and that layers of this `kind` do not read; empty for none.

    A message of a fork's own type, such as prior_box_param, is read by the layer of that type, which refuses what it
    does not know.
    """
    net = NetParameter(layer=[param])
    ignored = []
    for use in dialects.fork_fields(net):
        path = use.field.split(".")
        obeyed = use.field in kind.fork_fields or "*" in kind.fork_fields
        obeyed = obeyed or (path[0] == "param" and path[-1] in _SOLVED)
        if (len(path) > 1 or path[0] in _ACTING) and path[-1] not in _NEUTRAL and not obeyed and _is_set(param, path):
            ignored.append(f"{use.field} (of {', '.join(use.forks[:3])})")
    without = f"without effect here: {'; '.join(ignored)}" if ignored else ""
    return "; ".join(filter(None, (kind.shortcoming(param), without)))


def _is_set(message: Any, path: list[str]) -> bool:
    """Whether the field at `path` has another value than its default."""
    for name in path:
        field = message.DESCRIPTOR.fields_by_name[name]
        if is_repeated(field):
            return True
        message = getattr(message, name)
    return bool(field.message_type is not None or message != field.default_value)

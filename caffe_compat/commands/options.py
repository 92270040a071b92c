"""Options that several verbs share, and what they mean.

This module and those of the verbs import torch and numpy only in what runs, so that --help answers at once.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from caffe_compat import SolverError
from caffe_compat.commands.numbers import input_shape, whole, whole_number

MOST_THREADS = 1024  # more than any machine has cores for, fewer than a process may start
CRITERIA = ("l1", "l2", "bn", "random", "eprune", "zeros", "fisher", "tfo")  # of `cc.prune_filters`
BACKENDS = ("openvino", "onnxruntime")  # of `net.prepare`
METHODS = ("pca", "svd", "kmeans", "separable", "tucker", "cp")  # of `cc.factorize`

log = logging.getLogger(__name__)


def comma_list(text: str) -> tuple[str, ...]:
    """The words of a comma list, as Caffe's -weights, -stage and -gpu take them."""
    return tuple(word for word in (part.strip() for part in text.split(",")) if word)


def add_state(parser: argparse.ArgumentParser) -> None:
    """--level and --stage: which layers the rules of the prototxt include."""
    parser.add_argument(
        "--level", type=whole_number(), default=0, metavar="N", help="network level for include rules (default 0)"
    )
    parser.add_argument("--stage", type=comma_list, default=(), metavar="A,B", help="network stages for include rules")


def add_device(parser: argparse.ArgumentParser) -> None:
    """--device, Caffe's --gpu, --threads."""
    parser.add_argument("--device", choices=("cpu", "cuda", "auto"), help="auto: a GPU where there is one")
    parser.add_argument("--gpu", type=comma_list, default=(), metavar="N", help="Caffe's way to choose GPU number N")
    parser.add_argument("--threads", type=whole_number(), metavar="N", help="CPU threads (default: as torch chooses)")


def add_backend(parser: argparse.ArgumentParser) -> None:
    """--backend: the runtime in which a prepared net runs."""
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        help="run the net in this runtime, compared with what it gives here in its first pass",
    )


def add_compat(parser: argparse.ArgumentParser) -> None:
    """--compat: whose rules hold where Caffe 1.0 and the paper's fork differ."""
    parser.add_argument(
        "--compat",
        choices=("bvlc", "wen2017", "scnn"),
        default="bvlc",
        help="Caffe 1.0 (default), the paper's fork, or its branch for structured sparsity",
    )


def add_plugin(parser: argparse.ArgumentParser) -> None:
    """--plugin: modules that add layers, regularizers or verbs."""
    parser.add_argument(
        "--plugin",
        action="append",
        default=[],
        metavar="MODULE",
        help="a Python module that adds layers or regularizers; may be repeated",
    )


def add_net(parser: argparse.ArgumentParser) -> None:
    """The net's file, as a word of its own or by Caffe's -model."""
    parser.add_argument("net", nargs="?", metavar="NET", help="the net's prototxt")
    parser.add_argument("--model", metavar="NET", help="the same, by Caffe's name")


def add_input(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--input",
        type=input_shape,
        action="append",
        default=[],
        metavar="BLOB=SHAPE",
        help="shape of a blob whose data is not here, e.g. data=1,3,32,32; may be repeated",
    )


def input_options(model: Any) -> str:
    """The --input of every top of the first data layer of `model`, with letters for sizes."""
    tops = next((layer.top for layer in model.net.layer if not layer.bottom and layer.top), ["data"])
    return " ".join(f"--input {top}={'N' if index else 'N,C,H,W'}" for index, top in enumerate(tops))


def known_shapes(model: Any, given: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """The shapes of the inputs of TEST: those `given`, and those that the net or its weights tell of data elsewhere."""
    from caffe_compat import common_shapes

    return {**common_shapes([model], "TEST", given, folders=[model.folder])[0], **given}


def deployed_inputs(net: Any) -> list[str]:
    """The inputs of a deploy net, whose values come from whoever uses it; none where anything in it gives data."""
    sources = [layer for node, layer in net.steps if not node.bottoms and node.tops]
    inputs = [name for layer in sources if getattr(layer, "fed", False) for name in layer.param.top]
    return inputs if len(inputs) == len(net.input_names) else []


def add_allow_missing(parser: argparse.ArgumentParser) -> None:
    """--allow-missing: layers that may go without trained weights."""
    parser.add_argument(
        "--allow-missing",
        type=comma_list,
        action="extend",
        default=[],
        metavar="LAYER",
        help="go on although the weights have nothing for this layer, which keeps its filler; may be repeated",
    )


def say_pixels(model: Any, kept: str) -> None:
    """Say on stderr what images must go through before they are an input of what is written, and where it is `kept`."""
    import caffe_compat as cc

    for blob, pixels in cc.pixels_of(model).items():
        if pixels.changes:
            print(
                f"input '{blob}' takes {pixels}, {kept}; --with-preprocessing puts that into the net", file=sys.stderr
            )


def with_fillers(model: Any, names: Sequence[str], **options: Any) -> Any:
    """`model` with what the fillers give the layers `names` in TEST, so that it is the same each time it is built."""
    import caffe_compat as cc

    made = cc.Net(model, "TEST", **options).weights() if names else {}
    weights = {**{name: made[name] for name in names if name in made}, **model.weights}
    return dataclasses.replace(model, weights=weights)


def add_weights(parser: argparse.ArgumentParser) -> None:
    """--weights: one file or several, later ones winning."""
    parser.add_argument(
        "--weights",
        type=comma_list,
        default=(),
        metavar="A,B",
        help="trained weights: .caffemodel, .caffemodel.h5 or .safetensors",
    )


def one_of(word: str | None, option: str | None, name: str, flag: str) -> str:
    """A file given either as a word of its own or by its flag; SolverError for none or two."""
    if word and option and word != option:
        raise SolverError(f"{name}: given twice, as '{word}' and as {flag} '{option}'; give one")
    found = word or option
    if not found:
        raise SolverError(f"{name}: none given; name one, or use {flag} FILE")
    return found


def set_threads(threads: int | None) -> None:
    """Use this many CPU threads; None leaves it to torch."""
    if threads is not None:
        if not 1 <= threads <= MOST_THREADS:
            raise SolverError(f"--threads {threads}: must be 1 or more, at most {MOST_THREADS}")
        import torch

        torch.set_num_threads(threads)


def choose_device(arguments: argparse.Namespace) -> str:
    """The torch device that --gpu and --device ask for, the CPU when neither does; also sets the CPU threads.

    A GPU's convolutions then compute in float32 as Caffe's, and not in TF32. SolverError for a GPU that is not there.
    """
    set_threads(arguments.threads)
    import torch

    device = gpu_device(arguments.gpu)
    if device is None and arguments.device == "cuda":
        device = gpu_device(("0",))
    if device is None and arguments.device == "auto" and torch.cuda.is_available():
        device = "cuda:0"
    torch.backends.cudnn.allow_tf32 = False
    log.info("Use CPU." if device is None else f"Using GPU {device[5:]}")
    return device or "cpu"


def gpu_device(numbers: tuple[str, ...]) -> str | None:
    """The torch device of Caffe's -gpu: one number, or "all" where that is one; None where nothing was given."""
    import torch

    found = torch.cuda.device_count()
    if numbers == ("all",):
        numbers = tuple(map(str, range(found))) or ("0",)
    if len(numbers) > 1:
        raise SolverError(f"--gpu {','.join(numbers)}: one GPU a process; name one, or use torchrun")
    if not numbers:
        return None
    if not numbers[0].isascii() or not numbers[0].isdigit() or whole(numbers[0]) >= found:
        raise SolverError(f"--gpu {numbers[0]}: torch finds {found} GPUs here; use --device cpu")
    return f"cuda:{numbers[0]}"


def load(net: Any, weights: tuple[str, ...]) -> None:
    """Put the trained weights of each file into `net`, one after another; WeightsError where one has none for it."""
    from caffe_compat import load_files

    load_files(net, weights)

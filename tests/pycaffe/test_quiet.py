"""Passes that nobody watches: what they leave out is, when a script asks for it, what a pass that keeps all leaves."""

import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import caffe_compat.pycaffe as caffe
from caffe_compat.pycaffe.bindings import CheckError
from tests.pycaffe.nets import inner, layer, wave

INPUT = (
    'layer { name: "data" type: "Input" top: "data" top: "label" '
    "input_param { shape { dim: 4 dim: 2 dim: 6 dim: 5 } shape { dim: 4 } } }\n"
)


def _convolution(name: str, bottom: str, outputs: int = 3) -> str:
    return layer(
        name, "Convolution", bottom, name, f"convolution_param {{ num_output: {outputs} kernel_size: 3 pad: 1 }}"
    )


def _normalised(name: str) -> str:
    scale = layer(f"{name}_s", "Scale", name, name, "scale_param { bias_term: true }")
    return layer(f"{name}_bn", "BatchNorm", name, name) + scale


def _end(bottom: str) -> str:
    return inner("ip", bottom, "ip", 3) + layer("loss", "SoftmaxWithLoss", "ip label", "loss")


NETS = {
    "joined": _convolution("a", "data") + _normalised("a") + layer("relu", "ReLU", "a", "a") + _end("a"),
    "residual": _convolution("a", "data")
    + _normalised("a")
    + layer("relu", "ReLU", "a", "a")
    + _convolution("b", "a")
    + _normalised("b")
    + layer("sum", "Eltwise", "a b", "sum")
    + layer("relu2", "ReLU", "sum", "sum")
    + _end("sum"),
    "drop": _convolution("a", "data")
    + layer("relu", "ReLU", "a", "a")
    + layer("drop", "Dropout", "a", "a", "dropout_param { dropout_ratio: 0.3 }")
    + layer("flat", "Flatten", "a", "flat")
    + _end("flat"),
    "parts": _convolution("a", "data", 4)
    + layer("slice", "Slice", "a", "p", 'top: "q" slice_param { axis: 1 }')
    + layer("shape", "Reshape", "p", "shape", "reshape_param { shape { dim: 0 dim: 2 dim: 5 dim: 6 } }")
    + layer("lrn", "LRN", "q", "lrn", "lrn_param { local_size: 3 }")
    + inner("i0", "shape", "i0", 3)
    + inner("i1", "lrn", "i1", 3)
    + layer("product", "Eltwise", "i0 i1", "product", "eltwise_param { operation: PROD }")
    + layer("loss", "SoftmaxWithLoss", "product label", "loss")
    + layer("side", "Reduction", "i0", "side", "loss_weight: 0.1")
    + layer("prob", "Softmax", "i1", "prob"),
}


def _solver(name: str = "residual", forced: bool = False, iter_size: int = 1) -> Any:
    Path("net.prototxt").write_text("force_backward: true\n" * forced + INPUT + NETS[name])
    Path("solver.prototxt").write_text(
        'net: "net.prototxt" base_lr: 0.05 lr_policy: "fixed" momentum: 0.9 weight_decay: 0.01 '
        f"snapshot_after_train: false iter_size: {iter_size}"
    )
    solver = caffe.SGDSolver("solver.prototxt")
    for number, (_, blob) in enumerate(_parameters(solver.net)):
        blob.data[...] = 0.4 * wave(*blob.data.shape, k=number) + (0.5 if blob.data.ndim == 1 else 0)
    solver.net.blobs["data"].data[...] = wave(*solver.net.blobs["data"].data.shape)
    solver.net.blobs["label"].data[...] = [0, 1, 2, 1]
    return solver


def _parameters(net: Any) -> list[tuple[str, Any]]:
    return [(f"{name} {index}", blob) for name, blobs in net.params.items() for index, blob in enumerate(blobs)]


def _pair(name: str = "residual", **options: Any) -> tuple[Any, Any]:
    """Two solvers of one net and the same weights, of which the second keeps everything, for it has a callback."""
    quick, watched = _solver(name, **options), _solver(name, **options)
    watched.net.after_forward(lambda number: None)
    return quick, watched


def _all(net: Any) -> dict[str, np.ndarray]:
    blobs = [*net.blobs.items(), *_parameters(net)]
    return {f"{name} {part}": getattr(blob, part).copy() for name, blob in blobs for part in ("data", "diff")}


def _assert_same(quick: Any, watched: Any) -> None:
    wanted = _all(watched.net)
    for name, found in _all(quick.net).items():
        largest = np.abs(wanted[name]).max(initial=1)
        np.testing.assert_allclose(found, wanted[name], rtol=2e-4, atol=2e-5 * largest, err_msg=name)


def _is_left_out(solver: Any, name: str) -> bool:
    """Whether there is nothing in the memory of a blob."""
    blob = solver.net.blobs[name]
    return bool(blob._data.is_empty and blob._diff.is_empty)


def test_a_step_that_nobody_watches_keeps_nothing_in_between() -> None:
    solver = _solver()
    solver.step(1)
    assert not _is_left_out(solver, "b")
    solver.step(1)
    assert _is_left_out(solver, "b")
    before = solver.net.blobs["loss"].data.copy()
    solver.step(1)
    assert _is_left_out(solver, "b")
    assert solver.net.blobs["loss"].data != before


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("iter_size", [1, 2])
def test_after_steps_all_blobs_hold_what_caffe_leaves_there(name: str, iter_size: int) -> None:
    quick, watched = _pair(name, iter_size=iter_size)
    for solver in (quick, watched):
        caffe.set_random_seed(3)
        solver.step(4)
    _assert_same(quick, watched)


def test_a_view_that_a_script_holds_is_kept_up_to_date() -> None:
    quick, watched = _pair()
    views = [(solver.net.blobs["b"].diff, solver.net.blobs["sum"].data) for solver in (quick, watched)]
    for solver in (quick, watched):
        solver.step(3)
    for one, other in zip(*views, strict=True):
        assert one.any()
        np.testing.assert_allclose(one, other, rtol=2e-4, atol=2e-6)


def test_weights_written_after_a_pass_do_not_change_what_it_has_left() -> None:
    quick, watched = _pair(forced=True)
    for solver in (quick, watched):
        net = solver.net
        for _ in range(3):
            net.clear_param_diffs()
            net.forward()
            net.backward()
        net.params["b"][0].data[...] *= 3
        net.blobs["data"].data[...] = 7
    assert _is_left_out(quick, "b")
    _assert_same(quick, watched)


def test_the_diff_of_an_output_is_the_scripts() -> None:
    """Backward starts from it, and a ReLU in place may write on the gradient of its top."""
    text = INPUT + _convolution("a", "data") + _convolution("b", "a") + layer("relu", "ReLU", "b", "b")
    Path("tail.prototxt").write_text("force_backward: true\n" + text)
    nets = [caffe.Net("tail.prototxt", caffe.TRAIN) for _ in range(2)]
    nets[1].after_forward(lambda number: None)
    for net in nets:
        for _, blob in _parameters(net):
            blob.data[...] = wave(*blob.data.shape)
        net.blobs["data"].data[...] = wave(4, 2, 6, 5)
        net.blobs["b"].diff[...] = 3
        for _ in range(3):
            net.clear_param_diffs()
            net._forward(0, 3)
            net._backward(3, 0)
    for one, other in zip(*(_all(net).values() for net in nets), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-4, atol=2e-5)


def test_backward_after_an_update_computes_with_the_weights_of_now() -> None:
    quick, watched = _pair("joined")
    for solver in (quick, watched):
        solver.step(3)
        solver.net.backward()
    _assert_same(quick, watched)


def test_the_first_step_too_can_be_followed_by_backward() -> None:
    """It keeps everything, but computes Scale and the BatchNorm before it at once."""
    quick, watched = _pair("joined")
    for solver in (quick, watched):
        solver.step(1)
        solver.net.backward()
    _assert_same(quick, watched)


def test_weights_that_nobody_looks_at_any_more_lie_as_layers_want_them(tmp_path: Path) -> None:
    solver = _solver("joined")
    solver.net.save("w.caffemodel")
    net = caffe.Net("net.prototxt", "w.caffemodel", caffe.TEST)
    (memory, _) = next(iter(net._execution._memories.values()))
    held = net.params["a"][0].data
    net.forward()
    held[...] = 2
    assert memory.parameters[0].is_contiguous() and bool((memory.parameters[0] == 2).all())
    del held
    net.forward()
    assert not memory.parameters[0].is_contiguous()
    assert (net.params["a"][0].data == 2).all()


def _net_of_images(folder: Path, sizes: list[tuple[int, int]], missing: int = -1) -> Any:
    """A net on images of these heights and widths, of which image i has the value 10 i; one a batch."""
    for number, size in enumerate(sizes):
        if number != missing:
            Image.fromarray(np.full((*size, 3), 10 * number, np.uint8)).save(folder / f"{number}.png")
    (folder / "list").write_text("".join(f"{folder}/{number}.png 0\n" for number in range(len(sizes))))
    source = f'image_data_param {{ source: "{folder}/list" batch_size: 1 }}'
    text = f'layer {{ name: "data" type: "ImageData" top: "data" top: "label" {source} }}'
    (folder / "net.prototxt").write_text(
        text + _convolution("a", "data") + layer("relu", "ReLU", "a", "b") + layer("sum", "Reduction", "b", "sum")
    )
    return caffe.Net(str(folder / "net.prototxt"), caffe.TEST)


def test_layers_run_alone_read_on_after_an_image_of_another_size(tmp_path: Path) -> None:
    """The pass over such an image begins as one that nobody watches, and goes on layer by layer."""
    net = _net_of_images(tmp_path, [(8, 8), (6, 7), (9, 5)])
    net.forward()
    net.forward()
    net.forward(end="a")
    assert net.blobs["data"].data.shape == (1, 3, 9, 5)
    assert net.blobs["data"].data.max() == 20


def test_an_error_in_a_pass_that_nobody_watches_is_in_caffes_words(tmp_path: Path) -> None:
    net = _net_of_images(tmp_path, [(8, 8)] * 3, missing=2)
    net.forward()
    net.forward()
    assert _is_left_out(SimpleNamespace(net=net), "b")
    for _ in range(2):
        with pytest.raises(CheckError, match=r"Check failed:.*2\.png: the image cannot be read"):
            net.forward()


def test_blobs_outlive_a_net_that_has_left_them_out() -> None:
    solver = _solver("joined")
    solver.step(3)
    blob = solver.net.blobs["a"]
    del solver
    assert blob.data.any() and blob.diff.any()


def _act(solver: Any, held: list[np.ndarray], deed: str, name: str, place: int, strength: float) -> Any:
    """One deed of a script; what it sees."""
    net, last = solver.net, len(solver.net.layers) - 1
    blob, parameter = net.blobs[name], _parameters(net)[place][1]
    first = int(strength * last)
    deeds: dict[str, Callable[[], Any]] = {
        "forward": lambda: net._forward(0, last),
        "backward": lambda: net._backward(last, 0),
        "passes": lambda: (net.clear_param_diffs(), net._forward(0, last), net._backward(last, 0)),
        "step": lambda: solver.step(1 + place % 2),
        "update": lambda: solver.apply_update(),
        "partly": lambda: net._forward(first, min(last, first + 1)),
        "partly back": lambda: net._backward(min(last, first + 1), first),
        "look": lambda: blob.data.copy(),
        "look at diff": lambda: blob.diff.copy(),
        "look at weights": lambda: parameter.data.copy(),
        "write": lambda: np.multiply(blob.data, 0.5 + strength, out=blob.data),
        "write diff": lambda: blob.diff.fill(strength),
        "write weights": lambda: np.multiply(parameter.data, 1 + 0.2 * strength, out=parameter.data),
        "hold": lambda: held.append(blob.data),
        "hold diff": lambda: held.append(blob.diff),
        "hold weights": lambda: held.append(parameter.data),
        "write held": lambda: held and np.multiply(held[-1], 1.1, out=held[-1]),
        "outputs": lambda: [net.blobs[output].data.copy() for output in net.outputs],
    }
    found = deeds[deed]()
    return (found if deed in ("forward", "look", "look at diff", "outputs") else None, [each.copy() for each in held])


_DEEDS = (
    "forward", "backward", "passes", "passes", "step", "step", "update", "partly", "partly back", "look",
    "look at diff", "look at diff", "look at weights", "write", "write diff", "write weights", "hold", "hold diff",
    "hold weights", "write held", "outputs",
)  # fmt: skip


@pytest.mark.parametrize("seed", range(24))
def test_whatever_a_script_does_it_sees_the_same(seed: int) -> None:
    """Deeds in random order, after two passes that nobody watched."""
    draw = random.Random(seed)
    name = draw.choice(list(NETS))
    quick, watched = _pair(name, forced=draw.random() < 0.4, iter_size=draw.randint(1, 2))
    blobs, count = list(quick.net.blobs), len(_parameters(quick.net))
    deeds = [("passes", "data", 0, 0.0)] * 2 + [
        (draw.choice(_DEEDS), draw.choice(blobs), draw.randrange(count), draw.random()) for _ in range(8)
    ]
    seen: list[list[Any]] = []
    for solver in (quick, watched):
        held: list[np.ndarray] = []
        seen.append([])
        for number, deed in enumerate(deeds):
            caffe.set_random_seed(number)
            seen[-1].append(_act(solver, held, *deed))
    for number, (one, other) in enumerate(zip(*seen, strict=True)):
        for first, second in zip(_leaves(one), _leaves(other), strict=True):
            largest = np.abs(second).max(initial=1)
            np.testing.assert_allclose(first, second, rtol=2e-4, atol=2e-5 * largest, err_msg=str(deeds[: number + 1]))
    _assert_same(quick, watched)


def _leaves(found: Any) -> list[Any]:
    if isinstance(found, (tuple, list)):
        return [leaf for each in found for leaf in _leaves(each)]
    return [] if found is None else [found]


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("Slice", ""),
        ("Concat", ""),
        ("Flatten", ""),
        ("Split", ""),
        ("Reshape", "reshape_param { shape { dim: 0 dim: -1 } }"),
    ],
)
def test_an_output_in_the_memory_of_an_input_leaves_that_as_it_is(kind: str, fields: str, tmp_path: Path) -> None:
    """The values are real pycaffe's."""
    source = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }\n'
    (tmp_path / "net.prototxt").write_text(source + layer("a", kind, "data", "b", fields))
    net = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TRAIN)
    net.blobs["data"].data[...] = [[1, 2, 3], [4, 5, 6]]
    net.forward()
    net.forward()
    net.blobs["data"].reshape(1, 3)
    net.reshape()
    net.blobs["data"].reshape(2, 3)
    assert net.blobs["data"].data.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert net.blobs["b"].data.tolist() == [[1, 2, 3]]

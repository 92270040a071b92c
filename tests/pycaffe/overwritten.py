"""Nets of one layer or two, and what their gradients are when blobs are overwritten between forward and backward.

tests/golden/pycaffe_overwritten/NAME.npz hold what real pycaffe answered (commit 9b89154, OpenBLAS, CPU); each by
`PYTHONPATH=CAFFE/python:. python3 tests/pycaffe/overwritten.py caffe NAME`, which needs NumPy alone beside Caffe.
"""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

IMAGES, ROWS = "dim: 2 dim: 3 dim: 4 dim: 4", "dim: 2 dim: 5"
SMALL = 'layer {{ name: "{0}" type: "Power" bottom: "{1}" top: "{0}" power_param {{ shift: {2} }} }}\n'


def _input(name: str, shape: str) -> str:
    return f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {shape} }} }} }}\n'


def _layer(kind: str, fields: str = "", bottoms: str = "x", tops: str = "y", name: str = "l") -> str:
    ends = " ".join([f'bottom: "{one}"' for one in bottoms.split()] + [f'top: "{one}"' for one in tops.split()])
    return f'layer {{ name: "{name}" type: "{kind}" {ends} {fields} }}\n'


def _below(shape: str = IMAGES, shift: float = 0, name: str = "x") -> str:
    return _input(f"{name}_in", shape) + SMALL.format(name, f"{name}_in", shift)


ONE, TWO = _below(), _below() + _below(name="x2")
CONVOLVED = "convolution_param { num_output: 2 kernel_size: 3 }"
TYPES = {  # of one bottom: type and fields
    "AbsVal": "", "BNLL": "", "ELU": "", "Exp": "", "Log": "log_param { shift: 4 }", "ReLU": "", "PReLU": "",
    "Power square": "power_param { power: 2 scale: 0.5 shift: 3 }",
    "Power": "power_param { power: 3 scale: 0.5 shift: 3 }",
    "Power unshifted": "power_param { power: 3 scale: 0.5 }", "ReLU leaky": "relu_param { negative_slope: 0.1 }",
    "Sigmoid": "", "TanH": "", "Swish": "", "Clip": "clip_param { min: -0.5 max: 0.5 }", "Softmax": "", "BatchNorm": "",
    "Scale": "scale_param { bias_term: true }", "Bias": "", "MVN": "",
    "MVN means": "mvn_param { normalize_variance: false }",
    "LRN": "lrn_param { local_size: 3 alpha: 0.5 }", "InnerProduct": "inner_product_param { num_output: 3 }",
    "LRN within": "lrn_param { local_size: 3 alpha: 0.5 norm_region: WITHIN_CHANNEL }", "Convolution": CONVOLVED,
    "Deconvolution": CONVOLVED, "Pooling": "pooling_param { kernel_size: 2 stride: 2 }",
    "Pooling mean": "pooling_param { pool: AVE kernel_size: 2 stride: 2 }", "Tile": "tile_param { tiles: 2 }",
    "Reduction": "reduction_param { operation: ASUM axis: 1 }", "Flatten": "", "Dropout": "",
    "Reduction squares": "reduction_param { operation: SUMSQ axis: 1 }",
    "Im2col": "convolution_param { kernel_size: 2 }",
    "Reduction mean": "reduction_param { operation: MEAN axis: 1 }", "SPP": "spp_param { pyramid_height: 2 }",
}  # fmt: skip
PAIRS = {  # of two bottoms
    "Scale two": "scale_param { axis: 0 }", "Eltwise max": "eltwise_param { operation: MAX }", "Concat": "",
    "Eltwise product": "eltwise_param { operation: PROD }", "Eltwise sum": "eltwise_param { coeff: 2 coeff: -1 }",
    "Eltwise ratio": "eltwise_param { operation: PROD stable_prod_grad: false }",
    "Crop": "crop_param { axis: 2 offset: 0 }",
}  # fmt: skip
LABEL = _input("label", "dim: 2")
SEQUENCE = _below("dim: 3 dim: 2 dim: 4") + _input("cont", "dim: 3 dim: 2")
NETS = {
    **{name: ONE + _layer(name.split()[0], fields) for name, fields in TYPES.items()},
    **{name: TWO + _layer(name.split()[0], fields, "x x2") for name, fields in PAIRS.items()},
    "Slice": ONE + _layer("Slice", "slice_param { axis: 1 slice_point: 1 }", "x", "y y2"),
    "SoftmaxWithLoss": ONE + _input("label", "dim: 2 dim: 4 dim: 4") + _layer("SoftmaxWithLoss", "", "x label"),
    "EuclideanLoss": ONE + _input("target", IMAGES) + _layer("EuclideanLoss", "", "x target"),
    "SigmoidCrossEntropyLoss": ONE + _input("target", IMAGES) + _layer("SigmoidCrossEntropyLoss", "", "x target"),
    "ContrastiveLoss": _below(ROWS) + _below(ROWS, name="x2") + _input("label", "dim: 2")
    + _layer("ContrastiveLoss", "contrastive_loss_param { margin: 4 }", "x x2 label"),
    "MultinomialLogisticLoss": _below(ROWS, 2) + _input("label", "dim: 2")
    + _layer("MultinomialLogisticLoss", "", "x label"),
    "LSTM": SEQUENCE + _layer("LSTM", "recurrent_param { num_output: 3 }", "x cont"),
    "RNN": SEQUENCE + _layer("RNN", "recurrent_param { num_output: 3 }", "x cont"),
    "Convolution, ReLU": ONE + _layer("Convolution", CONVOLVED) + _layer("ReLU", "", "y", "y", "r"),
    "Convolution, ReLU, Dropout": ONE + _layer("Convolution", CONVOLVED) + _layer("ReLU", "", "y", "y", "r")
    + _layer("Dropout", "", "y", "y", "d"),
    "BatchNorm, Scale, ReLU": ONE + _layer("BatchNorm") + _layer("Scale", TYPES["Scale"], "y", "y", "s")
    + _layer("ReLU", "", "y", "y", "r"),
    "Power, Sigmoid": ONE + _layer("Power") + _layer("Sigmoid", "", "y", "y", "r"),
    "Power, ELU": ONE + _layer("Power") + _layer("ELU", "", "y", "y", "r"),
    "Split": ONE + _layer("Split", "", "x", "y y2"),
    "Reshape": ONE + _layer("Reshape", "reshape_param { shape { dim: -1 } }"),
    "Concat alone": ONE + _layer("Concat"), "Slice alone": ONE + _layer("Slice"),
    "Flatten, TanH, InnerProduct": ONE + _layer("Flatten") + _layer("TanH", "", "y", "y", "t")
    + _layer("InnerProduct", TYPES["InnerProduct"], "y", "z", "i"),
    "Parameter": ONE + f'layer {{ name: "p" type: "Parameter" top: "y" parameter_param {{ shape {{ {IMAGES} }} }} }}\n'
    + _layer("Eltwise", PAIRS["Eltwise product"], "x y", "z", "e"),
    "HingeLoss": _below(ROWS) + LABEL + _layer("HingeLoss", "", "x label"),
    "HingeLoss L2": _below(ROWS) + LABEL
    + _layer("HingeLoss", "hinge_loss_param { norm: L2 } loss_weight: 0.5", "x label"),
    "LSTMUnit": _below("dim: 1 dim: 2 dim: 3") + _below("dim: 1 dim: 2 dim: 12", name="x2")
    + _input("cont", "dim: 1 dim: 2") + _layer("LSTMUnit", "", "x x2 cont", "y y2"),
    "RNN exposed": SEQUENCE + _below("dim: 1 dim: 2 dim: 3", name="x2")
    + _layer("RNN", "recurrent_param { num_output: 3 expose_hidden: true }", "x cont x2", "y y2"),
    "Scale in place": ONE + _layer("Scale", TYPES["Scale"], "x", "x"),
    "Scale each": _below(ROWS) + _layer("Scale", "scale_param { axis: 0 num_axes: -1 bias_term: true }"),
    "Scale each in place": _below(ROWS) + _layer("Scale", "scale_param { axis: 0 num_axes: -1 }", "x", "x"),
    "Scale by an equal": TWO + _layer("Scale", "scale_param { axis: 0 bias_term: true }", "x x2"),
    "Power of nought": ONE + _layer("Power", "power_param { power: 0 scale: 2 shift: 3 }"),
}  # fmt: skip
# Without force_backward, nothing to learn below, and a loss: what is written unasked
NETS |= {
    f"unforced {name}": NETS[name].rstrip()[:-1] + f"loss_weight: 0.5 {'loss_weight: 0 ' * (name == 'RNN exposed')}}}\n"
    for name in ("BatchNorm", "Bias", "Concat alone", "Convolution", "Flatten", "HingeLoss", "InnerProduct", "LSTM",
                 "LRN", "Parameter", "RNN exposed", "Reshape", "Scale", "Scale each", "Scale in place", "Softmax")
}  # fmt: skip
NETS["unforced Filter"] = ONE + LABEL + _layer("Filter", "loss_weight: 0.5", "x label")
NETS["unforced BatchNorm, Convolution"] = (
    ONE + _layer("BatchNorm") + _layer("Convolution", CONVOLVED + " loss_weight: 0.5", "y", "z", "c")
)


def wave(shape: Any, k: float = 0.0) -> np.ndarray:
    return np.sin(0.7 * np.arange(int(np.prod(shape))) + k).astype(np.float32).reshape(shape)


def runs(caffe: Any, name: str) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """(what was done, blob or parameter -> its diff after backward) for every way to overwrite that the net has."""
    blobs = [each for each in _built(caffe, name).blobs if "split" not in each and not each.endswith("_in")]
    for blob in blobs:
        net = _forward(caffe, name)
        _edit(net, blob)
        yield f"{blob} after forward", _diffs(net)
        net = _forward(caffe, name)
        net.blobs[blob].diff[...] = 0.3 * wave(net.blobs[blob].diff.shape, 5)
        yield f"diff of {blob} after forward", _diffs(net)
    net = _forward(caffe, name)
    yield "left by forward", _all_diffs(net)
    net.backward()
    yield "backward twice", _diffs(net)
    for layer, learnable in net.params.items():
        net = _forward(caffe, name)
        net.params[layer][0].data[...] *= -0.7
        net.params[layer][len(learnable) - 1].diff[...] = 0.25
        yield f"parameters of {layer} after forward", _diffs(net)
    last = len(net.layers) - 1
    net = _forward(caffe, name, lambda net: net.after_forward(lambda number: number == last and _edit(net, "x")))
    yield "x in a callback", _diffs(net)
    net = _forward(caffe, name)
    net.blobs["x_in"].data[...] *= -0.6
    net.forward(end="x")
    yield "x by another pass", _diffs(net)
    net = _forward(caffe, name)
    net.blobs["x"].data[...] = np.roll(net.blobs["x"].data, 1)
    net.forward(start=list(net._layer_names)[-1])
    yield "y by another pass", _diffs(net)


def _built(caffe: Any, name: str) -> Any:
    forced = "" if name.startswith("unforced") else "force_backward: true\n"
    Path("net.prototxt").write_text(forced + NETS[name])
    caffe.set_random_seed(7)
    net = caffe.Net("net.prototxt", caffe.TRAIN)
    kinds = dict(zip(net._layer_names, (layer.type for layer in net.layers)))  # noqa: B905 (vectors of Boost)
    for number, (layer, blobs) in enumerate(net.params.items()):
        for place, blob in enumerate(blobs):
            if kinds[layer] != "BatchNorm":
                blob.data[...] = 0.5 * wave(blob.data.shape, number + 2 * place)
    return net


def _forward(caffe: Any, name: str, prepare: Any = None) -> Any:
    net = _built(caffe, name)
    for number, blob in enumerate(net.inputs):
        data = net.blobs[blob].data
        if blob == "label":
            data[...] = (np.arange(data.size) % 2).reshape(data.shape)
        else:
            data[...] = 1 if blob == "cont" else 1.5 * wave(data.shape, 2 * number + 0.3)
    if prepare is not None:
        prepare(net)
    net.forward()
    weights = dict(zip(net._blob_names, net._blob_loss_weights))  # noqa: B905
    for blob in net.outputs:
        if weights[blob] == 0:
            net.blobs[blob].diff[...] = wave(net.blobs[blob].diff.shape, 3)
    return net


def _edit(net: Any, blob: str) -> None:
    data = net.blobs[blob].data
    if blob == "label":
        data[...] = data[::-1].copy()
    elif blob != "cont":
        data[...] = 0.2 - 0.7 * data


def _diffs(net: Any) -> dict[str, np.ndarray]:
    net.backward()
    return _all_diffs(net)


def _all_diffs(net: Any) -> dict[str, np.ndarray]:
    found = {name: blob.diff.copy() for name, blob in net.blobs.items() if "_" not in name}
    for layer, blobs in net.params.items():
        found.update((f"{layer} {place}", blob.diff.copy()) for place, blob in enumerate(blobs))
    return found


def every_diff(caffe: Any, name: str) -> dict[str, np.ndarray]:
    """All that `runs` gives, by "what was done: blob"."""
    return {f"{done}: {blob}": diff for done, diffs in runs(caffe, name) for blob, diff in diffs.items()}


if __name__ == "__main__":
    module, chosen = sys.argv[1:]
    found = every_diff(importlib.import_module(module), chosen)
    flat = np.concatenate([each.ravel() for each in found.values()])
    np.savez_compressed(f"{chosen}.npz", names=list(found), values=flat)

#!/usr/bin/env bash
# aidge 0.10.1 (aidge-core, aidge-backend-cpu, aidge-onnx) reads these ONNX attributes otherwise than they are defined:
# what output_padding of a ConvTranspose adds behind, beyond the pad there, comes out as 0 without the layer's bias (it
# is no padding with zeros: the bias, and what windows reach, belongs there); a Gemm with beta 0 adds C whole, while
# beta 0.5 is right; auto_pad SAME_UPPER pads by window - stride, whatever the size is, so that 7 rows by stride 2 give
# 3 for 4, and with an odd number pads one more in front, which is SAME_LOWER: the shape is right, the values are not.
# Nothing is said, and has_native_coverage is True. Explicit pads are right. `export` writes none of the three.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile \
    numpy==2.4.6 onnx==1.23.2 aidge-core==0.10.1 aidge-backend-cpu==0.10.1 aidge-onnx==0.10.1
cat > "$folder/look.py" <<'PYTHON'
import sys
from importlib.metadata import version

import aidge_backend_cpu  # the kernels
import aidge_core
import aidge_onnx
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

PATH = sys.argv[1] + "/net.onnx"
random = np.random.default_rng(0)
image = random.standard_normal((1, 2, 7, 6)).astype(np.float32)
rows = random.standard_normal((3, 6)).astype(np.float32)


def run(operator, bottom, constants, **fields):
    """The top of a net of one node, by Aidge."""
    node = helper.make_node(operator, ["bottom", *constants], ["top"], **fields)
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("bottom", bottom.shape), ("top", [None] * bottom.ndim))
    ]
    given = [numpy_helper.from_array(np.float32(values), name) for name, values in constants.items()]
    graph = helper.make_graph([node], "net", ends[:1], ends[1:], given)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, PATH)
    net = aidge_onnx.load_onnx(PATH)
    assert aidge_onnx.has_native_coverage(net)
    net.set_backend("cpu")
    aidge_core.SequentialScheduler(net).forward(True, [aidge_core.Tensor(np.ascontiguousarray(bottom))])
    last, place = net.get_ordered_outputs()[0]
    return np.array(last.get_operator().get_output(place))


def look(name, found, wanted):
    if found.shape != wanted.shape:
        told = f"shape {found.shape} for {wanted.shape}"
    else:
        off = np.abs(found - wanted) > 1e-4
        told = f"other values in {off.sum()} of {off.size}" if off.any() else "right"
    print(f"{name}: {told}")


def deconvolved(filters, bias, stride, pad, more):
    """A transposed convolution by its definition: each pixel adds its filter; then the edges are cut."""
    high, wide = ((size - 1) * stride + filters.shape[2] + more for size in image.shape[2:])
    top = np.zeros((1, filters.shape[1], high, wide))
    for row in range(image.shape[2]):
        for column in range(image.shape[3]):
            window = np.tensordot(image[0, :, row, column], filters, 1)
            top[0, :, row * stride :, column * stride :][:, : window.shape[1], : window.shape[2]] += window
    return (top + bias[:, None, None])[:, :, pad : high - pad, pad : wide - pad]


def windows(size, window, stride, before, after):
    """What of an axis each window covers: first and last place, cut to the axis."""
    count = (size + before + after - window) // stride + 1
    starts = [place * stride - before for place in range(count)]
    return [(max(start, 0), min(start + window, size)) for start in starts]


def pooled(reduce, axes):
    """Pooling by windows that are given for each of both axes."""
    return np.array([[[[reduce(maps[a:b, c:d]) for c, d in axes[1]] for a, b in axes[0]] for maps in image[0]]])


print("aidge", *(version(f"aidge-{part}") for part in ("core", "backend-cpu", "onnx")))
filters, bias = random.standard_normal((2, 2, 3, 3)), np.array([5.0, -5.0])
for pad, more in ((0, 0), (1, 0), (0, 1), (1, 1)):
    fields = {"strides": [2, 2], "pads": [pad] * 4, "output_padding": [more] * 2}
    found = run("ConvTranspose", image, {"w": filters, "b": bias}, **fields)
    look(f"ConvTranspose, pads {pad}, output_padding {more}", found, deconvolved(filters, bias, 2, pad, more))
matrix, vector = random.standard_normal((6, 5)), random.standard_normal(5)
for beta in (1.0, 0.5, 0.0):
    look(f"Gemm, beta {beta}", run("Gemm", rows, {"b": matrix, "c": vector}, beta=beta), rows @ matrix + beta * vector)
CASES = ((2, 2, 7, 0, 1), (2, 3, 7, 1, 1), (3, 3, 6, 0, 1))  # axis, window, pixels, pads of SAME_UPPER by stride 2
for axis, window, size, before, after in CASES:
    shape, strides, pads = [1, 1], [1, 1], [0] * 4
    shape[axis - 2], strides[axis - 2], pads[axis - 2], pads[axis] = window, 2, before, after
    each = zip(image.shape[2:], shape, strides, pads[:2], pads[2:], strict=True)
    wanted = pooled(np.max, [windows(*fields) for fields in each])
    for name, fields in (("SAME_UPPER", {"auto_pad": "SAME_UPPER"}), (f"pads {before} and {after}", {"pads": pads})):
        found = run("MaxPool", image, {}, kernel_shape=shape, strides=strides, **fields)
        look(f"MaxPool of {window} by stride 2 over {size}, {name}", found, wanted)
PYTHON
"$folder/env/bin/python" "$folder/look.py" "$folder" | tee "$folder/out"
diff "$folder/out" - <<'SEEN'
aidge 0.10.1 0.10.1 0.10.1
ConvTranspose, pads 0, output_padding 0: right
ConvTranspose, pads 1, output_padding 0: right
ConvTranspose, pads 0, output_padding 1: other values in 58 of 448
ConvTranspose, pads 1, output_padding 1: right
Gemm, beta 1.0: right
Gemm, beta 0.5: right
Gemm, beta 0.0: other values in 15 of 15
MaxPool of 2 by stride 2 over 7, SAME_UPPER: shape (1, 2, 3, 6) for (1, 2, 4, 6)
MaxPool of 2 by stride 2 over 7, pads 0 and 1: right
MaxPool of 3 by stride 2 over 7, SAME_UPPER: shape (1, 2, 3, 6) for (1, 2, 4, 6)
MaxPool of 3 by stride 2 over 7, pads 1 and 1: right
MaxPool of 3 by stride 2 over 6, SAME_UPPER: other values in 16 of 42
MaxPool of 3 by stride 2 over 6, pads 0 and 1: right
SEEN

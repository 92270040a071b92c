#!/usr/bin/env bash
# torch 2.13.0 on a CPU: a quantised PReLU multiplies positive values by its slope too, so that it is no activation any
# more, but a factor. torch.ops.quantized.prelu does so, and with it whatever PyTorch's own static quantisation makes of
# nn.PReLU (convert_fx with the default mapping of fbgemm, and eager mode): a slope of 0.25 leaves a quarter of all that
# a layer found. Nothing is said of it; quantised leaky_relu, and the reference that convert_to_reference_fx makes of
# the same net, are right. Caffe's PReLU, and nn.PReLU, take the slope below 0 alone (prelu_layer.cpp). Nets for faces
# (SphereFace, MTCNN) have one behind each convolution, and `export --format torch` writes them so. A class derived from
# nn.PReLU in its place stays in float and is right; to take it out of the mapping (None) fails between such layers.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cat > "$folder/look.py" <<'PYTHON'
import torch
import torch.ao.nn.quantized as quantized
from torch import nn
from torch.ao import quantization
from torch.ao.quantization import quantize_fx

STEP, ZERO = 4 / 255, 128  # of the bottom and the top: -2 to 2
torch.backends.quantized.engine = "fbgemm"
bottom = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0]).reshape(1, 1, 5, 1)
stored = torch.quantize_per_tensor(bottom, STEP, ZERO, torch.quint8)
slope = torch.quantize_per_tensor(torch.tensor([0.5]), 0.5 / 255, 0, torch.quint8)


def show(name, top):
    top = top.dequantize() if top.is_quantized else top
    print(f"{name}:", *(f"{round(value, 1) + 0.0:g}" for value in top.detach().flatten().tolist()))


class Own(nn.PReLU):
    pass


def net():
    return nn.Sequential(nn.PReLU(init=0.5)).eval()


def between(kind):
    """The activation between two convolutions that give what they get."""
    layers = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), kind(init=0.5), nn.Conv2d(1, 1, 1, bias=False))
    nn.init.ones_(layers[0].weight)
    nn.init.ones_(layers[2].weight)
    return layers.eval()


def by_fx(convert, whole):
    prepared = quantize_fx.prepare_fx(whole, quantization.get_default_qconfig_mapping("fbgemm"), (bottom,))
    prepared(bottom)
    return convert(prepared)(bottom)


def eager():
    wrapped = quantization.QuantWrapper(net()).eval()
    wrapped.qconfig = quantization.get_default_qconfig("fbgemm")
    wrapped.module[0].qconfig = quantization.default_quint8_weight_qconfig
    prepared = quantization.prepare(wrapped)
    prepared(bottom)
    converted = quantization.convert(prepared)
    assert isinstance(converted.module[0], quantized.PReLU)
    return converted(bottom)


print("torch", torch.__version__.split("+")[0])
show("nn.PReLU", net()(bottom))
show("torch.ops.quantized.prelu", torch.ops.quantized.prelu(stored, slope, STEP, ZERO))
show("torch.ops.quantized.leaky_relu", torch.ops.quantized.leaky_relu(stored, 0.5, False, STEP, ZERO))
show("convert_fx", by_fx(quantize_fx.convert_fx, net()))
show("convert_to_reference_fx", by_fx(quantize_fx.convert_to_reference_fx, net()))
show("eager mode", eager())
show("convert_fx, between convolutions", by_fx(quantize_fx.convert_fx, between(nn.PReLU)))
show("convert_fx, a class of nn.PReLU there", by_fx(quantize_fx.convert_fx, between(Own)))
PYTHON
"$folder/env/bin/python" -W ignore "$folder/look.py" 2> /dev/null | tee "$folder/out"
diff "$folder/out" - <<'SEEN'
torch 2.13.0
nn.PReLU: -1 -0.5 0 1 2
torch.ops.quantized.prelu: -1 -0.5 0 0.5 1
torch.ops.quantized.leaky_relu: -1 -0.5 0 1 2
convert_fx: -1 -0.5 0 0.5 1
convert_to_reference_fx: -1 -0.5 0 1 2
eager mode: -1 -0.5 0 0.5 1
convert_fx, between convolutions: -1 -0.5 0 0.5 1
convert_fx, a class of nn.PReLU there: -1 -0.5 0 1 2
SEEN

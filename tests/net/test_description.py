"""What a net is made of, without building it: as Net says, and with its errors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import caffe_compat as cc
from caffe_compat.proto.schema import NetParameter
from caffe_compat.proto.text import parse_text

LAYERS = Path(__file__).parent.parent / "golden" / "layers"
INPUT = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }\n'
CONVOLUTION = """layer { name: "c" type: "Convolution" bottom: "data" top: "c"
  convolution_param { num_output: 4 kernel_size: 3 } }
"""


def described(text: str, **options: object) -> cc.Description:
    return cc.Description(cc.Model(parse_text(text, NetParameter)), **options)  # type: ignore[arg-type]


def test_its_facts_are_those_of_the_net() -> None:
    for path in sorted(LAYERS.glob("*.prototxt"))[::9]:
        model = cc.read_model(path)
        net, description = cc.Net(model), cc.Description(model)
        assert description.layer_facts() == net.layer_facts(), path
        assert repr(description) == repr(net)
        assert description.batch_size == net.batch_size
        assert description._repr_html_() == net._repr_html_()


def test_a_net_of_hundreds_of_gigabytes_is_described() -> None:
    layer = CONVOLUTION.replace("num_output: 4 kernel_size: 3", "num_output: 11000000 kernel_size: 8")
    many = (layer.replace('"c"', f'"c{number}"') for number in range(40))
    facts = described(INPUT + "".join(many)).layer_facts()
    assert sum(each.parameters for each in facts) == 40 * 11_000_000 * (3 * 64 + 1)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (INPUT + CONVOLUTION.replace("kernel_size: 3", "kernel_size: 9"), {}, "layer 'c'"),
        (INPUT + CONVOLUTION.replace("top:", "loss_weight: 1 loss_weight: 2 top:"), {}, "loss_weight is given 2 times"),
        (INPUT + CONVOLUTION.replace("top:", "param { } param { } param { } top:"), {}, "3 param entries for 2 blobs"),
        (INPUT + CONVOLUTION, {"input_shapes": {"dato": (1, 3, 8, 8)}}, "did you mean 'data'"),
    ],
)  # fmt: skip
def test_errors_are_those_of_the_net(text: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(cc.CaffeCompatError, match=message) as found:
        described(text, **options)
    with pytest.raises(type(found.value)) as wanted:
        cc.Net(cc.Model(parse_text(text, NetParameter)), **options)  # type: ignore[arg-type]
    assert str(found.value) == str(wanted.value)


def test_reading_a_net_does_not_load_torchs_compiler() -> None:
    """torch draws normal values on the device meta by its Python references, which load it, for seconds."""
    layers = "".join(
        f'layer {{ name: "{name}" type: "InnerProduct" bottom: "d" top: "{name}" inner_product_param {{ num_output: 2 '
        f'weight_filler {{ type: "{name}" }} }} }} '
        for name in ("gaussian", "msra", "xavier", "uniform", "positive_unitball", "constant")
    )
    text = 'layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 1 dim: 3 } } } ' + layers
    program = (
        "import sys; import caffe_compat as cc; from caffe_compat.net.description import Description; "
        f"print(Description(cc.Model(cc.parse_text({text!r}, cc.NetParameter), {{}}))); "
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300)

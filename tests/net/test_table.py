from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from caffe_compat.net.net import Net
from caffe_compat.proto.model import read_net
from caffe_compat.proto.schema import NetParameter
from caffe_compat.proto.text import parse_text
from tests.conftest import golden


def test_the_table_is_aligned_and_says_all_there_is() -> None:
    net = parse_text(
        """
        layer { name: "data" type: "DummyData" top: "x" top: "y"
                dummy_data_param { shape { dim: 2 dim: 3 } shape { dim: 2 } } }
        layer { name: "fc" type: "InnerProduct" bottom: "x" top: "fc" inner_product_param { num_output: 700 } }
        layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "y" top: "loss" }
        """,
        NetParameter,
    )
    assert str(Net(net, "TEST")).splitlines() == [
        "net (TEST), batch 2, multiply-adds per image",
        "layer  type             tops  shape   parameters  multiply-adds",
        "data   DummyData        x, y  2x3, 2",
        "fc     InnerProduct     fc    2x700        2,800          2,100",
        "loss   SoftmaxWithLoss  loss  ()",
        "total  3 layers                            2,800          2,100",
    ]


def test_the_table_counts_parameters_and_multiply_adds() -> None:
    model = Net(read_net(golden("nets", "lenet.prototxt")), "TRAIN")
    lines = str(model).splitlines()
    assert lines[0] == "lenet (TRAIN), batch 5, multiply-adds per image, 2 Splits not shown"
    assert lines[1].split() == ["layer", "type", "tops", "shape", "parameters", "multiply-adds"]
    rows = {line.split()[0]: line.split()[1:] for line in lines[2:]}
    # 20 filters of 1x5x5 at 24x24 places; 500 x 800 weights
    assert rows["conv1"] == ["Convolution", "conv1", "5x20x24x24", "520", f"{20 * 25 * 24 * 24:,}"]
    assert rows["ip1"] == ["InnerProduct", "ip1", "5x500", "400,500", f"{500 * 800:,}"]
    # 520 + 50*500+50 + 800*500+500 + 500*10+10
    assert rows["total"][-2] == "431,080"
    assert len({len(line) for line in lines[2:] if line.split()[0] in ("conv1", "total")}) == 1


def test_shared_parameters_count_once_in_the_table() -> None:
    model = Net(read_net(golden("nets", "siamese.prototxt")), "TRAIN")
    total = sum(param.tensor.numel() for param in model.learnable_params)
    assert f" {total:,} " in str(model).splitlines()[-1]


def test_the_multiply_adds_of_the_table_are_those_that_pytorch_counts() -> None:
    net = parse_text(
        """
        layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 4 dim: 9 dim: 8 } } }
        layer { name: "c" type: "Convolution" bottom: "x" top: "c"
                convolution_param { num_output: 6 kernel_size: 3 group: 2 pad: 1 stride: 2 } }
        layer { name: "wide" type: "Convolution" bottom: "x" top: "wide"
                convolution_param { num_output: 6 kernel_h: 3 kernel_w: 1 dilation: 2 } }
        layer { name: "up" type: "Deconvolution" bottom: "c" top: "up"
                convolution_param { num_output: 4 kernel_size: 4 group: 2 pad: 1 stride: 2 bias_term: false } }
        layer { name: "f" type: "InnerProduct" bottom: "up" top: "f" inner_product_param { num_output: 5 } }
        """,
        NetParameter,
    )
    model = Net(net, "TEST")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(x=torch.ones(1, 4, 9, 8))
    assert str(model).splitlines()[-1].split()[-1] == f"{counter.get_total_flops() // 2:,}"

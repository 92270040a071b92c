"""The page of a net stands on its own and shows what the net is."""

import re
from xml.etree import ElementTree

import numpy as np

import caffe_compat as cc
from tests.conftest import shared

SVG = "{http://www.w3.org/2000/svg}"
TEXT = """
name: "n <&>"
layer { name: "d" type: "DummyData" top: "data" top: "label"
  dummy_data_param { shape { dim: 2 dim: 3 dim: 9 dim: 9 } shape { dim: 2 } } }
layer { name: "c<script>" type: "Convolution" bottom: "data" top: "c"
  convolution_param { num_output: 8 kernel_h: 3 kernel_w: 1 stride: 2 pad: 1 group: 1 } }
layer { name: "relu" type: "ReLU" bottom: "c" top: "c" }
layer { name: "ip" type: "InnerProduct" bottom: "c" top: "ip" inner_product_param { num_output: 4 } }
layer { name: "acc" type: "Accuracy" bottom: "ip" bottom: "label" top: "acc" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


def page(ranks=None):
    return cc.html_page(cc.Net(cc.parse_text(TEXT, cc.NetParameter)), ranks)


def drawing(text):
    return ElementTree.fromstring(re.search(r"<svg.*</svg>", text, re.DOTALL)[0])


def boxes(text):
    """{name of a box: its texts}."""
    found = {}
    for group in drawing(text).iter(f"{SVG}g"):
        name, *rest = [each.text.replace("\N{MULTIPLICATION SIGN}", "x") for each in group.iter(f"{SVG}text")]
        found[name] = rest
    return found


def test_nothing_comes_from_outside():
    text = page().replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r"https?:|//\w|\bsrc=|<link|<script|@import|url\(", text)


def test_every_layer_has_a_box_or_stands_in_one():
    found = boxes(page())
    assert list(found) == ["d", "c<script>", "ip", "acc", "loss"]
    assert found["c<script>"][-1] == "ReLU"
    assert found["ip"][:2] == ["InnerProduct", "2x4"]
    assert "with label" in found["loss"]


def test_costs_and_settings_are_those_of_the_net():
    found = boxes(page())["c<script>"]
    assert found[0] == "Convolution 3x1 /2 +1" and found[1] == "2x8x5x6"
    assert found[2] == f"{8 * 9 + 8} param. · {8 * 9 * 5 * 6 / 1000:.3g} k mult-adds"


def test_every_flow_has_a_line_except_those_of_labels():
    assert sum(each.get("class") == "flow" for each in drawing(page()).iter(f"{SVG}path")) == 4


def test_ranks_stand_beside_the_largest_possible():
    text = page({"c<script>": 3})
    assert "rank 3 of 8" in boxes(text)["c<script>"] and "3 of 8</td>" in text
    assert "ranks keep" in text and "ranks keep" not in page()


def test_names_are_escaped():
    assert "<script>" not in page() and "c&lt;script&gt;" in page()


def test_the_totals_are_those_of_the_table():
    net = cc.Net(cc.parse_text(TEXT, cc.NetParameter))
    parameters, multiply_adds = str(net).splitlines()[-1].split()[-2:]
    assert f"<b>{parameters}</b> parameters" in page() and f"<b>{multiply_adds}</b> multiply-adds" in page()


def test_boxes_lead_to_rows_and_the_contents_to_both_parts():
    links = set(re.findall(r'href="#([\w-]+)"', page()))
    anchors = set(re.findall(r'id="([\w-]+)"', page()))
    assert links == {"drawing", "layers", *(f"layer-{i}" for i in range(5))} and links <= anchors
    row = re.search(r'<tr id="layer-2">.*?</tr>', page())[0]
    assert "<td>ip</td>" in row


def test_the_trunk_is_where_boxes_stand_alone():
    conv = 'layer {{ name: "{0}" type: "Convolution" bottom: "x" top: "{0}" '
    conv += "convolution_param {{ num_output: 1 kernel_size: 1 }} }}"
    text = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 1 dim: 3 dim: 3 } } }'
    text += "".join(conv.format(f"c{i}") for i in range(5))
    bottoms = " ".join(f'bottom: "c{i}"' for i in range(5))
    text += f'layer {{ name: "j" type: "Concat" {bottoms} top: "j" }}'
    html = cc.html_page(cc.Net(cc.parse_text(text, cc.NetParameter)))
    groups = [group for group in drawing(html).iter(f"{SVG}g") if group.find(f"{SVG}text").text == "x"]
    box = groups[0].find(f"{SVG}rect")
    middle = float(box.get("x")) + float(box.get("width")) / 2
    assert abs(float(re.search(r'class="trunk" style="left: (\d+)px"', html)[1]) - middle) < 2


def test_googlenet_is_drawn_in_four_columns():
    net = cc.Net(cc.read_model(shared("models", "googlenet", "deploy.prototxt")))
    svg = drawing(cc.html_page(net))
    assert float(svg.get("width")) < 1300
    assert len(list(svg.iter(f"{SVG}g"))) == 143 - 57 - 1  # ReLUs and the Dropout work in place
    assert np.isfinite([float(each.get("x")) for each in svg.iter(f"{SVG}text")]).all()


def test_names_that_a_terminal_or_a_reader_would_obey_are_spelled():
    text = TEXT.replace("c<script>", "c\\033[2J\u202e")
    shown = cc.html_page(cc.Net(cc.parse_text(text, cc.NetParameter)))
    assert "\033" not in shown and "\u202e" not in shown
    assert "c\\u001b[2J\\u202e" in shown

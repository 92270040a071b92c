"""Small models that are exported: one layer, a detector; their weights are drawn from a seed."""

import numpy as np

import caffe_compat as cc


def one_layer(layer, *inputs):
    """A model of Inputs "a", "b", ... of these shapes, and of `layer`, whose weights are uniform in [0.2, 1.2]."""
    text = "".join(
        f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {dims(shape)} }} }} }}\n'
        for name, shape in zip("abcd", inputs, strict=False)
    )
    net = cc.parse_text(text + layer, cc.NetParameter)
    random = np.random.RandomState(1)
    shapes = {name: [blob.shape for blob in blobs] for name, blobs in cc.Net(net).params.items()}
    drawn = {name: [random.uniform(0.2, 1.2, each).astype(np.float32) for each in its] for name, its in shapes.items()}
    return cc.Model(net, {name: tuple(blobs) for name, blobs in drawn.items()})


def dims(shape):
    return " ".join(f"dim: {size}" for size in shape)


def largest_error(model, folder, inputs=None, **options):
    """Of any output of the written file, over the largest value of that output."""
    cc.write_onnx(model, folder / "net.onnx", **options)
    return max(cc.check_onnx(folder / "net.onnx", model, inputs).values())


HEAD = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 dim: 9 dim: 12 } } }
layer { name: "loc" type: "Convolution" bottom: "x" top: "loc" convolution_param { num_output: %d kernel_size: 1 } }
layer { name: "loc_p" type: "Permute" bottom: "loc" top: "loc_p" permute_param { order: 0 order: 2 order: 3 order: 1 } }
layer { name: "loc_f" type: "Flatten" bottom: "loc_p" top: "loc_f" }
layer { name: "conf" type: "Convolution" bottom: "x" top: "conf" convolution_param { num_output: 6 kernel_size: 1 } }
layer { name: "cp" type: "Permute" bottom: "conf" top: "cp" permute_param { order: 0 order: 2 order: 3 order: 1 } }
layer { name: "cr" type: "Reshape" bottom: "cp" top: "cr" reshape_param { shape { dim: 0 dim: -1 dim: 3 } } }
layer { name: "cs" type: "Softmax" bottom: "cr" top: "cs" softmax_param { axis: 2 } }
layer { name: "cf" type: "Flatten" bottom: "cs" top: "cf" }
layer { name: "prior" type: "PriorBox" bottom: "x" bottom: "x" top: "prior"
  prior_box_param { min_size: 2 max_size: 5 variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2 } }
layer { name: "det" type: "DetectionOutput" bottom: "loc_f" bottom: "cf" bottom: "prior" top: "det"
  detection_output_param { num_classes: 3 nms_param { nms_threshold: 0.45 %s } %s } }
"""


def detector(channels=8, suppression="top_k: 40", settings="code_type: CENTER_SIZE keep_top_k: 12"):
    """SSD's head on a map of 9 x 12, two priors a place and three classes, with drawn weights."""
    net = cc.parse_text(HEAD % (channels, suppression, settings), cc.NetParameter)
    random = np.random.RandomState(0)
    weights = {
        layer: (random.normal(0, 0.6, (count, 3, 1, 1)).astype(np.float32), np.zeros(count, np.float32))
        for layer, count in (("loc", channels), ("conf", 6))
    }
    return cc.Model(net, weights)

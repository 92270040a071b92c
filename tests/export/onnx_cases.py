"""One layer as ONNX beside the layer itself, with weights drawn from a seed."""

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

"""Prototxts of the authors' small nets, from the names and shapes of their parameters."""

import re


def convolution(name, bottom, shape, group=1, bias=False, extra="", stride=1, top=None):
    """One Convolution that keeps the size of an odd kernel; its top has its name."""
    pad = f"pad_h: {shape[2] // 2} pad_w: {shape[3] // 2}"
    kernel = f"kernel_h: {shape[2]} kernel_w: {shape[3]} stride: {stride}"
    return (
        f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{top or name}" {extra} '
        f"convolution_param {{ num_output: {shape[0]} {kernel} {pad} group: {group} "
        f"bias_term: {'true' if bias else 'false'} }} }}"
    )


def data(channels, size=4, name="data"):
    dims = f"dim: 1 dim: {channels} dim: {size} dim: {size}"
    return f'layer {{ name: "{name}" type: "DummyData" top: "{name}" dummy_data_param {{ shape {{ {dims} }} }} }}'


def sum_of(bottom):
    return f'layer {{ name: "loss" type: "Reduction" bottom: "{bottom}" top: "loss" loss_weight: 1 }}'


def chain(shapes, extra=""):
    """Convolutions one after another; parameters named `x.weight` and `x.bias`. A weight with 1 input is depthwise."""
    layers, bottom, width = [], "data", 0
    for name in [name for name in shapes if name.endswith(".weight")]:
        shape, layer = shapes[name], name.removesuffix(".weight")
        group = shape[0] if shape[1] == 1 and width > 1 else 1
        if not layers:
            layers.append(data(shape[1]))
        layers.append(convolution(layer, bottom, shape, group, f"{layer}.bias" in shapes, extra))
        bottom, width = layer, shape[0]
    return "\n".join([*layers, sum_of(bottom)]), list(shapes)


def residual(shapes, extra=""):
    """Basic blocks as in the authors' ResNets: conv1, conv2 of `layerS.B`, its shortcut or none."""
    stem, *_ = [name for name in shapes if not name.startswith("layer")]
    layers = [data(shapes[stem][1]), convolution(stem, "data", shapes[stem], extra=extra)]
    bottom = stem
    for block in dict.fromkeys(re.match(r"layer\d+\.\d+", name)[0] for name in shapes if name.startswith("layer")):
        inside = {name.removeprefix(f"{block}."): name for name in shapes if name.startswith(f"{block}.")}
        first, second = inside.pop("conv1.weight"), inside.pop("conv2.weight")
        layers.append(convolution(first, bottom, shapes[first], extra=extra))
        layers.append(convolution(second, first, shapes[second], extra=extra))
        shortcut = bottom
        for name in inside.values():
            layers.append(convolution(name, bottom, shapes[name], extra=extra))
            shortcut = name
        layers.append(
            f'layer {{ name: "{block}" type: "Eltwise" bottom: "{second}" bottom: "{shortcut}" top: "{block}" }}'
        )
        bottom = block
    return "\n".join([*layers, sum_of(bottom)]), list(shapes)

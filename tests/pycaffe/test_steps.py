"""What backward reads: the arrays as they then are, also where a script or a layer in place has written into them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import caffe_compat.pycaffe as caffe
from caffe_compat.layers.python_modules import module_place
from tests.pycaffe.nets import DATA, inner, layer, net, wave

DOUBLE = layer("p", "Power", "t", "o", "power_param { scale: 2 }")
X, G = 2 * wave(2, 3), wave(2, 3, k=4)


def _backward(text: str, looked_at_before: bool) -> caffe.Net:
    """The net after a pass each way, with G as the diff of its output `o`."""
    built = net(DATA + text)
    if looked_at_before:
        assert all(blob.data is not blob.diff for blob in built.blobs.values())
    built.forward(data=X)
    built.blobs["o"].diff[...] = G
    built.backward()
    return built


IN_PLACE = {  # what Caffe's formulas give where the layer in place has overwritten what the formula reads
    "TanH, then ReLU": (
        layer("a", "TanH", "data", "t") + layer("b", "ReLU", "t", "t"),
        2 * G * (X > 0) * (1 - np.maximum(np.tanh(X), 0) ** 2),
    ),
    "Log": (
        layer("a", "Power", "data", "t", "power_param { shift: 5 }") + layer("b", "Log", "t", "t"),
        1 / np.log(X + 5) ** 2 + 0 * G,  # the slope lies over the gradient that it is then multiplied by
    ),
    "Clip": (
        layer("a", "Power", "data", "t") + layer("b", "Clip", "t", "t", "clip_param { min: -1 max: 1 }"),
        2 * G,
    ),
    "ReLU": (layer("a", "Power", "data", "t") + layer("b", "ReLU", "t", "t"), 2 * G * (X > 0)),
    "PReLU": (layer("a", "Power", "data", "t") + layer("b", "PReLU", "t", "t"), 2 * G * np.where(X > 0, 1, 0.25)),
}


@pytest.mark.parametrize("looked_at_before", [False, True])
@pytest.mark.parametrize("name", IN_PLACE)
def test_layers_in_place_have_caffes_gradients(name: str, looked_at_before: bool) -> None:
    text, wanted = IN_PLACE[name]
    built = net(DATA + text + DOUBLE)
    for blob in built.params.get("b", []):
        blob.data[...] = 0.25
    if looked_at_before:
        assert all(blob.data.shape == blob.diff.shape for blob in built.blobs.values())
    built.forward(data=X)
    built.blobs["o"].diff[...] = G
    built.backward()
    np.testing.assert_allclose(built.blobs["data"].diff, wanted, rtol=1e-5, atol=1e-6)


TWO_LAYERS = DATA + inner("ip", "data", "ip", 4) + layer("relu", "ReLU", "ip", "ip") + inner("ip2", "ip", "ip2", 2)


@pytest.mark.parametrize("looked_at_before", [False, True])
def test_what_a_script_writes_between_forward_and_backward_is_read(looked_at_before: bool) -> None:
    built = net(TWO_LAYERS)
    if looked_at_before:
        assert built.blobs["ip"].data.shape == (2, 4)
    built.forward(data=wave(2, 3))
    hidden = wave(2, 4, k=5)
    built.blobs["ip"].data[...] = hidden
    built.blobs["ip2"].diff[...] = 1
    built.backward()
    ones = np.ones((2, 2))
    np.testing.assert_allclose(built.params["ip2"][0].diff, ones.T @ hidden, rtol=1e-5)
    below = ones @ built.params["ip2"][0].data * (hidden > 0)
    np.testing.assert_allclose(built.params["ip"][1].diff, below.sum(0), rtol=1e-5)


def test_inputs_and_weights_written_before_backward_are_read() -> None:
    built = net(TWO_LAYERS)
    built.forward(data=wave(2, 3))
    built.blobs["ip2"].diff[...] = 1
    below = np.ones((2, 2)) @ built.params["ip2"][0].data * (built.blobs["ip"].data > 0)
    built.blobs["data"].data[...] = wave(2, 3, k=9)
    built.params["ip"][0].data[...] = 2
    built.backward()
    np.testing.assert_allclose(built.params["ip"][0].diff, below.T @ wave(2, 3, k=9), rtol=1e-5)
    np.testing.assert_allclose(built.blobs["data"].diff, below @ np.full((4, 3), 2.0), rtol=1e-5)


def test_a_convolutions_weights_and_bottom_written_before_backward_are_read() -> None:
    text = (
        DATA.replace("dim: 2 dim: 3", "dim: 2 dim: 2 dim: 5 dim: 4")
        + layer("conv", "Convolution", "data", "conv", "convolution_param { num_output: 3 kernel_size: 3 }")
        + layer("pool", "Pooling", "conv", "pool", "pooling_param { pool: AVE kernel_size: 2 }")
    )
    built = net(text)
    x = wave(2, 2, 5, 4)
    built.forward(data=x)
    built.blobs["pool"].diff[...] = wave(2, 3, 2, 1)
    built.backward()
    once = built.params["conv"][0].diff.copy()
    built.clear_param_diffs()
    built.blobs["data"].data[...] *= 3
    built.params["conv"][0].data[...] *= 2
    below = built.blobs["data"].diff.copy()
    built.backward()
    np.testing.assert_allclose(built.params["conv"][0].diff, 3 * once, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(built.blobs["data"].diff, 2 * below, rtol=1e-4, atol=1e-5)


def test_a_sigmoid_whose_top_was_written_follows_it() -> None:
    built = net(DATA + layer("s", "Sigmoid", "data", "s"))
    built.forward(data=X)
    top = np.linspace(0.1, 0.9, 6, dtype=np.float32).reshape(2, 3)
    built.blobs["s"].data[...] = top
    built.blobs["s"].diff[...] = 1
    built.backward()
    np.testing.assert_allclose(built.blobs["data"].diff, top * (1 - top), rtol=1e-5)


def test_a_layer_that_reads_a_blob_which_another_overwrote_in_place_reads_the_new_values() -> None:
    """A ReLU in place on one top of a Split writes into the memory of all of them (check names such nets)."""
    text = layer("a", "Power", "data", "t") + layer("s", "Sigmoid", "t", "u") + layer("e", "Eltwise", "t u", "o")
    built = _backward(text, looked_at_before=False)
    sigmoid = 1 / (1 + np.exp(-X))
    np.testing.assert_allclose(built.blobs["data"].diff, G * (1 + sigmoid * (1 - sigmoid)), rtol=1e-5)
    assert np.shares_memory(built.blobs["t"].data, built.blobs["t_a_0_split_1"].data)
    assert not np.shares_memory(built.blobs["t"].diff, built.blobs["t_a_0_split_1"].diff)


def test_flatten_takes_data_in_forward_and_gives_its_diff_in_backward() -> None:
    built = net(DATA.replace("dim: 2 dim: 3", "dim: 2 dim: 3 dim: 1 dim: 2") + layer("f", "Flatten", "data", "f"))
    assert not np.shares_memory(*_parts(built, "data"))
    built.forward(data=wave(2, 3, 1, 2))
    assert np.shares_memory(*_parts(built, "data"))
    assert not np.shares_memory(*_parts(built, "diff"))
    built.backward()
    assert np.shares_memory(*_parts(built, "diff"))


def _parts(built: Any, part: str) -> tuple[np.ndarray, np.ndarray]:
    return getattr(built.blobs["data"], part), getattr(built.blobs["f"], part)


def test_a_net_without_anything_to_learn_keeps_no_graph_and_gives_no_gradients() -> None:
    built = net(DATA + layer("s", "Sigmoid", "data", "s"), forced=False)
    built.forward(data=X)
    assert not built.backward(s=G)["data"].any()


def test_numbers_are_those_of_the_torch_module_to_the_bit() -> None:
    import torch

    import caffe_compat as cc

    text = (
        DATA.replace("dim: 2 dim: 3", "dim: 2 dim: 3 dim: 9 dim: 7")
        + layer("c", "Convolution", "data", "c", "convolution_param { num_output: 4 kernel_size: 3 pad: 1 }")
        + layer("r", "ReLU", "c", "c")
        + layer("n", "LRN", "c", "n", "lrn_param { local_size: 3 alpha: 0.1 }")
        + layer("p", "Pooling", "n", "p", "pooling_param { kernel_size: 3 stride: 2 }")
        + inner("ip", "p", "ip", 5)
    )
    built = net(text)
    module = cc.Net(cc.read_net("net.prototxt"), phase="TRAIN")
    module.load_weights({name: [blob.data for blob in blobs] for name, blobs in built.params.items()})
    x = wave(2, 3, 9, 7)
    given = torch.from_numpy(x.copy()).requires_grad_()
    wanted = module(data=given)["ip"]
    wanted.backward(torch.from_numpy(wave(2, 5, k=1)))
    assert np.array_equal(built.forward(data=x)["ip"], wanted.detach().numpy())
    assert np.allclose(built.backward(ip=wave(2, 5, k=1))["data"], given.grad, rtol=1e-6, atol=1e-7)


def test_a_python_layer_finds_its_words_by_their_old_name_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere" / "package_of_words"
    folder.mkdir(parents=True)
    monkeypatch.syspath_prepend(str(folder.parent))
    (folder / "__init__.py").touch()
    (folder / "words.py").write_text(
        "import caffe\n"
        "class Words(caffe.Layer):\n"
        "    def setup(self, bottom, top): self.said = self.param_str_\n"
        "    def reshape(self, bottom, top): top[0].reshape(1)\n"
    )
    field = 'python_param { module: "package_of_words.words" layer: "Words" param_str: "16" }'
    assert net(DATA + layer("w", "Python", "data", "w", field)).layers[1].said == "16"
    assert module_place("package_of_words.words", None) == str(folder / "words.py")

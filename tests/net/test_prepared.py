"""A prepared net gives what the net gives, in fewer operations."""

import copy
import logging
import pickle
import sys

import h5py
import numpy as np
import pytest
import torch

import caffe_compat as cc
from caffe_compat.errors import GraphError, ShapeError
from caffe_compat.layers.packed import PackedConvolution
from caffe_compat.net.followed import Followed
from caffe_compat.net.net import Net
from caffe_compat.proto.schema import NetParameter
from caffe_compat.proto.text import parse_text
from tests.conftest import golden

DATA = 'layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ {0} }} }} }}'
CONV = 'layer {{ name: "{0}" type: "Convolution" bottom: "{1}" top: "{0}" convolution_param {{ {2} }} }}'
NORM = """
layer { name: "bn" type: "BatchNorm" bottom: "c" top: "bn" }
layer { name: "scale" type: "Scale" bottom: "bn" top: "scale" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "scale" top: "scale" relu_param { negative_slope: SLOPE } }
"""


def filled(text: str, **options) -> Net:
    """The net with values from -1 to 1 in its blobs, variances and factors above 0."""
    net = Net(parse_text(text, NetParameter), **options)
    random = np.random.default_rng(0)
    with torch.no_grad():
        for layer in net.layers.values():
            for index, blob in enumerate(layer.blobs):
                values = random.uniform(-1, 1, blob.shape)
                blob.copy_(torch.from_numpy(abs(values) + 0.5 if layer.param.type == "BatchNorm" and index else values))
    return net


def image(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).uniform(-1, 1, shape).astype(np.float32))


def operations(prepared) -> list[str]:
    """The classes of the modules of its only program, but for those that hand inputs on."""
    (program,) = prepared._programs.values()
    return [name for name in _calls(program) if name != "Input"]


def _calls(program) -> list[str]:
    modules = [program.get_submodule(node.target) for node in program.graph.nodes if node.op == "call_module"]
    lists = [_calls(each.plain) if isinstance(each, Followed) else [type(each).__name__] for each in modules]
    return [name for names in lists for name in names]


def assert_equal(net: Net, prepared, data: torch.Tensor) -> None:
    for _ in range(2):  # the first pass gives the plain net's own values
        found = prepared(data)
    with torch.no_grad():
        wanted = net(data)
    assert list(found) == list(wanted)
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=0, atol=1e-5 * float(value.abs().max()), err_msg=name)
        assert float(value.abs().max()) > 0


@pytest.mark.parametrize("slope", [0, 0.1])
@pytest.mark.parametrize("size", [5, 40])  # below and above the work for which oneDNN is called with packed weights
@pytest.mark.parametrize(
    "fields",
    [
        "num_output: 8 kernel_size: 3 pad: 1",
        "num_output: 8 kernel_size: 3 stride: 2 bias_term: false",
        "num_output: 8 kernel_h: 1 kernel_w: 5 pad_h: 0 pad_w: 2 group: 2",
        "num_output: 8 kernel_size: 3 dilation: 2 group: 8",
    ],
)
def test_what_follows_a_convolution_goes_into_it(fields, size, slope):
    norm = NORM.replace("SLOPE", str(slope))
    net = filled(DATA.format(f"dim: 2 dim: 8 dim: {size} dim: {size}") + CONV.format("c", "data", fields) + norm)
    prepared = net.prepare()
    assert_equal(net, prepared, image(2, 8, size, size))
    assert operations(prepared) == ["PackedConvolution"]
    assert_equal(net, prepared, image(1, 8, size + 3, size))  # and of another size


@pytest.mark.parametrize("size", [4, 40])
@pytest.mark.parametrize("relu", ["", 'layer { name: "r" type: "ReLU" bottom: "sum" top: "sum" }'])
def test_a_sum_goes_into_the_later_of_its_convolutions(relu, size):
    both = CONV.format("a", "data", "num_output: 16 kernel_size: 1") + CONV.format(
        "b", "a", "num_output: 16 kernel_size: 3 pad: 1"
    )
    total = 'layer { name: "sum" type: "Eltwise" bottom: "a" bottom: "b" top: "sum" }'
    net = filled(DATA.format(f"dim: 1 dim: 8 dim: {size} dim: {size}") + both + total + relu)
    prepared = net.prepare()
    assert_equal(net, prepared, image(1, 8, size, size))
    assert operations(prepared) == ["PackedConvolution", "PackedConvolution"]


@pytest.mark.parametrize("kernels", ["on", "off"])
def test_a_convolution_to_which_something_is_added_gets_no_channels_more(kernels, monkeypatch):
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "AVX512")
    monkeypatch.setenv("CAFFE_COMPAT_KERNELS", kernels)
    text = CONV.format("a", "data", "num_output: 70 kernel_size: 3 pad: 1")
    text += 'layer { name: "sum" type: "Eltwise" bottom: "data" bottom: "a" top: "sum" }'
    net = filled(
        DATA.format("dim: 1 dim: 70 dim: 9 dim: 9") + text + CONV.format("b", "sum", "num_output: 6 kernel_size: 1")
    )
    assert_equal(net, net.prepare(), image(1, 70, 9, 9))


@pytest.mark.parametrize("relu", ["", 'layer { name: "r" type: "ReLU" bottom: "a" top: "a" }'])
@pytest.mark.parametrize(("group", "then"), [(1, 1), (2, 2), (2, 1)])
@pytest.mark.parametrize("size", [6, 40])
def test_a_low_rank_in_between_is_made_as_wide_as_is_computed_at_once(size, group, then, relu, monkeypatch):
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "AVX512")
    monkeypatch.setenv("CAFFE_COMPAT_KERNELS", "off")
    pair = CONV.format("a", "data", f"num_output: 22 kernel_size: 3 group: {group}") + relu
    pair += CONV.format("b", "a", f"num_output: 6 kernel_size: 1 group: {then}")
    net = filled(DATA.format(f"dim: 2 dim: 128 dim: {size} dim: {size}") + pair)
    prepared = net.prepare()
    assert_equal(net, prepared, image(2, 128, size, size))
    (program,) = prepared._programs.values()
    found = {name: module for name, module in program.named_modules() if isinstance(module, PackedConvolution)}
    assert found["a"].spare == -(22 // group) % 16 and found["b"].spare == 0
    narrow = net.prepare(["a", "b"])  # what is asked for stays as it is
    assert [tuple(value.shape)[1] for _ in range(2) for value in narrow(image(2, 128, size, size)).values()] == [
        22,
        6,
    ] * 2


@pytest.mark.parametrize(
    ("fields", "tail"),
    [
        ("operation: PROD", ""),
        ("coeff: 1 coeff: -1", ""),
        ("", 'layer { name: "p" type: "Power" bottom: "b" top: "p" power_param { scale: 2 } }'),  # read by another
    ],
)
def test_other_sums_stay(fields, tail):
    both = CONV.format("a", "data", "num_output: 8 kernel_size: 1") + CONV.format(
        "b", "data", "num_output: 8 kernel_size: 1"
    )
    total = f'layer {{ name: "s" type: "Eltwise" bottom: "a" bottom: "b" top: "s" eltwise_param {{ {fields} }} }}'
    net = filled(DATA.format("dim: 1 dim: 4 dim: 6 dim: 6") + both + total + tail)
    prepared = net.prepare()
    assert_equal(net, prepared, image(1, 4, 6, 6))
    assert "Eltwise" in operations(prepared)


@pytest.mark.parametrize("transpose", ["", "transpose: true"])
def test_inner_products_take_their_scale_and_relu(transpose):
    text = f"""
    layer {{ name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
             inner_product_param {{ num_output: 7 {transpose} }} }}
    layer {{ name: "scale" type: "Scale" bottom: "ip" top: "ip" }}
    layer {{ name: "drop" type: "Dropout" bottom: "ip" top: "ip" }}
    layer {{ name: "relu" type: "ReLU" bottom: "ip" top: "ip" }}"""
    net = filled(DATA.format("dim: 3 dim: 2 dim: 4 dim: 5") + text)
    prepared = net.prepare()
    assert_equal(net, prepared, image(3, 2, 4, 5))
    assert operations(prepared) == ["PackedInnerProduct"]


def test_blobs_in_between_are_had_by_name():
    text = DATA.format("dim: 2 dim: 8 dim: 9 dim: 9") + CONV.format("c", "data", "num_output: 4 kernel_size: 3")
    net = filled(text + NORM.replace("SLOPE", "0"))
    found = net.prepare(["c", "scale", "data"])
    for _ in range(2):
        blobs = found(image(2, 8, 9, 9))
    with torch.no_grad():
        wanted = net.blobs(image(2, 8, 9, 9))
    assert list(blobs) == ["c", "scale", "data"]
    for name, value in blobs.items():
        np.testing.assert_allclose(value, wanted[name], rtol=0, atol=1e-5 * float(wanted[name].abs().max()))


def test_changed_weights_are_seen():
    net = filled(
        DATA.format("dim: 1 dim: 8 dim: 30 dim: 30") + CONV.format("c", "data", "num_output: 8 kernel_size: 3")
    )
    prepared, data = net.prepare(), image(1, 8, 30, 30)
    before = [prepared(data)["c"] for _ in range(2)][1]
    with torch.no_grad():
        net.params["c"][0].mul_(2)
        net.params["c"][1].mul_(2)
    torch.testing.assert_close(prepared(data)["c"], 2 * before, rtol=0, atol=1e-5 * float(2 * before.abs().max()))


SMALL = DATA.format("dim: 1 dim: 8 dim: 9 dim: 9") + CONV.format("c", "data", "num_output: 8 kernel_size: 3")


@pytest.mark.parametrize("change", ["shared with another net", "put in their place", "assigned"])
def test_other_weights_are_seen_that_were_written_on_as_often(change):
    net, other = filled(SMALL), filled(SMALL)
    for blob in other.layers["c"].blobs:
        blob.data *= 2  # not counted
    prepared, data = net.prepare(), image(1, 8, 9, 9)
    prepared(data)
    if change == "shared with another net":
        net.share_weights_with(other)
    elif change == "assigned":
        net.load_state_dict(other.state_dict(), assign=True)
    else:
        for index, blob in enumerate(other.layers["c"].blobs):
            net.layers["c"].blobs[index] = blob
    assert_equal(net, prepared, data)
    torch.testing.assert_close(prepared(data)["c"], other(data)["c"].detach())


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda prepared: pickle.loads(pickle.dumps(prepared))])
def test_a_copy_goes_with_the_copy_of_its_net(copied):
    net, data = filled(SMALL), image(1, 8, 9, 9)
    prepared = net.prepare()
    before = [prepared(data)["c"] for _ in range(2)][1]
    twin = copied(prepared)
    with torch.no_grad():
        for blob in twin.net.layers["c"].blobs:
            blob.mul_(2)
    assert_equal(twin.net, twin, data)
    torch.testing.assert_close(twin(data)["c"], 2 * before)
    assert torch.equal(prepared(data)["c"], before)


def test_a_net_made_in_inference_mode_is_prepared_too():
    with torch.inference_mode():
        net, data = filled(SMALL), image(1, 8, 9, 9)
        assert_equal(net, net.prepare(), data)


@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16])
def test_nets_of_another_precision_are_prepared_too_and_packed_anew_where_it_changes(kind, caplog):
    text = DATA.format("dim: 1 dim: 8 dim: 30 dim: 30") + CONV.format("c", "data", "num_output: 8 kernel_size: 3")
    net = filled(text + NORM.replace("SLOPE", "0"))
    prepared, data = net.prepare(), image(1, 8, 30, 30)
    before = [prepared(data)["scale"] for _ in range(2)][1]
    net.to(kind)
    for _ in range(2):
        found = prepared(data)["scale"]
    assert found.dtype == kind
    slack = {torch.float64: 1e-5, torch.bfloat16: 2**-6}[kind]  # bfloat16 has 8 bits, and five layers round to it
    torch.testing.assert_close(found.float(), before, rtol=0, atol=slack * float(before.abs().max()))
    assert ("runs as it is" in caplog.text) == (kind is torch.bfloat16)  # folded, it rounds fewer times than the net


def test_what_is_packed_anew_is_verified_anew(monkeypatch, caplog):
    net = filled(DATA.format("dim: 1 dim: 8 dim: 9 dim: 9") + CONV.format("c", "data", "num_output: 8 kernel_size: 3"))
    prepared, data = net.prepare(), image(1, 8, 9, 9)
    prepared(data)
    honest = PackedConvolution.forward
    monkeypatch.setattr(PackedConvolution, "forward", lambda self, bottom: honest(self, bottom) * 1.0001)
    with torch.no_grad():
        net.params["c"][0].mul_(2)
        assert all(torch.equal(prepared(data)["c"], net(data)["c"]) for _ in range(2))
    assert "runs as it is" in caplog.text


def test_the_first_pass_finds_a_difference_and_keeps_the_net_as_it_is(monkeypatch, caplog):
    net = filled(DATA.format("dim: 1 dim: 8 dim: 9 dim: 9") + CONV.format("c", "data", "num_output: 8 kernel_size: 3"))
    honest = PackedConvolution.forward
    monkeypatch.setattr(PackedConvolution, "forward", lambda self, bottom: honest(self, bottom) * 1.0001)
    prepared, data = net.prepare(), image(1, 8, 9, 9)
    with caplog.at_level(logging.WARNING):
        found = [prepared(data)["c"] for _ in range(2)]
    assert "runs as it is: prepared, its blob 'c' differs by more than 1e-05" in caplog.text
    with torch.no_grad():
        assert all(torch.equal(value, net(data)["c"]) for value in found)


def test_bad_requests_are_refused():
    text = DATA.format("dim: 1 dim: 8 dim: 9 dim: 9") + CONV.format("conv", "data", "num_output: 8 kernel_size: 3")
    with pytest.raises(GraphError, match="built for TRAIN; only a net of phase TEST"):
        filled(text, phase="TRAIN").prepare()
    net = filled(text)
    with pytest.raises(GraphError, match="no blob 'con'; did you mean 'conv'"):
        net.prepare(["con"])
    with pytest.raises(ShapeError, match="layer 'conv'"):
        net.prepare()(image(1, 7, 9, 9))
    with pytest.raises(GraphError, match="no input 'dat'"):
        net.prepare()(dat=image(1, 8, 9, 9))


def test_two_bottoms_of_one_bank_and_layers_over_other_axes_stay_right():
    text = """
    layer { name: "c" type: "Convolution" bottom: "data" bottom: "data" top: "c" top: "d"
            convolution_param { num_output: 8 kernel_size: 3 } }
    layer { name: "s" type: "Scale" bottom: "d" top: "s" scale_param { axis: 2 num_axes: 1 } }"""
    net = filled(DATA.format("dim: 1 dim: 8 dim: 9 dim: 9") + text)
    prepared = net.prepare()
    assert_equal(net, prepared, image(1, 8, 9, 9))
    assert "PackedConvolution" not in operations(prepared)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["googlenet_deploy", "mobilenet_v1_like", "resnet20_cifar_deploy", "squeezenet_v1_1"])
def test_real_nets_stay_within_the_tolerance(name, caplog):
    net = cc.Net(golden("nets", f"{name}.prototxt"))
    random = np.random.default_rng(2)
    with torch.no_grad():
        for layer in net.layers.values():
            for blob in layer.blobs:
                fan = max(1, blob[0].numel()) if blob.dim() > 1 else 1
                values = (
                    random.normal(0, (2 / fan) ** 0.5, blob.shape)
                    if blob.dim() > 1
                    else random.uniform(0.5, 1, blob.shape)
                )
                blob.copy_(torch.from_numpy(values))
    before = net.graph.nodes[-1].bottoms[0].name
    prepared = net.prepare([before])
    data = torch.from_numpy(random.normal(size=net.shapes["data"]).astype(np.float32))
    found = [prepared(data)[before] for _ in range(2)][1]
    wanted = net.blobs(data)[before].detach()
    assert float(wanted.std()) > 0
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * float(wanted.abs().max()))
    assert "runs as it is" not in caplog.text


COUNTED = 'layer { name: "n" type: "Python" bottom: "c" top: "n" python_param { module: "counts" layer: "Counts" } }'
COUNTS = """import caffe
class Counts(caffe.Layer):
    calls = 0
    def setup(self, bottom, top): pass
    def reshape(self, bottom, top): top[0].reshape(1)
    def forward(self, bottom, top):
        Counts.calls += 1
        top[0].data[...] = Counts.calls
"""


@pytest.mark.parametrize("names", [None, ("n",)])
def test_what_a_layer_does_beside_computing_is_done_once_a_pass(tmp_path, monkeypatch, names):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "counts.py").write_text(COUNTS)
    written = 'layer { name: "o" type: "HDF5Output" bottom: "c" bottom: "c" hdf5_output_param { file_name: "o.h5" } }'
    conv = DATA.format("dim: 1 dim: 2 dim: 5 dim: 5") + CONV.format("c", "data", "num_output: 3 kernel_size: 3")
    sys.modules.pop("counts", None)
    prepared = filled(conv + written + COUNTED).prepare(names)
    for number in (1, 2, 3):
        assert prepared(data=image(1, 2, 5, 5))["n"].item() == number
        with h5py.File("o.h5") as file:
            assert [len(file[name]) for name in file] == [number] * 2

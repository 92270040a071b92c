"""PyTorch source made of nets gives what Caffe gave, trains, and needs nothing of this package."""

import runpy
import subprocess
import sys

import numpy as np
import pytest
import torch

import caffe_compat as cc
from tests.conftest import golden, shared
from tests.export.onnx.test_model import golden_model
from tests.export.test_exported_program import MODELS
from tests.net.test_golden_nets import _check_samples, _drawn_inputs
from tests.proto.test_hdf5_image import quota

pytest.importorskip("safetensors")
TOLERANCE = 2e-5  # of the largest value, as for the nets themselves
SMALL = ("lenet", "cifar10_quick", "resnet20_cifar_deploy", "fcn_like")
LARGE = ("googlenet_deploy", "mobilenet_v1_like", "squeezenet_v1_1", "alexnet", "vgg16")
GOLDEN = [*SMALL, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)]


def deployed(name):
    """A golden net without labels and losses, its rule, and its inputs as drawn."""
    rule, model = golden_model(name)
    drawn = {blob: np.float32(values) for blob, values in _drawn_inputs(rule).items() if blob == "data"}
    if name in ("lenet", "cifar10_quick", "fcn_like"):
        model = cc.deploy(model, shapes={blob: values.shape for blob, values in drawn.items()})
    return rule, model, drawn


def loaded(folder):
    program = runpy.run_path(str(folder / "model.py"))
    return program["load"](folder / "weights.safetensors").eval(), program["INPUTS"]


@pytest.mark.parametrize("name", GOLDEN)
def test_a_golden_net_gives_caffes_blobs(name, tmp_path):
    rule, model, drawn = deployed(name)
    cc.write_torch_source(model, tmp_path / "net")
    made, inputs = loaded(tmp_path / "net")
    with torch.no_grad():
        found = made.blobs(*(torch.from_numpy(drawn[blob]) for blob in inputs))
    expected = dict(np.load(golden("nets", f"{name}.npz")))
    seen = [blob for blob in rule["records"] if blob in found]
    assert len(seen) > 3
    for blob in seen:
        _check_samples(found[blob], expected, "", blob, TOLERANCE)


@pytest.mark.parametrize("name", GOLDEN)
def test_gradients_are_those_of_the_net(name, tmp_path):
    """In float64: in float32 a value within rounding of a kink of ReLU or MAX takes the one side here, the other there.

    Single values of GoogLeNet's and VGG's lie there, and one moves gradients by 1 %, of ours too against float64.
    """
    _, model, drawn = deployed(name)
    cc.write_torch_source(model, tmp_path / "net", check=False)
    made, inputs = loaded(tmp_path / "net")
    shapes = {blob: each.shape for blob, each in drawn.items()}
    net, made = cc.Net(model, "TEST", input_shapes=shapes).eval().double(), made.double()
    given = {blob: torch.from_numpy(drawn[blob]).double() for blob in inputs}
    values = net(**given)
    generator = torch.Generator().manual_seed(1)
    directions = {blob: torch.randn(value.shape, generator=generator).double() for blob, value in values.items()}
    sum((values[blob] * directions[blob]).sum() for blob in values).backward()
    found = made.blobs(*given.values())
    sum((found[blob] * directions[blob]).sum() for blob in values).backward()
    modules = {name: each for name, each in made.named_modules() if isinstance(each, torch.nn.Conv2d | torch.nn.Linear)}
    compared = 0
    for layer, blobs in net.params.items():
        module = modules.get(layer.replace("/", "_"))
        if module is not None and blobs[0].grad is not None:
            largest = float(blobs[0].grad.abs().max())
            torch.testing.assert_close(module.weight.grad, blobs[0].grad, rtol=1e-5, atol=1e-6 * largest)
            compared += 1
    assert compared == len(modules)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_real_model_equals_itself_in_every_blob(name, tmp_path):
    net, weights = (shared("models", *path.split("/")) for path in MODELS[name])
    errors = cc.write_torch_source(cc.read_model(net, weights), tmp_path / "net")
    assert len(errors) > 5 and max(errors.values()) <= 1e-5
    assert cc.check_torch_source(tmp_path / "net", cc.read_model(net, weights)) == errors


def test_the_folder_stands_alone_and_its_verify_finds_a_wrong_weight(tmp_path):
    _, model, _ = deployed("lenet")
    cc.write_torch_source(model, tmp_path / "net")
    lines = [
        "import runpy, sys",
        "sys.modules['caffe_compat'] = None",
        f"sys.path.insert(0, {str(tmp_path / 'net')!r})",
        f"runpy.run_path({str(tmp_path / 'net' / 'verify.py')!r}, run_name='__main__')",
    ]
    command = [sys.executable, "-c", "\n".join(lines)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and "largest: " in done.stdout, done.stderr
    kept = dict(np.load(tmp_path / "net" / "blobs.npz"))
    kept["blob/ip2"][0, 0] += np.abs(kept["blob/ip2"]).max()
    np.savez(tmp_path / "net" / "blobs.npz", **kept)
    assert subprocess.run(command, capture_output=True).returncode == 1


def test_torch_export_takes_it_with_any_number_of_items(tmp_path):
    _, model, _ = deployed("cifar10_quick")
    cc.write_torch_source(model, tmp_path / "net")
    made, inputs = loaded(tmp_path / "net")
    shape = (2, *cc.Net(model, "TEST").shapes[inputs[0]][1:])
    batch = torch.export.Dim("batch")
    exported = torch.export.export(made, (torch.zeros(shape),), dynamic_shapes=({0: batch},))
    data = torch.randn(5, *shape[1:], generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(exported.module()(data), made(data))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lenet", "squeezenet_v1_1"])
def test_torch_compile_takes_it_whole(name, tmp_path):
    _, model, drawn = deployed(name)
    cc.write_torch_source(model, tmp_path / "net")
    made, inputs = loaded(tmp_path / "net")
    data = [torch.from_numpy(drawn[blob]) for blob in inputs]
    torch.testing.assert_close(torch.compile(made, fullgraph=True)(*data), made(*data), rtol=1e-4, atol=1e-5)


def test_another_folder_is_not_replaced(tmp_path):
    _, model, _ = deployed("lenet")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    with pytest.raises(cc.WriteError, match=r"mine: holds thesis\.txt, which is not of such an export"):
        cc.write_torch_source(model, tmp_path / "mine", check=False)
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]
    cc.write_torch_source(model, tmp_path / "net", check=False)
    (tmp_path / "net" / "model.py").write_text("old")
    cc.write_torch_source(model, tmp_path / "net", check=False)
    assert "class Model" in (tmp_path / "net" / "model.py").read_text()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["mine", "net"]


@pytest.mark.parametrize("size", [0, 1000, 4000])
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, size):
    """The weights alone take 4,240 bytes, model.py and verify.py less than 4,000 each."""
    text = """name: "n" layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 53 } } }
    layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
      inner_product_param { num_output: 20 bias_term: false weight_filler { type: "xavier" } } }"""
    net = cc.parse_text(text, cc.NetParameter)
    model = cc.Model(net, cc.Net(net).weights())
    with quota(size), pytest.raises(cc.WriteError, match=r"net: cannot be written \(File too large\)"):
        cc.write_torch_source(model, tmp_path / "net")
    assert not list(tmp_path.iterdir())
    cc.write_torch_source(model, tmp_path / "net")
    assert (tmp_path / "net" / "weights.safetensors").stat().st_size > 4240

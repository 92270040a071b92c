"""Python layers: the user's class runs with pycaffe's contract."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from caffe_compat.errors import UnsupportedLayerError, UserCodeError
from tests.layers.single import build

MODULE = """
import caffe
import numpy as np


class Affine(caffe.Layer):
    def setup(self, bottom, top):
        assert len(bottom) == 1 and len(top) == 1
        self.blobs.add_blob(bottom[0].channels)
        self.blobs.add_blob(1)
        self.blobs[0].data[...] = float(self.param_str or 1)
        self.phase_seen = self.phase

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        top[0].data[...] = bottom[0].data * self.blobs[0].data + self.blobs[1].data

    def backward(self, top, propagate_down, bottom):
        self.propagated = list(propagate_down)
        self.blobs[0].diff[...] += (top[0].diff * bottom[0].data).sum(0)
        self.blobs[1].diff[...] += top[0].diff.sum()
        if propagate_down[0]:
            bottom[0].diff[...] = top[0].diff * self.blobs[0].data


class Count(caffe.Layer):
    def setup(self, bottom, top):
        self.number = 0

    def reshape(self, bottom, top):
        top[0].reshape(2, 3)
        top[1].reshape(2)

    def forward(self, bottom, top):
        self.number += 1
        top[0].data[...] = self.number
        top[1].data[...] = np.arange(2)

    def backward(self, top, propagate_down, bottom):
        pass


class Doubled(caffe.Layer):
    def setup(self, bottom, top): pass
    def reshape(self, bottom, top): pass

    def forward(self, bottom, top):
        top[0].data[...] *= 2

    def backward(self, top, propagate_down, bottom):
        bottom[0].diff[...] *= 2


class Look(caffe.Layer):
    seen = []

    def setup(self, bottom, top): pass
    def reshape(self, bottom, top): pass

    def forward(self, bottom, top):
        self.seen.append(bottom[0].data.copy())

    def backward(self, top, propagate_down, bottom): pass
"""


@pytest.fixture
def beside(tmp_path: Path) -> Callable[[str], Path]:
    """Writes the user's module under a name; its folder is that of the net."""

    def write(name: str) -> Path:
        (tmp_path / f"{name}.py").write_text(MODULE)
        return tmp_path

    return write


def _text(module: str, layer: str, param_str: str = "") -> str:
    return f'type: "Python" python_param {{ module: "{module}" layer: "{layer}" param_str: "{param_str}" }}'


def test_blobs_and_gradients_of_the_users_class_are_torchs(beside: Callable[[str], Path]) -> None:
    layer = build(_text("py_affine", "Affine", "3"), (4, 3), phase="TRAIN", folder=beside("py_affine"))
    assert layer.user.phase_seen == 0
    assert [tuple(blob.shape) for blob in layer.blobs] == [(3,), (1,)]
    with torch.no_grad():
        layer.blobs[0].mul_(torch.tensor([1.0, 2.0, 3.0]))
        layer.blobs[1].fill_(5)
    x = torch.randn(4, 3, requires_grad=True)
    y = layer(x)
    torch.testing.assert_close(y, x * torch.tensor([3.0, 6.0, 9.0]) + 5)
    gradient = torch.randn(4, 3)
    y.backward(gradient)
    assert x.grad is not None
    torch.testing.assert_close(x.grad, gradient * torch.tensor([3.0, 6.0, 9.0]))
    torch.testing.assert_close(layer.blobs[0].grad, (gradient * x.detach()).sum(0))
    torch.testing.assert_close(layer.blobs[1].grad, gradient.sum().view(1))
    assert layer.user.propagated == [True]


def test_second_derivatives_are_refused_in_a_line(beside: Callable[[str], Path]) -> None:
    layer = build(_text("py_second", "Affine", "3"), (4, 3), folder=beside("py_second"))
    x = torch.ones(4, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(layer(x).sum(), x, create_graph=True)
    torch.testing.assert_close(gradient.detach(), torch.full((4, 3), 3.0))
    line = r"layer 'lay': type Python runs its user's code .* no second derivatives; take differences of its gradients"
    with pytest.raises(UnsupportedLayerError, match=line):
        gradient.sum().backward()


def test_a_bottom_without_gradient_is_not_asked_for(beside: Callable[[str], Path]) -> None:
    layer = build(_text("py_flag", "Affine"), (4, 3), folder=beside("py_flag"))
    layer(torch.randn(4, 3)).sum().backward()
    assert layer.user.propagated == [False]


def test_float64_and_another_batch_size_work(beside: Callable[[str], Path]) -> None:
    layer = build(_text("py_double", "Affine", "3"), (4, 3), folder=beside("py_double")).double()
    x = torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    assert layer.top_shapes([(7, 3)]) == [(7, 3)]
    assert torch.autograd.gradcheck(lambda bottom, *blobs: layer(bottom), (x, *layer.blobs))


def test_a_top_once_given_is_never_written_again(beside: Callable[[str], Path]) -> None:
    layer = build(_text("py_fresh", "Affine"), (4, 3), folder=beside("py_fresh"))
    x = torch.randn(4, 3, requires_grad=True)
    first = layer(x)
    before = first.detach().clone()
    first.sum().backward()
    layer(2 * x)
    assert torch.equal(first, before)


def test_a_layer_without_bottoms_is_a_source(beside: Callable[[str], Path]) -> None:
    layer = build(_text("py_source", "Count"), tops=2, folder=beside("py_source"))
    assert [top.tolist() for top in layer()] == [[[1] * 3] * 2, [0, 1]]
    assert layer()[0][0, 0] == 2


def test_a_layer_without_tops_looks_on(beside: Callable[[str], Path]) -> None:
    layer = build(_text("py_look", "Look"), (2,), tops=0, folder=beside("py_look"))
    assert layer(torch.tensor([1.0, 2.0])) == ()
    np.testing.assert_array_equal(layer.user.seen[-1], [1, 2])


def test_an_in_place_layer_shares_data_and_diff(beside: Callable[[str], Path]) -> None:
    from caffe_compat.layers.base import Context
    from caffe_compat.layers.registry import create_layer
    from caffe_compat.proto.schema import LayerParameter
    from caffe_compat.proto.text import parse_text

    folder = beside("py_inplace")
    param = parse_text(f'name: "lay" bottom: "x" top: "x" {_text("py_inplace", "Doubled")}', LayerParameter)
    layer = create_layer(param, Context(folder=folder))
    layer.setup([(3,)])
    assert layer.top_shapes([(3,)]) == [(3,)]
    x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = layer(x)
    y.backward(torch.tensor([1.0, 10.0, 100.0]))
    assert y.tolist() == [2, 4, 6]
    assert x.tolist() == [1, 2, 3]
    assert x.grad is not None
    assert x.grad.tolist() == [2, 20, 200]


def test_the_working_directory_is_searched_too(beside: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = list(sys.path)
    monkeypatch.chdir(beside("py_here"))
    assert build(_text("py_here", "Affine"), (4, 3))(torch.ones(4, 3)).sum() == 12
    assert sys.path == path


@pytest.mark.parametrize(
    ("module", "layer", "message"),
    [
        ("py_absent", "Affine", "python_param.module 'py_absent' cannot be imported from .*ModuleNotFoundError"),
        ("py_wrong", "Afine", r"python_param.layer 'Afine' is no class of module 'py_wrong' .*\(.*py_wrong.py\)"),
        ("py_wrong", "np", "python_param.layer 'np' is no class"),
    ],
)
def test_what_cannot_be_found_is_named(beside: Callable[[str], Path], module: str, layer: str, message: str) -> None:
    with pytest.raises(UnsupportedLayerError, match=f"layer 'lay': {message}"):
        build(_text(module, layer), (4, 3), folder=beside("py_wrong"))


def test_a_module_that_fails_is_reported_with_its_error(tmp_path: Path) -> None:
    (tmp_path / "py_broken.py").write_text("1 / 0")
    with pytest.raises(UnsupportedLayerError, match=r"layer 'lay': .*'py_broken'.*ZeroDivisionError"):
        build(_text("py_broken", "Affine"), (4, 3), folder=tmp_path)


BAD = """
import sys
import caffe

class NoLayer:
    made = 0
    def __init__(self):
        NoLayer.made += 1

class Raises(caffe.Layer):
    def setup(self, bottom, top):
        if self.param_str == "setup":
            raise ValueError("first line\\nsecond")

    def reshape(self, bottom, top):
        if self.param_str == "reshape":
            sys.exit("bye")
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        if self.param_str == "forward":
            bottom[7]

    def backward(self, top, propagate_down, bottom):
        raise SystemExit(3)
"""


def _bad(method: str) -> str:
    return _text("py_bad", "Raises", method)


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    (tmp_path / "py_bad.py").write_text(BAD)
    return tmp_path


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("setup", r"Raises.setup raised ValueError: first line second at .*py_bad.py:13"),
        ("reshape", r"Raises.reshape wanted to end the program \(bye\) at .*py_bad.py:17"),
    ],
)
def test_what_the_users_code_raises_is_one_line_with_its_place(bad: Path, method: str, said: str) -> None:
    with pytest.raises(UserCodeError, match=f"layer 'lay': {said}") as caught:
        build(_bad(method), (4, 3), folder=bad)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        ("GeneratorExit", r"raised GeneratorExit at"),
        ("type('Own', (BaseException,), {})('x')", r"raised Own: x at"),
        ("type('Mute', (Exception,), {'__str__': lambda self: 1 / 0})()", r"raised Mute at"),
        ("SystemExit(type('Mute', (), {'__str__': lambda self: 1 / 0})())", r"wanted to end the program \(\) at"),
    ],
    ids=["generator's end", "no Exception", "mute", "exits mute"],
)
def test_exceptions_of_every_make_are_one_line(tmp_path: Path, raised: str, said: str) -> None:
    code = MODULE.replace("def forward(self, bottom, top):", f"def forward(self, bottom, top):\n        raise {raised}")
    assert code != MODULE
    (tmp_path / "py_odd.py").write_text(code)
    sys.modules.pop("py_odd", None)
    with pytest.raises(UserCodeError, match=said):
        build(_text("py_odd", "Affine"), (4, 3), folder=tmp_path)(torch.ones(4, 3))
    (tmp_path / "py_import.py").write_text(f"raise {raised}")
    with pytest.raises(UnsupportedLayerError, match=r"'py_import' cannot be imported from"):
        build(_text("py_import", "Affine"), (4, 3), folder=tmp_path)


def test_ctrl_c_within_the_users_code_is_ctrl_c(tmp_path: Path) -> None:
    (tmp_path / "py_stopped.py").write_text("raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        build(_text("py_stopped", "Affine"), (4, 3), folder=tmp_path)


def test_a_module_of_python_itself_is_announced_by_its_file(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(UnsupportedLayerError, match="'system' is no class of module 'os'"):
        build(_text("os", "system"), (4, 3))
    assert caplog.records[0].getMessage().endswith(f"class system of {os.__file__}")


def test_what_forward_and_backward_raise_is_one_line_too(bad: Path) -> None:
    with pytest.raises(UserCodeError, match=r"Raises.forward raised IndexError: .* at .*py_bad.py:22"):
        build(_bad("forward"), (4, 3), folder=bad)(torch.ones(4, 3))
    out = build(_bad(""), (4, 3), folder=bad)(torch.ones(4, 3, requires_grad=True))
    with pytest.raises(UserCodeError, match=r"Raises.backward wanted to end the program \(3\)"):
        out.sum().backward()


def test_torch_func_is_refused_in_a_line(bad: Path) -> None:
    with pytest.raises(UnsupportedLayerError, match=r"type Python gives arrays to its user's code.*backward\(\)"):
        torch.func.vmap(build(_bad(""), (4, 3), folder=bad))(torch.ones(2, 4, 3))


def test_only_a_class_that_derives_from_caffes_layer_is_made(bad: Path) -> None:
    with pytest.raises(UnsupportedLayerError, match="'NoLayer' is no class of module 'py_bad' that derives from caffe"):
        build(_text("py_bad", "NoLayer"), (4, 3), folder=bad)
    assert sys.modules["py_bad"].NoLayer.made == 0


def test_the_code_that_is_about_to_run_is_announced_before_it_runs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    code = "import logging\nlogging.getLogger('caffe_compat').warning('the module runs')\n"
    (tmp_path / "py_told.py").write_text(code + MODULE)
    build(_text("py_told", "Affine"), (4, 3), folder=tmp_path)
    said = [record.getMessage() for record in caplog.records]
    assert said[0].startswith("layer 'lay': running Python code that the net names: class Affine of ")
    assert said[0].endswith("py_told.py") and said[1] == "the module runs"


def test_no_python_refuses_before_anything_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "py_off.py").write_text(MODULE)
    monkeypatch.setenv("CAFFE_COMPAT_NO_PYTHON", "1")
    with pytest.raises(UnsupportedLayerError, match=r"module 'py_off' is not imported, for --no-python"):
        build(_text("py_off", "Affine"), (4, 3), folder=tmp_path)
    assert "py_off" not in sys.modules
    monkeypatch.setenv("CAFFE_COMPAT_NO_PYTHON", "0")
    build(_text("py_off", "Affine"), (4, 3), folder=tmp_path)


@pytest.mark.parametrize("module", ["", ".", "..x", "a..b", "a/b", "a-b", "\0"])
def test_a_name_that_no_module_can_have_is_said(tmp_path: Path, module: str) -> None:
    with pytest.raises(UnsupportedLayerError, match="cannot be imported from"):
        build(_text("M", "Affine").replace('"M"', f'"{module}"'.replace("\0", "\\000")), (4, 3), folder=tmp_path)

"""BatchNorm and what is behind it in one pass, beside plain sums in float64 (batch_norm_layer.cpp, scale_layer.cpp).

Every case is computed by the loops and by torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from caffe_compat.layers.caffe.batch_norm_chain import Chain
from caffe_compat.layers.caffe.batch_norm_loops import Rule, normalized_by_loop
from tests.kernels.switch import needs_loops, other_defaults
from tests.layers.single import build

EPS, FRACTION = 1e-3, 0.75
SHAPES = [(8, 16, 5, 4), (4, 3, 6, 4), (2, 24, 5, 4), (3, 48, 7, 5), (16, 1, 3, 3), (1, 64, 1, 1), (128, 32, 9, 7)]


@dataclass
class Case:
    """The bottom, what is added, the gradient of the top, and the blobs of Scale, in float64."""

    x: np.ndarray
    other: np.ndarray
    diff: np.ndarray
    scale: np.ndarray
    shift: np.ndarray


def _case(shape: tuple[int, ...], mean: float = 0.5) -> Case:
    random = np.random.default_rng(sum(shape))
    x, other, diff = (random.normal(size=shape).astype(np.float32).astype(float) for _ in range(3))
    scale, shift = (random.uniform(0.5, 2, shape[1]).astype(np.float32).astype(float) for _ in range(2))
    return Case((x + mean).astype(np.float32).astype(float), other, diff, scale, shift - 1.25)


def _expected(case: Case, has_sum: bool, has_relu: bool) -> dict[str, np.ndarray]:
    axes, count = (0, 2, 3), case.x.size // case.x.shape[1]
    row = (1, -1, 1, 1)
    mean, var = case.x.mean(axes), case.x.var(axes)
    deviation = np.sqrt(var + EPS)
    unit = (case.x - mean.reshape(row)) / deviation.reshape(row)
    top = unit * case.scale.reshape(row) + case.shift.reshape(row) + (case.other if has_sum else 0)
    diff = case.diff * (top > 0) if has_relu else case.diff
    inner = diff * case.scale.reshape(row)
    means = inner.mean(axes).reshape(row), (inner * unit).mean(axes).reshape(row)
    return {
        "top": np.maximum(top, 0) if has_relu else top,
        "x": (inner - means[0] - unit * means[1]) / deviation.reshape(row),
        "scale": (diff * unit).sum(axes),
        "shift": diff.sum(axes),
        "other": diff,
        "means": FRACTION * 2 + mean,
        "variances": FRACTION * 3 + var * (count / (count - 1) if count > 1 else 1),
        "factor": np.array([FRACTION * 5 + 1]),
    }


class Layers:
    """A BatchNorm, Scale, Eltwise and ReLU on their own; `chain` computes them as one."""

    def __init__(self, case: Case, has_sum: bool = False, has_relu: bool = True, place: int = 1, **rule: bool) -> None:
        shape = case.x.shape
        fields = f"batch_norm_param {{ eps: {EPS} moving_average_fraction: {FRACTION} }}"
        self.norm: Any = build(f'type: "BatchNorm" {fields}', shape, phase="TRAIN")
        self.scale: Any = build('type: "Scale" scale_param { bias_term: true }', shape, phase="TRAIN")
        eltwise: Any = build('type: "Eltwise"', shape, shape) if has_sum else None
        relu: Any = build('type: "ReLU"', shape) if has_relu else None
        for blob, value in zip(self.norm.blobs, (2.0, 3.0, 5.0), strict=True):
            blob.data.fill_(value)
        for blob, values in zip(self.scale.blobs, (case.scale, case.shift), strict=True):
            blob.data.copy_(torch.from_numpy(values))
        vars(self.norm)["scales"] = (self.scale,)
        self.place = place
        self.chain = Chain(self.norm, eltwise, place, relu, Rule(has_relu, **rule))

    def top(self, x: Tensor, other: Tensor | None) -> Tensor:
        if other is None:
            return self.chain.begun(x)
        assert self.chain.begun(x) is x
        return self.chain.finished(*((other, x) if self.place else (x, other)))


def _laid(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values).float().contiguous(memory_format=torch.channels_last)


@pytest.fixture(params=[pytest.param("loops", marks=needs_loops), "torch"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "torch":
        monkeypatch.setenv("CAFFE_COMPAT_KERNELS", "off")
    return str(request.param)


def _found(case: Case, has_sum: bool, has_relu: bool, **rule: Any) -> dict[str, Tensor]:
    layers = Layers(case, has_sum, has_relu, **rule)
    x, other = _laid(case.x).requires_grad_(), _laid(case.other).requires_grad_()
    top = layers.top(x.view_as(x), other if has_sum else None)
    found = {"top": top.detach().clone()}
    top.backward(_laid(case.diff))
    blobs = dict(zip(("means", "variances", "factor"), layers.norm.blobs, strict=True))
    gradients = {"x": x.grad, "scale": layers.scale.blobs[0].grad, "shift": layers.scale.blobs[1].grad}
    more = {"other": other.grad} if has_sum else {}
    return {**found, **{name: each.detach() for name, each in {**blobs, **gradients, **more}.items()}}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("has_sum", "has_relu"), [(False, False), (False, True), (True, False), (True, True)])
def test_tops_blobs_and_gradients_are_those_of_plain_sums(way, shape, has_sum, has_relu):
    case = _case(shape)
    expected = _expected(case, has_sum, has_relu)
    for name, value in _found(case, has_sum, has_relu).items():
        largest = max(np.abs(expected[name]).max(), 1e-3 if name == "x" else 0)
        np.testing.assert_allclose(value.numpy(), expected[name], rtol=0, atol=5e-6 * largest, err_msg=name)


@pytest.mark.parametrize("has_sum", [False, True])
@pytest.mark.parametrize("owned", [{"owns_bottom": True}, {"owns_gradient": True}])
def test_where_gradients_are_written_does_not_change_them(has_sum, owned):
    case = _case((8, 16, 5, 4))
    wanted, found = _found(case, has_sum, True), _found(case, has_sum, True, **owned)
    for name, value in wanted.items():
        assert torch.equal(found[name], value), name


def test_the_sum_may_have_either_order():
    case = _case((8, 16, 5, 4))
    assert torch.equal(_found(case, True, True, place=0)["top"], _found(case, True, True)["top"])


@needs_loops
def test_a_mean_far_from_zero_costs_no_digits():
    """Squares of 3000 have a rounding of 0.5, and the variance is 1; torch loses three digits there."""
    case = _case((128, 16, 9, 7), mean=3000)
    expected, found = _expected(case, False, False), _found(case, False, False)
    np.testing.assert_allclose(found["top"].numpy(), expected["top"], rtol=0, atol=3e-6 * expected["top"].max())
    np.testing.assert_allclose(found["x"].numpy(), expected["x"], rtol=0, atol=3e-6 * np.abs(expected["x"]).max())
    np.testing.assert_allclose(found["variances"].numpy(), expected["variances"], rtol=1e-6)


@needs_loops
def test_results_are_the_same_for_every_number_of_threads():
    case, before = _case((64, 48, 17, 13)), torch.get_num_threads()
    try:
        runs = []
        for threads in (1, 2, 3, 5):
            torch.set_num_threads(threads)
            runs.append(_found(case, True, True))
    finally:
        torch.set_num_threads(before)
    for run in runs[1:]:
        for name, value in runs[0].items():
            assert torch.equal(run[name], value), name


def test_what_is_no_number_stays_none(way):
    case = _case((8, 16, 5, 4))
    case.x[0, 3, 0, 0] = np.nan
    top = _found(case, False, True)["top"]
    assert top[:, 3].isnan().all() and not top[:, :3].isnan().any() and not top[:, 4:].isnan().any()


def test_a_gradient_from_a_sum_further_up_is_added(way):
    """x -> a -> b -> b + a: what the sum gives to a does not go by autograd where loops run."""
    first = _case((8, 16, 5, 4))
    lower, upper = Layers(first), Layers(first, has_sum=True)
    x = _laid(first.x).requires_grad_()
    a = lower.top(x.view_as(x), None)
    upper.top(a.mul(2), a).backward(_laid(first.diff))
    apart = [Layers(first).chain for _ in range(2)]
    y = _laid(first.x).double().requires_grad_()
    for chain in apart:
        chain.batch_norm.double(), chain.batch_norm.scales[0].double()
    b = torch.relu(apart[0].batch_norm.alone(y))
    torch.relu(apart[1].batch_norm.alone(b * 2) + b).backward(torch.from_numpy(first.diff))
    np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=0, atol=1e-5)
    for mine, theirs in zip(lower.scale.blobs, apart[0].batch_norm.scales[0].blobs, strict=True):
        np.testing.assert_allclose(mine.grad.numpy(), theirs.grad.numpy(), rtol=0, atol=1e-4)


def test_a_blob_that_was_written_over_gets_its_gradient_by_autograd(way):
    """What is written on the top has a gradient of its own, which the layer before must not take for the top's."""
    case = _case((8, 16, 5, 4))
    lower, upper = Layers(case, has_relu=False), Layers(case, has_sum=True)
    x = _laid(case.x).requires_grad_()
    a = lower.top(x.view_as(x), None)
    a.mul_(3)
    upper.top(torch.ones_like(a), a).backward(_laid(case.diff))
    plain = _found(case, False, False)
    other = torch.relu(Layers(case).norm.alone(torch.ones_like(a)) + plain["top"] * 3)
    masked = Case(case.x, case.other, case.diff * 3 * (other.detach().numpy() > 0), case.scale, case.shift)
    np.testing.assert_allclose(x.grad.numpy(), _expected(masked, False, False)["x"], rtol=0, atol=1e-5)


@needs_loops
def test_a_second_backward_pass_over_what_was_written_on_is_refused():
    case = _case((8, 16, 5, 4))
    top = Layers(case, has_sum=True, owns_bottom=True).top(_laid(case.x).requires_grad_().mul(1), _laid(case.other))
    top.backward(_laid(case.diff), retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        top.backward(_laid(case.diff))


def _of_double(layers: Layers, x: Tensor) -> Tensor:
    layers.norm.double()
    return x.double()


def _of_another_shape(layers: Layers, x: Tensor) -> Tensor:
    """As a blob is that a layer of another shape owns (share_mode PERMISSIVE)."""
    layers.scale.blobs[0].data = layers.scale.blobs[0].data.view(1, -1)
    return x


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(_of_double, id="float64"),
        pytest.param(_of_another_shape, id="a shared blob"),
        pytest.param(lambda layers, x: x.contiguous(), id="planes"),
        pytest.param(lambda layers, x: x[:, :, :3, :3].contiguous(memory_format=torch.channels_last), id="odd size"),
        pytest.param(lambda layers, x: x.flatten(2), id="three axes"),
        pytest.param(lambda layers, x: torch.nn.Parameter(x), id="a subclass"),
        pytest.param(lambda layers, x: x[:0], id="empty"),
    ],
)
def test_loops_read_only_what_they_can(change):
    layers = Layers(_case((1, 3, 8, 4)))
    x = change(layers, _laid(_case((1, 3, 8, 4)).x))
    assert normalized_by_loop(layers.norm, x, None, Rule()) is None


def test_a_sum_of_another_layout_is_left_to_torch():
    case = _case((8, 16, 5, 4))
    layers = Layers(case, has_sum=True)
    assert normalized_by_loop(layers.norm, _laid(case.x), torch.from_numpy(case.other).float(), Rule()) is None
    top = layers.top(_laid(case.x), torch.from_numpy(case.other).float())
    np.testing.assert_allclose(top.detach().numpy(), _expected(case, True, True)["top"], rtol=0, atol=2e-5)


def test_blobs_that_move_tell_that_they_have():
    case = _case((8, 16, 5, 4))
    layers = Layers(case)
    before = [blob._version for blob in layers.norm.blobs]
    layers.top(_laid(case.x), None)
    assert all(blob._version > version for blob, version in zip(layers.norm.blobs, before, strict=True))


def test_layers_made_for_inference_alone_have_no_versions_to_move(way):
    case = _case((8, 16, 5, 4))
    with torch.inference_mode():
        layers = Layers(case, has_sum=True)
        top = layers.top(_laid(case.x), _laid(case.other))
    np.testing.assert_allclose(top.numpy(), _expected(case, True, True)["top"], rtol=0, atol=2e-5)


def test_the_type_that_a_user_sets_for_new_tensors_does_not_matter():
    case, found = _case((8, 16, 5, 4)), []
    for kind in (torch.float32, torch.float64, torch.float16):
        layers, x, diff = Layers(case), _laid(case.x).requires_grad_(), _laid(case.diff)
        with other_defaults(kind, None if kind is torch.float32 else "meta"):
            layers.top(x, None).backward(diff)
        found.append([x.grad, *(blob.grad for blob in layers.scale.blobs), *(blob.data for blob in layers.norm.blobs)])
    assert all(torch.equal(mine, its) for others in found[1:] for mine, its in zip(others, found[0], strict=True))

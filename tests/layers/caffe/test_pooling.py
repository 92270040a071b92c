"""Pooling and SPP against plain loops over the windows, on sizes where torch's own pooling differs too."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.caffe.pooling import max_without_index
from tests.layers.single import build
from tests.reference.pooling import FLT_MAX, Pool

FIELDS = "kernel_h: {0[0]} kernel_w: {0[1]} stride_h: {1[0]} stride_w: {1[1]} pad_h: {2[0]} pad_w: {2[1]}"


def _text(method: str, pool: Pool) -> str:
    fields = FIELDS.format(pool.kernel, pool.stride, pool.pad)
    return f'type: "Pooling" pooling_param {{ pool: {method} {fields} round_mode: {"CEIL" if pool.ceil else "FLOOR"} }}'


def _values(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """Small integers, so that ties are frequent and sums exact."""
    return torch.from_numpy(np.random.default_rng(seed).integers(-4, 5, shape).astype(np.float32))


@st.composite
def pools(draw: st.DrawFn) -> tuple[Pool, tuple[int, int]]:
    """Any pooling that Caffe computes without an empty window, pads up to the kernel included."""
    kernel = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    stride = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    pad = draw(st.tuples(st.integers(0, kernel[0] - 1), st.integers(0, kernel[1] - 1)))
    size = draw(st.tuples(st.integers(1, 10), st.integers(1, 10)))
    pool = Pool(kernel, stride, pad, draw(st.booleans()))
    return pool, size


def _is_sound(pool: Pool, size: tuple[int, int]) -> bool:
    terms = zip(pool.output(size), pool.stride, pool.pad, size, strict=True)
    return all(out >= 1 and (out - 1) * s < n + p for out, s, p, n in terms)


@settings(max_examples=80, deadline=None)
@given(pools(), st.booleans())
def test_maximum_mask_and_gradient_are_those_of_the_loops(
    case: tuple[Pool, tuple[int, int]], channels_last: bool
) -> None:
    pool, size = case
    if not _is_sound(pool, size):
        with pytest.raises(ShapeError):
            build(_text("MAX", pool), (1, 2, *size))
        return
    x = _values((1, 2, *size))
    layer = build(_text("MAX", pool), tuple(x.shape), tops=2)
    bottom = x.clone(memory_format=torch.channels_last if channels_last else torch.contiguous_format).requires_grad_()
    top, mask = layer(bottom)
    expected, expected_mask = pool.maximum(x.numpy())
    assert np.array_equal(top.detach(), expected)
    assert np.array_equal(mask, expected_mask)
    diff = _values(top.shape, 1)
    top.backward(diff)
    assert np.array_equal(bottom.grad, pool.maximum_gradient(x.numpy(), diff.numpy()))


@settings(max_examples=80, deadline=None)
@given(pools(), st.booleans())
def test_average_and_gradient_are_those_of_the_loops(case: tuple[Pool, tuple[int, int]], channels_last: bool) -> None:
    pool, size = case
    if not _is_sound(pool, size):
        return
    x = _values((1, 2, *size))
    layer = build(_text("AVE", pool), tuple(x.shape))
    bottom = x.clone(memory_format=torch.channels_last if channels_last else torch.contiguous_format).requires_grad_()
    top = layer(bottom)
    # sums of integers are exact in float32, the division and the sum of quotients round
    np.testing.assert_allclose(top.detach(), pool.average(x.numpy()), rtol=1e-6, atol=1e-6)
    diff = _values(top.shape, 1)
    top.backward(diff)
    np.testing.assert_allclose(bottom.grad, pool.average_gradient(x.numpy(), diff.numpy()), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", ["MAX", "AVE"])
@pytest.mark.parametrize("pad", [(1, 0), (2, 2)])
def test_the_gradient_is_the_derivative_in_float64(method: str, pad: tuple[int, int]) -> None:
    pool = Pool((3, 3), (2, 1), pad)
    layer = build(_text(method, pool), (1, 1, 5, 6))
    x = torch.randperm(30, dtype=torch.float64).view(1, 1, 5, 6).requires_grad_()
    assert torch.autograd.gradcheck(layer, (x,))


@pytest.mark.parametrize("pad", [0, 2])  # 2 is more than half the kernel, where the planes are padded by hand
def test_a_nan_never_wins_and_minus_infinity_gives_the_least_float(pad: int) -> None:
    pool = Pool((3, 3), (3, 3), (pad, pad))
    x = torch.full((1, 1, 6, 6), -math.inf)
    x[0, 0, 3:, 3:] = torch.arange(9.0).view(3, 3)
    x[0, 0, 5, 5] = math.nan
    x[0, 0, 0, 0] = math.nan
    top, mask = build(_text("MAX", pool), (1, 1, 6, 6), tops=2)(x)
    expected, expected_mask = pool.maximum(x.numpy())
    assert np.array_equal(top, expected.astype(np.float32))
    assert np.array_equal(mask, expected_mask)
    assert top.min() == -FLT_MAX


@pytest.mark.parametrize("kernel", [(3, 3), (5, 3), (3, 9)])
@pytest.mark.parametrize("spoilt", [None, math.nan, -math.inf, math.inf])
def test_windows_one_pixel_apart_are_searched_along_both_axes(kernel: tuple[int, int], spoilt: float | None) -> None:
    pool = Pool(kernel, (1, 1), (kernel[0] // 2, kernel[1] // 2))
    x = _values((2, 16, 6, 7)).contiguous(memory_format=torch.channels_last)
    if spoilt is not None:
        x[0, 3, :4] = spoilt
    layer = build(_text("MAX", pool), (2, 16, 6, 7))
    with torch.no_grad():
        assert np.array_equal(layer(x), pool.maximum(x.numpy())[0].astype(np.float32))
        assert (max_without_index(x, layer.plan(x.shape)) is not None) == (spoilt is None)
    assert max_without_index(x.requires_grad_(), layer.plan(x.shape)) is None  # the gradient needs the places


def test_infinity_wins() -> None:
    x = torch.zeros(1, 1, 2, 2)
    x[0, 0, 1, 0] = math.inf
    top, mask = build('type: "Pooling" pooling_param { kernel_size: 2 }', (1, 1, 2, 2), tops=2)(x)
    assert (top.item(), mask.item()) == (math.inf, 2)


def test_nan_takes_part_in_an_average() -> None:
    x = torch.tensor([[[[1.0, math.nan]]]])
    top = build('type: "Pooling" pooling_param { pool: AVE kernel_size: 1 }', (1, 1, 1, 2))(x)
    assert top[0, 0, 0, 0] == 1
    assert top[0, 0, 0, 1].isnan()


@pytest.mark.parametrize(("method", "expected"), [("MAX", 19.0), ("AVE", 9.5)])
def test_global_pooling_takes_the_plane_of_each_bottom(method: str, expected: float) -> None:
    layer = build(f'type: "Pooling" pooling_param {{ pool: {method} global_pooling: true }}', (1, 1, 7, 3))
    assert layer(torch.arange(20.0).view(1, 1, 4, 5)).view(()).item() == expected
    assert layer.top_shapes([(2, 3, 9, 1)]) == [(2, 3, 1, 1)]


def test_a_bottom_of_another_size_is_pooled_by_its_own_size() -> None:
    pool = Pool((3, 2), (2, 2), (1, 0))
    layer = build(_text("MAX", pool), (2, 3, 9, 9))
    x = _values((1, 4, 6, 5))
    assert np.array_equal(layer(x), pool.maximum(x.numpy())[0])


def test_a_recorded_program_does_not_look_at_values() -> None:
    layer = build(_text("MAX", Pool((3, 3), (2, 2), (0, 0))), (1, 1, 6, 5))
    program = torch.export.export(layer, (torch.zeros(1, 1, 6, 5),), strict=False)
    x = _values((1, 1, 6, 5))
    assert torch.equal(program.module()(x), layer(x))


@pytest.mark.filterwarnings("ignore")  # of torch, about the exporter of before
@pytest.mark.parametrize(("kernel", "stride", "pad"), [((3, 3), (2, 2), (2, 2)), ((4, 3), (3, 2), (3, 2))])
def test_averages_survive_exporters_that_leave_a_given_divisor_out(
    kernel: tuple[int, int], stride: tuple[int, int], pad: tuple[int, int]
) -> None:
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    pool = Pool(kernel, stride, pad)
    x = _values((1, 2, 5, 5))
    layer = build(_text("AVE", pool), tuple(x.shape))
    program = torch.export.export(layer, (x,), strict=False)
    given = [node.args for node in program.graph.nodes if node.target == torch.ops.aten.avg_pool2d.default]
    assert [len(each) < 7 for each in given] == [True]  # the seventh is the divisor
    np.testing.assert_allclose(program.module()(x), pool.average(x.numpy()), rtol=1e-6, atol=1e-6)
    file = io.BytesIO()
    torch.onnx.export(layer, (x,), file, dynamo=False)
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    top = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
    np.testing.assert_allclose(top, pool.average(x.numpy()), rtol=1e-6, atol=1e-6)


def test_pooling_keeps_channels_last() -> None:
    x = _values((2, 4, 7, 9)).contiguous(memory_format=torch.channels_last)
    for method in ("MAX", "AVE"):
        assert build(_text(method, Pool((3, 3), (2, 2), (0, 0))), (2, 4, 7, 9))(x).is_contiguous(
            memory_format=torch.channels_last
        )


STOCHASTIC = 'type: "Pooling" pooling_param { pool: STOCHASTIC kernel_size: 3 stride: 2 }'


def test_stochastic_pooling_in_test_expects_and_gives_zero_for_zeros() -> None:
    x = _values((1, 2, 5, 6)).abs()
    x[0, 0, :3, :3] = 0
    top = build(STOCHASTIC, (1, 2, 5, 6))(x)
    for (n, c, h, w), inside, _ in Pool((3, 3), (2, 2), (0, 0)).windows((1, 2, 5, 6)):
        values = [x[at].item() for at in inside]
        expected = sum(v * v for v in values) / sum(values) if sum(values) else 0
        assert top[n, c, h, w].item() == pytest.approx(expected, rel=1e-6)


def test_stochastic_pooling_in_train_draws_in_proportion_and_sends_the_gradient_there() -> None:
    torch.manual_seed(0)
    x = torch.tensor([[1.0, 0.0], [2.0, 5.0]]).expand(20000, 1, 2, 2).clone().requires_grad_()
    layer = build('type: "Pooling" pooling_param { pool: STOCHASTIC kernel_size: 2 }', (20000, 1, 2, 2), phase="TRAIN")
    top = layer(x)
    for value, share in ((1, 1 / 8), (2, 2 / 8), (5, 5 / 8)):
        drawn = (top == value).float().mean().item()
        assert drawn == pytest.approx(share, abs=5 * math.sqrt(share * (1 - share) / 20000))
    top.sum().backward()
    assert torch.equal((x.grad * x).sum((1, 2, 3)), top.detach().flatten())
    assert x.grad.sum() == 20000


@pytest.mark.parametrize(
    ("text", "shape", "tops", "error", "message"),
    [
        (
            "kernel_size: 1 stride: 2",
            (1, 1, 6, 5),
            1,
            ShapeError,
            "the last window on h starts at 6; the bottom ends at 6",
        ),
        ("kernel_size: 2", (1, 1, 6), 1, ShapeError, r"bottom \(1, 1, 6\) must have 4 axes"),
        ("kernel_size: 5", (1, 1, 3, 9), 1, ShapeError, "would have -1x5 outputs"),
        ("pool: AVE kernel_size: 2", (1, 1, 4, 4), 2, UnsupportedParameterError, "pool AVE has one top"),
        ("pool: STOCHASTIC kernel_size: 2 pad: 1", (1, 1, 4, 4), 1, UnsupportedParameterError, "STOCHASTIC takes none"),
    ],
)
def test_impossible_pooling_is_named(
    text: str, shape: tuple[int, ...], tops: int, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        build(f'type: "Pooling" pooling_param {{ {text} }}', shape, tops=tops)


@pytest.mark.parametrize(("ceil_mode", "outputs"), [("true", 4), ("false", 3)])
def test_ceil_mode_of_forks_rounds_as_it_says(ceil_mode: str, outputs: int) -> None:
    fields = f"kernel_size: 2 stride: 2 ceil_mode: {ceil_mode}"
    layer = build(f'type: "Pooling" pooling_param {{ {fields} }}', (1, 1, 7, 7))
    assert layer.top_shapes([(1, 1, 7, 7)]) == [(1, 1, outputs, outputs)]
    assert layer(_values((1, 1, 7, 7))).shape == (1, 1, outputs, outputs)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize(
    ("shape", "fields"),
    [
        ((2, 3, 7, 9), "kernel_size: 3 stride: 2"),
        ((2, 3, 8, 5), "kernel_size: 2 stride: 2 round_mode: FLOOR"),
        ((1, 4, 6, 6), "kernel_size: 3 stride: 1 pad: 1"),
        ((1, 1, 200, 190), "kernel_size: 3 stride: 3"),  # places above 2^15
    ],
)
def test_a_large_layer_keeps_small_places_and_not_its_bottom_and_gives_the_same(
    shape: tuple[int, ...], fields: str, layout: torch.memory_format, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = build(f'type: "Pooling" pooling_param {{ pool: MAX {fields} }}', shape)
    values = _values(shape).contiguous(memory_format=layout)
    values[0, 0, 0, :4] = torch.nan  # no maximum has it
    found = []
    for large in (1 << 40, 1):
        monkeypatch.setattr("caffe_compat.layers.caffe.pooling._LARGE", large)
        kept: dict[int, int] = {}

        def keep(tensor: Tensor, kept: dict[int, int] = kept) -> Tensor:
            kept[tensor.data_ptr()] = tensor.nbytes
            return tensor

        bottom = values.clone(memory_format=torch.preserve_format).requires_grad_()
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            top = layer(bottom)
        top.backward(torch.arange(float(top.numel())).view(top.shape))
        found.append((top.detach(), bottom.grad, sum(kept.values())))
    (plain, gradient, _), (top, below, bytes_kept) = found
    assert torch.equal(plain, top) and torch.equal(gradient, below)
    assert bytes_kept == top.numel() * (4 if math.prod(shape[2:]) > 2**15 else 2)

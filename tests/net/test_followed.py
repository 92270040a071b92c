"""Layers run by loops in one call give what they give one by one; what is compared with is the plain net."""

from __future__ import annotations

import copy
import threading

import pytest
import torch

from caffe_compat.layers import packed
from caffe_compat.layers.compiled import loops
from caffe_compat.layers.layout import laid_out
from caffe_compat.net import followed as under_test
from caffe_compat.net.followed import Followed
from tests.kernels.switch import needs_loops, other_defaults
from tests.net.test_prepared import CONV, DATA, assert_equal, filled, image, operations

pytestmark = [needs_loops, pytest.mark.skipif(loops() is None, reason="this processor has no AVX-512")]

POOL = 'layer {{ name: "{0}" type: "Pooling" bottom: "{1}" top: "{0}" pooling_param {{ {2} }} }}'
LRN = 'layer {{ name: "{0}" type: "LRN" bottom: "{1}" top: "{0}" }}'
RELU = 'layer {{ name: "relu_{0}" type: "ReLU" bottom: "{0}" top: "{0}" }}'
POWER = 'layer {{ name: "{0}" type: "Power" bottom: "{1}" top: "{0}" power_param {{ power: 2 }} }}'
BLOCK = (  # of an inception net
    CONV.format("one", "first", "num_output: 16 kernel_size: 1")
    + CONV.format("reduce", "first", "num_output: 5 kernel_size: 1")
    + RELU.format("reduce")
    + CONV.format("three", "reduce", "num_output: 19 kernel_size: 3 pad: 1")
    + POOL.format("pool", "first", "pool: MAX kernel_size: 3 stride: 1 pad: 1")
    + CONV.format("proj", "pool", "num_output: 3 kernel_size: 1")
    + 'layer { name: "out" type: "Concat" bottom: "one" bottom: "three" bottom: "proj" top: "out" }'
)
FIRST = CONV.format("first", "data", "num_output: 24 kernel_size: 3 pad: 1") + RELU.format("first")
SUM = 'layer { name: "sum" type: "Eltwise" bottom: "first" bottom: "second" top: "sum" }' + RELU.format("sum")
NETS = {
    "an inception block": FIRST + BLOCK,
    "more behind it": FIRST
    + BLOCK
    + POOL.format("small", "out", "pool: MAX kernel_size: 3 stride: 2")
    + LRN.format("norm", "small")
    + CONV.format("last", "norm", "num_output: 9 kernel_size: 1")
    + POOL.format("mean", "out", "pool: AVE global_pooling: true"),
    "a sum": FIRST + CONV.format("second", "first", "num_output: 24 kernel_size: 3 pad: 1") + SUM,
    "the input added": CONV.format("second", "data", "num_output: 24 kernel_size: 3 pad: 1")
    + SUM.replace('"first"', '"data"')
    + CONV.format("last", "sum", "num_output: 5 kernel_size: 1"),
    "the input read twice": FIRST + CONV.format("again", "data", "num_output: 7 kernel_size: 1"),
    "torch in between": FIRST
    + BLOCK
    + POWER.format("square", "out")
    + CONV.format("last", "square", "num_output: 9 kernel_size: 1")
    + POOL.format("mean", "square", "pool: AVE kernel_size: 3"),
    "a part that is read elsewhere": FIRST + BLOCK + POWER.format("square", "three"),
    "a concatenation of concatenations": FIRST
    + BLOCK
    + CONV.format("beside", "first", "num_output: 4 kernel_size: 1")
    + 'layer { name: "both" type: "Concat" bottom: "out" bottom: "beside" top: "both" }',
    "a concatenation of rows": FIRST
    + BLOCK.replace('top: "out" }', 'top: "out" concat_param { axis: 2 } }')
    .replace("num_output: 19", "num_output: 16")
    .replace("num_output: 3 ", "num_output: 16 "),
}


def _net(name: str, batch: int = 2):
    shape = (batch, 24 if "added" in name else 3, 12, 15)
    return filled(DATA.format(" ".join(f"dim: {size}" for size in shape)) + NETS[name]), shape


def _plans(prepared) -> list[bool]:
    (program,) = prepared._programs.values()
    rows = [module for module in program.modules() if isinstance(module, Followed)]
    return [plan is not None for row in rows for plan in row._plans.values()]


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("batch", [1, 3])
def test_what_is_followed_is_what_the_net_gives(name, batch):
    net, shape = _net(name, batch)
    prepared = net.prepare()
    for seed in range(2):
        torch.manual_seed(seed)
        assert_equal(net, prepared, image(*shape))
    assert _plans(prepared) and all(_plans(prepared))


def test_everything_of_an_inception_block_is_one_call():
    net, shape = _net("an inception block")
    prepared = net.prepare()
    assert_equal(net, prepared, image(*shape))
    (program,) = prepared._programs.values()
    assert [type(module).__name__ for module in program.children()] == ["Input", "Followed"]


def test_outputs_of_one_pass_outlive_the_next():
    net, shape = _net("an inception block")
    prepared = net.prepare()
    first, second = image(*shape), image(*shape) + 1
    prepared(first)
    kept = prepared(first)["out"]
    before = kept.clone()
    prepared(second)
    assert torch.equal(kept, before)


@pytest.mark.parametrize("layout", ["contiguous", "channels last", "every second image"])
def test_inputs_are_read_as_they_lie(layout):
    net, shape = _net("more behind it")
    prepared = net.prepare()
    data = image(*shape)
    if layout == "channels last":
        data = data.contiguous(memory_format=torch.channels_last)
    if layout == "every second image":
        data = torch.stack([data, -data], 1).flatten(0, 1)[::2]
    assert_equal(net, prepared, data)


def test_each_shape_and_number_of_threads_has_its_plan(monkeypatch):
    monkeypatch.setattr(under_test, "_MOST_SHAPES", 2)
    net, shape = _net("an inception block")
    prepared, before = net.prepare(), torch.get_num_threads()
    try:
        for threads, batch in ((1, 2), (2, 2), (2, 1), (1, 2)):
            torch.set_num_threads(threads)
            assert_equal(net, prepared, image(batch, *shape[1:]))
    finally:
        torch.set_num_threads(before)
    assert _plans(prepared) == [True, True]


def test_weights_of_a_plan_outlive_those_that_a_convolution_keeps(monkeypatch):
    """A plan is for one way in which inputs lie, packed weights for all of one shape: they are not dropped together."""
    for module in (under_test, packed):
        monkeypatch.setattr(module, "_MOST_SHAPES", 2)
    net, shape = _net("an inception block")
    prepared, last = net.prepare(), torch.channels_last
    one, two, three = (image(batch, *shape[1:]) for batch in (1, 2, 3))
    for data in (one, one, two, one.contiguous(memory_format=last), three):
        prepared(data)
    kept = [torch.full((size,), torch.nan) for size in range(16, 6000, 16) for _ in range(3)]  # where others were
    assert_equal(net, prepared, one.contiguous(memory_format=last))
    assert len(kept) > 0 and all(_plans(prepared))


@pytest.mark.parametrize("name", ["a sum", "the input added"])
def test_loops_have_the_channels_innermost_whatever_is_asked_of_torch(name):
    net, shape = _net(name)
    prepared = net.prepare()
    for layout in ("contiguous", "channels_last", "contiguous"):
        with laid_out(layout):
            assert_equal(net, prepared, image(*shape))


def test_the_type_that_a_user_sets_for_new_tensors_does_not_matter():
    net, shape = _net("more behind it")
    prepared, data = net.prepare(), image(*shape)
    for device in (None, "meta"):  # the first pass, which is checked, and one that is not
        with other_defaults(device=device):
            found = prepared(data)
    assert_equal(net, prepared, data)
    for name, value in prepared(data).items():
        assert found[name].dtype == torch.float32 and torch.equal(found[name], value)


def test_new_weights_are_seen():
    net, shape = _net("an inception block")
    prepared = net.prepare()
    assert_equal(net, prepared, image(*shape))
    with torch.no_grad():
        net.params["three"][0].mul_(2)
    assert_equal(net, prepared, image(*shape))


def test_two_passes_at_once_do_not_meet():
    net, shape = _net("more behind it")
    prepared = net.prepare()
    images = [image(*shape) * (number + 1) for number in range(4)]
    for each in images:
        prepared(each)
    wanted, wrong = [prepared(each) for each in images], []

    def check(number: int) -> None:
        for _ in range(20):
            for name, value in prepared(images[number]).items():
                if not torch.allclose(value, wanted[number][name], rtol=1e-5, atol=1e-6):
                    wrong.append((number, name))

    threads = [threading.Thread(target=check, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong and not any(thread.is_alive() for thread in threads)


def test_planes_that_no_loop_takes_are_left_to_torch():
    net = filled(
        DATA.format("dim: 1 dim: 3 dim: 8 dim: 15")
        + FIRST
        + POOL.format("p", "first", "kernel_size: 2 pool: STOCHASTIC")
    )
    prepared = net.prepare()
    assert_equal(net, prepared, image(1, 3, 8, 15))
    assert _plans(prepared) == [False]


def test_a_prepared_net_that_has_run_can_be_copied():
    net, shape = _net("an inception block")
    prepared = net.prepare()
    assert_equal(net, prepared, image(*shape))
    (program,) = prepared._programs.values()
    twin = copy.deepcopy(program)
    assert torch.equal(twin(image(*shape))[0]["out"], program(image(*shape))[0]["out"])


def test_without_loops_nothing_is_followed(monkeypatch):
    monkeypatch.setenv("CAFFE_COMPAT_KERNELS", "off")
    net, shape = _net("an inception block")
    prepared = net.prepare()
    assert_equal(net, prepared, image(*shape))
    assert "Concat" in operations(prepared)

"""Half precision trains as float32 does, to its own accuracy; overflowing fp16 gradients are skipped; --compile."""

import logging

import numpy as np
import pytest
import torch

import caffe_compat as cc
from caffe_compat.errors import SolverError
from caffe_compat.solver import precision
from caffe_compat.solver.compiling import compile_net
from caffe_compat.solver.precision import LossScale
from tests.commands.conftest import Problem

ROUNDING = {"bf16": 2**-8, "fp16": 2**-11}  # of one number


@pytest.fixture
def problem(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Problem(tmp_path)


def losses(count, **options):
    solver = cc.Solver("solver.prototxt", **options)
    found = []
    for _ in range(count):
        solver.step(1)
        found.append(solver.loss)
    return solver, found


@pytest.mark.parametrize("precision", ROUNDING)
def test_half_precision_follows_float32(problem, precision):
    _, exact = losses(10)
    solver, found = losses(10, precision=precision)
    np.testing.assert_allclose(found, exact, rtol=0, atol=20 * ROUNDING[precision])
    assert found != exact
    assert all(param.tensor.dtype == torch.float32 for param in solver.net.learnable_params)


def test_fp32_is_the_default_to_the_bit(problem):
    assert losses(3)[1] == losses(3, precision="fp32")[1]


def test_on_a_cpu_pooling_and_relu_stay_in_float32(tmp_path):
    text = (
        'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } } '
        'layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" '
        'convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } } '
        'layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" } '
        'layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { kernel_size: 2 stride: 2 } }'
    )
    net = cc.Net(cc.Model(cc.parse_text(text, cc.NetParameter), {}), phase="TRAIN")
    seen = {}
    context = precision.choose_precision(net, "bf16")
    for node, layer in net.steps:
        name = node.param.name
        layer.register_forward_hook(lambda _, bottoms, top, name=name: seen.update({name: (bottoms[0], top)}))
    with context():
        net(data=torch.ones(2, 3, 8, 8))
    kinds = {name: (bottom.dtype, top.dtype) for name, (bottom, top) in seen.items()}
    assert kinds["conv"][1] == torch.bfloat16
    assert kinds["relu"] == kinds["pool"] == (torch.float32, torch.float32)


def test_tests_stay_in_float32(problem):
    exact = cc.Solver("solver.prototxt").test()
    assert cc.Solver("solver.prototxt", precision="bf16").test() == exact


def test_clipping_sees_gradients_without_the_scale(problem):
    problem.edit("solver.prototxt", "momentum: 0.9", "momentum: 0.9 clip_gradients: 0.5")
    _, exact = losses(6)
    _, found = losses(6, precision="fp16")
    np.testing.assert_allclose(found, exact, rtol=0, atol=20 * ROUNDING["fp16"])


def test_an_overflow_makes_no_update_and_halves_the_scale(problem, caplog):
    solver = cc.Solver("solver.prototxt", precision="fp16")
    solver._passes.scale.value = 2.0**40
    before = solver.net.weights()
    with caplog.at_level(logging.INFO):
        solver.step(1)
    assert "iteration 0: a gradient overflowed in fp16" in caplog.text.lower()
    assert solver.iteration == 1
    assert all(
        np.array_equal(a, b) for name in before for a, b in zip(before[name], solver.net.weights()[name], strict=True)
    )
    assert solver._passes.scale.value == 2.0**39


def test_a_resumed_run_goes_on_with_the_scale(problem):
    solver = cc.Solver("solver.prototxt", precision="fp16")
    solver.step(1)
    solver._passes.scale.value = 2.0**13
    path = solver.snapshot()
    resumed = cc.Solver("solver.prototxt", precision="fp16")
    resumed.restore(path)
    assert resumed._passes.scale.kept == (2.0**13, 1)
    exact = cc.Solver("solver.prototxt", precision="fp32")
    exact.restore(path, accept_changes=True)
    assert exact._passes.scale.kept is None


def test_the_scale_grows_after_its_interval():
    scale = LossScale("fp16")
    for _ in range(LossScale.INTERVAL):
        assert scale.remove([torch.ones(2)])
    assert scale.value == 2 * 65536
    assert not scale.remove([torch.tensor([1.0, torch.nan])])
    assert scale.value == 65536


def test_gradients_lose_the_scale_in_place():
    gradient = torch.full((3,), 65536.0)
    LossScale("fp16").remove([gradient])
    assert gradient.tolist() == [1, 1, 1]


def test_an_unknown_precision_is_refused(problem):
    with pytest.raises(SolverError, match="precision is 'int8'; allowed: fp32, tf32, bf16, fp16"):
        cc.Solver("solver.prototxt", precision="int8")


def test_a_compiled_net_trains_the_same(problem):
    """By dynamo without a code generator, so that no compiler is needed."""
    _, exact = losses(3)
    solver = cc.Solver("solver.prototxt")
    compile_net(solver.net, lambda program: torch.compile(program, backend="eager"))
    for loss in exact:
        solver.step(1)
        assert solver.loss == loss


def test_without_a_compiler_training_goes_on_and_says_so_once(problem, caplog):
    _, exact = losses(3)

    def compiler(program):
        def compiled(*inputs):
            raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found\nmore")

        return compiled

    solver = cc.Solver("solver.prototxt")
    compile_net(solver.net, compiler)
    found = []
    for _ in range(3):
        solver.step(1)
        found.append(solver.loss)
    assert found == exact
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1 and "No working C++ compiler found" in warnings[0] and "uncompiled" in warnings[0]


def test_gpus_round_to_tf32_where_that_was_asked_for_alone(problem, monkeypatch):
    """In forward and backward passes and in tests; outside them torch's own setting stands."""
    seen, places = [], (torch.backends.cudnn, torch.backends.cuda.matmul)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)  # as torch has it from the start
    solver = cc.Solver("solver.prototxt", max_iter=1)

    def note(*_):
        seen.append([place.allow_tf32 for place in places])

    solver.net.params["ip1"][0].register_hook(note)
    for net in (solver.net, *solver.test_nets):
        net.layers["ip1"].register_forward_pre_hook(note)
    solver.test()
    solver.step(1)
    assert len(seen) >= 4 + 2 and not any(map(any, seen))  # of four test batches, one forward and one backward pass
    seen.clear()
    solver._passes.tf32 = True  # as Solver(precision="tf32") has it on a GPU
    solver.step(1)
    assert seen[-2:] == [[True, True]] * 2
    assert [place.allow_tf32 for place in places] == [True, False]
    with pytest.raises(SolverError, match="'tf32', which only GPUs have"):
        cc.Solver("solver.prototxt", precision="tf32")


@pytest.mark.parametrize(
    ("facts", "has"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16 amx_tile\n", True),
        ("flags\t\t: fpu avx2 avx512f\nflags\t\t: fpu\n", False),
        ("Features\t: fp asimd bf16\n", True),
        ("Features\t: fp asimd\n", False),
        ("nothing of the kind\n", True),
    ],
)
def test_a_processor_without_bf16_is_known_by_its_flags(tmp_path, facts, has):
    (tmp_path / "cpuinfo").write_text(facts)
    assert precision.multiplies_bf16(tmp_path / "cpuinfo") is has
    assert precision.multiplies_bf16(tmp_path / "missing")


@pytest.mark.parametrize("has", [True, False])
def test_bf16_on_a_processor_without_it_is_told_of(problem, monkeypatch, caplog, has):
    monkeypatch.setattr(precision, "multiplies_bf16", lambda: has)
    with caplog.at_level(logging.WARNING):
        cc.Solver("solver.prototxt", precision="bf16")
    assert ("fp32 is faster here, and exact" in caplog.text) is not has

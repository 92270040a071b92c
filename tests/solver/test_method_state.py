"""What methods keep: it comes back to the bit, and a file of it cannot claim more than it holds."""

import shutil

import numpy as np
import pytest
import torch

from caffe_compat.errors import SolverError
from caffe_compat.solver.method_state import from_json, to_json
from caffe_compat.solver.solver import Solver
from tests.conftest import golden


def round_trip(value):
    pieces = []
    stored = to_json(value, pieces)
    return from_json(stored, memoryview(b"".join(pieces)))


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", ">f4", "float16", "float64", "complex64"])
@pytest.mark.parametrize("shape", [(), (0, 3), (3, 4)])
def test_arrays_come_back_to_the_bit(dtype, shape):
    values = np.random.default_rng(1).integers(0, 2, shape).astype(dtype)
    before, found = np.zeros(2), round_trip({"first": np.zeros(3, np.int8), "values": [values]})
    assert found["values"][0].dtype == np.dtype(dtype).newbyteorder("<") and before.sum() == 0
    np.testing.assert_array_equal(found["values"][0], values)
    assert found["values"][0].shape == shape


def test_strided_arrays_and_tensors_of_every_precision_come_back():
    values = torch.arange(12.0).reshape(3, 4).t().to(torch.bfloat16).requires_grad_()
    found = round_trip({"half": values, "column": np.arange(12).reshape(3, 4)[:, 1], "count": np.int64(3)})
    np.testing.assert_array_equal(found["half"], np.arange(12, dtype=np.float32).reshape(3, 4).T)
    np.testing.assert_array_equal(found["column"], [1, 5, 9])
    assert found["count"] == 3 and isinstance(found["count"], int)


@pytest.mark.parametrize("value", [object(), {1: 2}, {"__array__": 1}, np.array(["a"]), b"bytes"])
def test_what_no_side_car_can_hold_is_named(value):
    with pytest.raises(SolverError, match="the state of a method holds"):
        to_json({"a": [value]}, [])


CLAIMS = [
    ["<f4", [1 << 40], 0], ["<f4", [3], 2], ["<f4", [-1], 0], ["|O", [1], 0], ["<f4", [1], -4], "x", ["<f4", 3, 0],
]  # fmt: skip


@pytest.mark.parametrize("claim", CLAIMS, ids=str)
def test_an_array_that_the_file_does_not_hold_is_refused(claim):
    with pytest.raises(ValueError, match=r"is no array in the \.arrays file"):
        from_json({"a": {"__array__": claim}}, memoryview(bytes(12)))


class Counter:
    """A method that counts the iterations and sums the first weights."""

    def __init__(self, shape=(3,)):
        self.count, self.sums = 0, torch.zeros(shape)

    def after_step(self, solver):
        self.count += 1
        self.sums += solver.net.params["c1"][0].detach().flatten()[: self.sums.numel()]

    def state_dict(self):
        return {"count": self.count, "sums": self.sums}

    def load_state_dict(self, state):
        if state["sums"].shape != self.sums.shape:
            raise ValueError(f"sums of {state['sums'].shape}, wanted {tuple(self.sums.shape)}")
        self.count, self.sums = state["count"], torch.from_numpy(state["sums"])


def start(method, name="counter"):
    solver = Solver("solver.prototxt", weights="init.caffemodel", compat="wen2017")
    solver.callbacks.append(method)
    solver.keep(name, method)
    return solver


@pytest.fixture
def folder(tmp_path, monkeypatch):
    shutil.copytree(golden("resume", "adam"), tmp_path / "adam")
    monkeypatch.chdir(tmp_path / "adam")


@pytest.mark.parametrize("late", [False, True])
def test_a_method_goes_on_where_it_was_also_one_that_asks_after_the_restore(folder, late):
    straight = Counter()
    solver = start(straight)
    solver.step(3)
    path = solver.snapshot()
    solver.step(2)
    resumed, method = Solver("solver.prototxt", compat="wen2017"), Counter()
    if late:
        resumed.restore(path)
        resumed.keep("counter", method)
    else:
        resumed.keep("counter", method)
        resumed.restore(path)
    resumed.callbacks.append(method)
    resumed.step(2)
    assert method.count == straight.count == 5 and torch.equal(method.sums, straight.sums)


def test_a_state_that_no_method_asks_for_is_handed_on(folder, caplog):
    solver = start(Counter())
    solver.step(2)
    with caplog.at_level("INFO"):
        other = Solver("solver.prototxt", compat="wen2017")
        other.restore(solver.snapshot())
    assert "a state of 'counter', which this run has not asked for" in caplog.text
    other.step(1)
    path = other.snapshot()
    method = Counter()
    last = Solver("solver.prototxt", compat="wen2017")
    last.keep("counter", method)
    last.restore(path)
    assert method.count == 2


def test_a_method_without_a_state_in_the_snapshot_is_told_of(folder, caplog):
    path = Solver("solver.prototxt", weights="init.caffemodel", compat="wen2017").snapshot()
    start(Counter()).restore(path)
    assert "no state of 'counter', which starts anew" in caplog.text


def test_a_state_that_does_not_fit_its_method_is_one_clear_line(folder):
    path = start(Counter()).snapshot()
    with pytest.raises(SolverError, match=r"state of 'counter' does not fit this run: sums of \(3,\), wanted \(4,\)"):
        start(Counter((4,))).restore(path)


def test_two_methods_of_one_name_are_refused(folder):
    solver = start(Counter())
    with pytest.raises(SolverError, match="two methods keep their state as 'counter'"):
        solver.keep("counter", Counter())

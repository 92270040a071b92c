"""The side-car of a snapshot: its sections come back, those of others stay, and what is damaged is not believed."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from caffe_compat.proto.binary import SolverStateFile
from caffe_compat.solver import sidecar
from caffe_compat.solver.sidecar import Sidecar, decode, encode
from caffe_compat.solver.solver import Solver
from tests.conftest import golden

FULL = Sidecar(
    type="Adam",
    checksum=7,
    cursor={"train": {"data": (12, 2**31)}, "test 0": {}},
    random=[{"cpu": b"\0\1\2"}, {"cpu": b"\3", "cuda": b"\4"}],
    losses=[0.5, float("inf")],
    smoothed_loss=0.1 + 0.2,
    losses_added=9,
    loss_scale=(1024.0, 3),
    run={"force": "l1", "force_layers": ["conv1"]},
    methods={"admm": {"rho": 0.25, "duals": np.arange(6, dtype=np.float32).reshape(2, 3)}, "masks": {}},
    checksums={"weights": 99},
)


def plain(value):
    """`value` with arrays and tuples as lists, to compare by ==."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value.tolist() if isinstance(value, np.ndarray) else value


def test_every_section_comes_back():
    found = decode(*encode(FULL))
    for name in vars(FULL):
        if name != "checksums":
            assert plain(getattr(found, name)) == plain(getattr(FULL, name)), name
    assert found.checksums["weights"] == 99
    duals = found.methods["admm"]["duals"]
    assert duals.dtype == np.float32 and duals.shape == (2, 3) and duals.flags.writeable


def test_sections_that_this_version_does_not_know_stay_when_it_is_rewritten():
    later = {"curriculum": {"stage": 3, "names": ["a", None]}}
    found = decode(*encode(replace(FULL, others=later)))
    assert found.others == later
    again = json.loads(encode(replace(found, losses_added=10))[0])
    assert again["curriculum"] == later["curriculum"] and again["losses_added"] == 10


def test_a_run_hands_on_sections_that_it_does_not_know(tmp_path, monkeypatch):
    shutil.copytree(golden("resume", "adam"), tmp_path / "adam")
    monkeypatch.chdir(tmp_path / "adam")
    first = Solver("solver.prototxt", weights="init.caffemodel", compat="wen2017")
    first.step(1)
    path = sidecar.sidecar_path(first.snapshot())
    written = decode(path.read_bytes(), b"")
    path.write_bytes(encode(replace(written, others={"later": [1, 2]}))[0])
    second = Solver("solver.prototxt", compat="wen2017")
    second.restore("snap_iter_1.solverstate")
    second.step(1)
    assert json.loads(sidecar.sidecar_path(second.snapshot()).read_text())["later"] == [1, 2]


@pytest.mark.parametrize("place", [0, 0.1, 0.35, 0.6, 0.85, 0.98])
def test_a_changed_digit_or_letter_anywhere_is_noticed(place):
    text, arrays = encode(FULL)
    at = next(i for i in range(int(place * len(text)), len(text)) if chr(text[i]).isalnum())
    changed = text[:at] + bytes([text[at] ^ 1]) + text[at + 1 :]
    assert changed != text
    with pytest.raises(ValueError):
        decode(changed, arrays)


def test_arrays_of_another_snapshot_are_noticed():
    text, arrays = encode(FULL)
    for other in (b"", arrays[:-1], arrays[:-1] + b"\1", arrays + b"\0"):
        with pytest.raises(ValueError, match=r"\.arrays file beside it"):
            decode(text, other)


DAMAGE = {
    "not JSON": b"{",
    "no mapping": b"[]",
    "no text": b"\xff\xfe",
    "too deep": b"[" * 100_000,
    "no version": b"{}",
    "a version that is no number": b'{"version": "2"}',
    "checksums that are none": b'{"version": 2, "checksums": 3}',
    "nothing but a version": b'{"version": 1}',
}


@pytest.mark.parametrize("text", DAMAGE.values(), ids=DAMAGE)
def test_what_is_no_side_car_is_a_value_error(text):
    with pytest.raises(ValueError):
        decode(text, b"")


SECTIONS = {
    "type": 3, "checksum": "x", "cursor": {"train": {"data": [0, "x"]}}, "random": [{"cpu": "no base64"}],
    "losses": 3, "smoothed_loss": None, "losses_added": -1, "loss_scale": [0, 1], "run": [], "methods": {"a": 1},
}  # fmt: skip


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_of_another_form_is_named_though_the_checksum_fits(name):
    facts = json.loads(encode(FULL)[0])
    facts[name] = SECTIONS[name]
    facts["checksums"]["sidecar"] = sidecar._own_checksum(facts)
    arrays = encode(FULL)[1]
    with pytest.raises(ValueError, match=f"'{name}'|random generator"):
        decode(json.dumps(facts).encode(), arrays)


def test_a_small_file_cannot_unpack_to_a_large_generator():
    text, arrays = encode(replace(FULL, random=[{"cpu": bytes(1 << 22)}]))
    assert len(text) < 1 << 13
    with pytest.raises(ValueError, match="more than 1048576 bytes"):
        decode(text, arrays)


def test_version_1_is_read(tmp_path, monkeypatch):
    """Written by the first version beside Caffe's own state, three batches on, torch's generator seeded with 5."""
    shutil.copytree(golden("resume", "adam"), tmp_path / "adam")
    monkeypatch.chdir(tmp_path / "adam")
    shutil.copy(golden("sidecar", "version1.json"), "snap_iter_15.solverstate.json")
    solver = Solver("solver.prototxt", compat="wen2017")
    solver.restore("snap_iter_15.solverstate")
    torch.manual_seed(5)
    assert solver.net.layers["input"].cursor == 3
    assert (solver._carried.value, solver._carried.added) == (1.5, 2)
    wanted = torch.rand(3)
    solver.restore("snap_iter_15.solverstate")
    assert torch.equal(torch.rand(3), wanted)


@pytest.mark.parametrize("change", [{"generators": {"cpu": "x"}}, {"sources": []}, {"losses": 3}, {"version": True}])
def test_damage_to_version_1_is_told_and_the_run_starts_its_data_anew(tmp_path, monkeypatch, caplog, change):
    shutil.copytree(golden("resume", "adam"), tmp_path / "adam")
    monkeypatch.chdir(tmp_path / "adam")
    facts = json.loads(golden("sidecar", "version1.json").read_text())
    Path("snap_iter_15.solverstate.json").write_text(json.dumps({**facts, **change}))
    solver = Solver("solver.prototxt", compat="wen2017")
    solver.restore("snap_iter_15.solverstate")
    assert "cannot be used" in caplog.text and solver.net.layers["input"].cursor == 0


def test_the_checksum_of_a_state_is_the_same_in_both_containers():
    history = (np.arange(6, dtype=np.float32).reshape(2, 3),)
    state = SolverStateFile(3, "a.caffemodel", history, 1)
    assert sidecar.checksum(state) == sidecar.checksum(SolverStateFile(3, "a.caffemodel.h5", history, 1))
    assert sidecar.checksum(state) != sidecar.checksum(SolverStateFile(4, "a.caffemodel", history, 1))


@pytest.mark.parametrize(
    ("name", "value"), [("losses", [10**400]), ("smoothed_loss", -(10**400)), ("loss_scale", [10**400, 1])]
)
def test_whole_numbers_that_no_float_holds_are_of_another_form(name, value):
    assert not sidecar.FORMS[name](value)

"""The quickstart: its data are the digits, it runs, and its table says what the nets are."""

import re
import sys

import numpy as np
import pytest

import caffe_compat as cc
from caffe_compat.data.datum import parse_datum
from caffe_compat.data.lmdb import LMDB
from reproductions.quickstart import __main__ as quickstart
from reproductions.quickstart.prepare import prepare

datasets = pytest.importorskip("sklearn.datasets")


def stored(path):
    """Images and labels of an LMDB."""
    database = LMDB(path)
    records = [parse_datum(bytes(record)) for record in database.records()]
    database.close()
    return np.stack([record.array()[0] for record in records]), np.array([record.label for record in records])


def test_the_databases_hold_every_digit_once(tmp_path):
    prepare(tmp_path)
    train, test = stored(tmp_path / "digits_train_lmdb"), stored(tmp_path / "digits_test_lmdb")
    digits = datasets.load_digits()
    assert (len(train[0]), len(test[0])) == (1348, 449)
    images, labels = (np.concatenate(pair) for pair in zip(train, test, strict=True))
    order = np.argsort(np.r_[np.flatnonzero(np.arange(1797) % 4 != 3), np.arange(3, 1797, 4)])
    np.testing.assert_array_equal(images[order], digits.images)
    np.testing.assert_array_equal(labels[order], digits.target)


def test_preparing_twice_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        prepare(tmp_path / name)
    for database in ("digits_train_lmdb", "digits_test_lmdb"):
        first, second = ((tmp_path / name / database / "data.mdb").read_bytes() for name in "ab")
        assert first == second


def test_the_smoke_run_prints_the_table(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["quickstart", "--smoke", "--out", str(tmp_path)])
    quickstart.main()
    printed = capsys.readouterr().out
    for name in ("baseline", "force"):
        assert re.search(rf"^{name} +[\d.]+ % +\d+/32 +\d+/32 +\d+/64 +[\d.]+ % +[\d.]+ x$", printed, re.MULTILINE)
        assert (tmp_path / f"{name}_iter_20.caffemodel").exists()


def test_forced_layers_are_the_convolutions(tmp_path):
    param = cc.read_solver(quickstart.HERE / "solver_force.prototxt")
    prepare(tmp_path)
    (tmp_path / "net.prototxt").write_text((quickstart.HERE / "net.prototxt").read_text())
    param.net, param.snapshot_prefix = str(tmp_path / "net.prototxt"), str(tmp_path / "force")
    solver = cc.Solver(param, force=quickstart.FORCE, force_decay=quickstart.FORCE_DECAY)
    assert [forced.layer for forced in solver.forced_params] == ["conv1", "conv2", "conv3"]

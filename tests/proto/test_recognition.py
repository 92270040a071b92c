"""A file that is none of Caffe's is called what it is, with the way out."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import caffe_compat as cc
from caffe_compat.proto.binary import SolverStateFile, read_solver_state, write_solver_state
from caffe_compat.proto.recognition import recognised, utf16
from tests.conftest import golden

NET = 'name: "nät"\nlayer { name: "d" type: "Input" top: "d" input_param { shape { dim: 1 dim: 3 } } }\n'
MODEL = golden("formats", "caffemodel", "net.caffemodel")


def saved(save: object, *arguments: object) -> bytes:
    memory = io.BytesIO()
    save(*(memory if each is ... else each for each in arguments))  # type: ignore[operator]
    return memory.getvalue()


def tar() -> bytes:
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w") as archive:
        archive.add(MODEL, "net.caffemodel")
    return memory.getvalue()


def zipped() -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        archive.write(MODEL, "net.caffemodel")
    return memory.getvalue()


OTHERS: dict[str, tuple[bytes, str]] = {
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 123\n", "pointer of Git LFS"),
    "html": (b"<!DOCTYPE html>\n<html lang='en'>", "web page"),
    "html after blanks": (b"\n\n  <HTML>", "web page"),
    "404": (b"404: Not Found", "server's answer"),
    "json": (b'{"layers": []}', "JSON"),
    "json list": (b'[{"name": 1}]', "JSON"),
    "json lines": (b'{"event": "start", "command": "x"}\n{"event": "step"}\n', "`caffe-compat log` shows it"),
    "gzip": (gzip.compress(b"x"), "packed by gzip"),
    "bzip2": (bz2.compress(b"x"), "packed by bzip2"),
    "xz": (lzma.compress(b"x"), "packed by xz"),
    "zip": (zipped(), "zip archive"),
    "tar": (tar(), "tar archive"),
    "npy": (saved(np.save, ..., np.zeros(3)), "NumPy's .npy"),
    "npz": (saved(np.savez, ..., np.zeros(3)), "NumPy's .npz"),
    "torch": (saved(torch.save, {"a": torch.zeros(2)}, ...), "model of PyTorch"),
    "pt2": (b"PK\x03\x04" + bytes(26) + b"archive/data/weights/model_weights_config.json", "model of PyTorch"),
    "pickle": (pickle.dumps({"a": 1}), "pickle"),
    "png": (golden("formats", "images", "img_00.png").read_bytes(), "image"),
    "jpeg": (golden("formats", "images", "img_03.jpg").read_bytes(), "image"),
    "pdf": (b"%PDF-1.5\n", "PDF"),
    "onnx": (b"\x08\x08\x12\x07pytorch\x1a\x051.0.0:", "ONNX model"),
    "onnx without a version": (b"\x08\x08\x12\x0ccaffe_compat:\xd2\xa7i", "ONNX model"),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("suffix", [".prototxt", ".caffemodel", ".caffemodel.h5", ".binaryproto"])
def test_others_are_called_what_they_are_wherever_they_are_given(tmp_path: Path, name: str, suffix: str) -> None:
    content, said = OTHERS[name]
    path = tmp_path / f"file{suffix}"
    path.write_bytes(content)
    reader = {".prototxt": cc.read_net, ".binaryproto": cc.read_blob}.get(suffix, cc.read_weights)
    with pytest.raises(cc.ParseError, match=said) as caught:
        reader(path)
    assert str(caught.value).startswith(f"{path}: this is ")


TEXTS = {
    "glog": ("I0223 14:55:42.870805  6406 caffe.cpp:178] Use CPU.\nname: 'x'\n", "a log; `caffe-compat log`"),
    "glog of a rank": ("[0] I0223 14:55:42.870805  6406 caffe.cpp:178] Use CPU.\n", "a log"),
    "glog indented": ("    I0223 14:55:42.870805  6406 caffe.cpp:178] Use CPU.\n", "a log"),
    "glog of a year": ("I20240223 14:55:42.870805  6406 caffe.cpp:178] Use CPU.\n", "a log"),
    "glog file": ("Log file created at: 2015/02/23 14:55:42\nRunning on machine: x\n", "a log"),
    "bare log": ("Use CPU.\nSolving LeNet\nIteration 0, Testing net (#0)\n", "a log"),
    "image list": ("cat.jpg 0\nfolder/a dog.jpg 1\n", "a list of images and labels"),
    "image list of one": ("cat.jpg 0", "a list of images and labels"),
    "float labels": ("cat.jpg 0.5\ndog.jpg -1\n", "a list of images and labels"),
    "hdf5 list": ("a/train.h5\ntest.hdf5\n", "a list of HDF5 files"),
    "class names": ("n01440764 tench, Tinca tinca\nn01443537 goldfish\n", "a list of class names"),
    "python": ("#!/usr/bin/env python\nprint(1)\n", "a Python script"),
    "python import": ('"""Doc."""\n# comment\nimport caffe\n', "a Python script"),
    "shell": ("#!/bin/sh\ncaffe train\n", "a script"),
    "csv": ("NumIters,Seconds,loss\n0,0.1,2.3\n", "a table"),
    "darknet": ("[net]\nbatch=1\n", "a net of Darknet"),
    "tensorflow": ('node {\n  name: "x"\n}\n', "a graph of TensorFlow"),
}  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("reader", [cc.read_net, cc.read_solver, cc.read_model])
def test_a_text_that_is_no_prototxt_is_called_what_it_is(tmp_path: Path, name: str, reader: Callable[..., Any]) -> None:
    text, said = TEXTS[name]
    path = tmp_path / "net.prototxt"
    for content in (text.encode(), text.encode("utf-16"), b"\xef\xbb\xbf" + text.encode()):
        path.write_bytes(content)
        with pytest.raises(cc.ParseError) as caught:
            reader(path)
        wanted = "solver" if reader is cc.read_solver else "net"
        assert str(caught.value).startswith(f"{path}: this is {said}")
        assert str(caught.value).endswith(f"the prototxt of a {wanted} is wanted")
    assert [str(fault) for fault in cc.find_faults(path)] == [str(caught.value).replace("a solver is", "a net is")]


@pytest.mark.parametrize("text", ["nmae: 'x'\n", "layer {\n", "name: 'x'\nlayer { name 'y' }\n", "x 1\n", "input: 3\n"])
def test_a_prototxt_with_a_mistake_keeps_its_place(tmp_path: Path, text: str) -> None:
    (tmp_path / "net.prototxt").write_text(text)
    with pytest.raises(cc.ParseError, match=r"net.prototxt:\d+:\d+: "):
        cc.read_net(tmp_path / "net.prototxt")


@pytest.mark.parametrize("folder", ["caffemodel", "blobs", "mean", "upgrade_binary", "upgrade_text", "upgrade_solver"])
def test_files_of_real_caffe_are_taken_for_nothing_else(folder: str) -> None:
    for path in golden("formats", folder).rglob("*"):
        if path.is_file() and path.suffix in (".caffemodel", ".binaryproto", ".prototxt"):
            assert recognised(path.read_bytes()[:4096]) == "" and utf16(path.read_bytes()[:4096]) == ""


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_net_that_a_windows_program_saved_is_read(tmp_path: Path, encoding: str) -> None:
    text = NET if encoding != "utf-16-be" else f"\ufeff{NET}"
    (tmp_path / "net.prototxt").write_bytes(text.encode(encoding))
    net = cc.read_net(tmp_path / "net.prototxt")
    assert net.name == "nät" and net.layer[0].type == "Input"
    (tmp_path / "solver.prototxt").write_bytes(b"\xff\xfe" + 'net: "a"'.encode("utf-16-le"))
    assert cc.read_solver(tmp_path / "solver.prototxt").net == "a"


def test_utf16_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "net.prototxt").write_bytes(NET.encode("utf-16"))
    cc.read_net(tmp_path / "net.prototxt")
    assert "net.prototxt: is UTF-16, which Caffe does not read; save it as UTF-8" in caplog.text


def test_net_and_weights_in_each_others_place_are_told(tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(NET)
    with pytest.raises(cc.ParseError, match=r"net.caffemodel holds weights and .*net.prototxt a net; exchange the two"):
        cc.read_model(MODEL, tmp_path / "net.prototxt")


def test_a_mean_image_as_weights_and_weights_as_a_mean_image_are_told(tmp_path: Path) -> None:
    cc.write_mean(tmp_path / "mean.binaryproto", np.ones((3, 4, 5), np.float32))
    with pytest.raises(cc.ParseError, match=r"mean.binaryproto: this is a mean image or another blob, not a net"):
        cc.read_weights(tmp_path / "mean.binaryproto")
    with pytest.raises(cc.ParseError, match=r"net.caffemodel: this is a net, perhaps with weights, not a mean image"):
        cc.read_blob(MODEL)


@pytest.mark.parametrize("content", [b"", b"\n", b"a", b"\xff\xfe", b"\xff\xfe\x00\xd8", b"n\x00", b"\x00\x01\x00\x02"])
def test_short_and_odd_content_is_no_utf16_text_unless_it_is(content: bytes) -> None:
    assert utf16(content) == ("utf-16-le" if content == b"\xff\xfe" else "")


@pytest.mark.parametrize(
    "name", ["small_iter_21.caffemodel", "a-b 2.caffemodel", "x/y.caffemodel", "n_iter_8.caffemodel.h5"]
)
def test_a_solvers_state_of_few_iterations_is_no_onnx_model(name, tmp_path):
    history = tuple(np.zeros(shape, np.float32) for shape in ((4, 3, 2, 2), (4,), (1,), (0,)))
    for iteration in range(1, 40):
        path = tmp_path / "s.solverstate"
        write_solver_state(path, SolverStateFile(iteration, name, history, iteration % 3))
        assert not recognised(path.read_bytes()[:4096])
        assert read_solver_state(path).iteration == iteration

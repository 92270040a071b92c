"""Data sets come from a server where there is one; where not, one line says what to put where."""

import functools
import gzip
import http.server
import tarfile
import threading

import pytest

import caffe_compat as cc
from caffe_compat.commands import main
from tests.conftest import golden

IMAGES = golden("formats", "mnist_idx", "images-idx3-ubyte")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class Short(Quiet):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"x" * 10)


@pytest.fixture
def serve(tmp_path, monkeypatch):
    """Serve the folder `published` with a handler; gives the address."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    (tmp_path / "published").mkdir()
    servers = []

    def start(handler=Quiet):
        bound = functools.partial(handler, directory=str(tmp_path / "published"))
        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), bound))
        threading.Thread(target=servers[-1].serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_mnist_is_fetched_and_made(serve, tmp_path, capsys):
    for name in cc.MNIST_FILES:
        content = IMAGES.with_name(name.removesuffix(".gz").split("-", 1)[1]).read_bytes()
        (tmp_path / "published" / name).write_bytes(gzip.compress(content))
    out = tmp_path / "out"
    assert main(["data", "mnist", "--url", serve(), "--out", str(out), "--no-check"]) == 0
    assert f"{out}/mnist_train_lmdb\n" in capsys.readouterr().out
    assert (out / cc.MNIST_FILES[0]).read_bytes() == (tmp_path / "published" / cc.MNIST_FILES[0]).read_bytes()


def test_what_was_fetched_is_checked_and_does_not_stay_where_it_is_wrong(serve, tmp_path, capsys):
    for name in cc.MNIST_FILES:
        (tmp_path / "published" / name).write_bytes(gzip.compress(IMAGES.read_bytes()))
    url = serve()
    assert main(["data", "mnist", "--url", url, "--out", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"caffe-compat: {url}/train-images-idx3-ubyte.gz: train-images-idx3-ubyte has sha256 ")
    assert "as published ba891046e6505d7a" in message and message.count("\n") == 1
    assert not list((tmp_path / "out").glob("*"))


def test_an_archive_of_other_content_does_not_stay(serve, tmp_path, capsys):
    (tmp_path / "data_batch_3.bin").write_bytes(b"other")
    with tarfile.open(tmp_path / "published" / "cifar-10-binary.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "data_batch_3.bin", "cifar-10-batches-bin/data_batch_3.bin")
    (tmp_path / "out" / ".fetched").mkdir(parents=True)
    (tmp_path / "out" / ".fetched" / "left").write_bytes(b"by a run that was killed")
    assert main(["data", "cifar10", "--url", serve(), "--out", str(tmp_path / "out")]) == 2
    assert "data_batch_3.bin has sha256 " in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("*"))


def test_a_file_that_is_there_is_not_fetched_again(tmp_path):
    (tmp_path / "a").write_bytes(b"kept")
    assert cc.download("http://127.0.0.1:1", ["a"], tmp_path) == tmp_path
    assert (tmp_path / "a").read_bytes() == b"kept"


@pytest.mark.parametrize(("handler", "why"), [(None, "refused"), (Quiet, "not found"), (Short, "10 of 1000 bytes")])
def test_without_the_file_one_line_says_what_to_put_where(serve, tmp_path, capsys, handler, why):
    url = serve(handler) if handler else "http://127.0.0.1:1"
    assert main(["data", "cifar10", "--url", url, "--out", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"caffe-compat: {url}/cifar-10-binary.tar.gz: cannot be fetched (") and why in message
    assert message.endswith("; put cifar-10-binary.tar.gz into a folder DIR and say --from DIR\n")
    assert message.count("\n") == 1 and not list((tmp_path / "out").glob("*"))

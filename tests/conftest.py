"""What every test may ask for: the golden folder, and the real models and data, which are never committed."""

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from caffe_compat import make_cifar10

ROOT = Path(__file__).resolve().parent.parent

os.environ["CAFFE_COMPAT_TRACEBACK"] = "1"  # a fault of a command shows where it is

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)
MARK = "CAFFE_COMPAT_TESTS"  # what tests start has it in its environment, with the id of this process
os.environ[MARK] = str(os.getpid())


def shared(*parts: str) -> Path:
    """A path among the real models and data (`CAFFE_COMPAT_SHARED`, else ../shared); skips where it is absent."""
    root = Path(os.environ.get("CAFFE_COMPAT_SHARED", ROOT.parent / "shared"))
    path = root.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{path} is not here; set CAFFE_COMPAT_SHARED to the folder of real models and data")
    return path


def golden(*parts: str) -> Path:
    """A committed golden case of tests/golden."""
    return Path(__file__).resolve().parent.joinpath("golden", *parts)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that name LevelDB are skipped where plyvel is not here, as on a Python that it has no wheel for."""
    if importlib.util.find_spec("plyvel") is None:
        for item in items:
            if "leveldb" in item.nodeid.lower() or item.get_closest_marker("leveldb"):
                item.add_marker(pytest.mark.skip(reason="LevelDB needs the package plyvel"))


def pytest_configure(config: pytest.Config) -> None:
    """One thread here and in what tests start: two that wait for one another crawl where others use the machine too.

    Benchmarks have two.
    """
    marks = config.option.markexpr
    threads = min(2, os.cpu_count() or 1) if "benchmark" in marks and "not benchmark" not in marks else 1
    torch.set_num_threads(threads)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))


@pytest.fixture(params=["loops", "no loops"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With compiled loops, where they are used here, on the smallest images too, and without."""
    if request.param == "no loops":
        monkeypatch.setenv("CAFFE_COMPAT_KERNELS", "off")
    elif os.environ.get("CAFFE_COMPAT_KERNELS") == "off":
        pytest.skip("loops are switched off")
    else:
        pytest.importorskip("numba", reason="the package numba is not installed")
        for bound in ("_LEAST", "_LEAST_AS_THEY_ARE"):
            monkeypatch.setattr(f"caffe_compat.data.transform.{bound}", 0)


def left_running() -> dict[int, str]:
    """The processes, number -> command, that were started by these tests, at whatever remove, and still run."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "environ").read_bytes().split(b"\0")
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:  # ended meanwhile, or somebody else's
            continue
        number = int(folder.name)
        if f"{MARK}={os.getpid()}".encode() in words and number != os.getpid() and command:
            found[number] = command
    return found


@pytest.fixture(scope="session", autouse=True)
def no_process_is_left() -> Iterator[None]:
    """No test leaves a process behind: it would hold the output open, and whoever waits for its end waits for ever."""
    yield
    deadline = time.monotonic() + 5
    while (left := left_running()) and time.monotonic() < deadline:
        time.sleep(0.1)
    for number in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    assert not left, f"left running by a test, and killed now: {left}"


@pytest.hookimpl(optionalhook=True)  # without pytest-xdist there is no such hook
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two processes for the whole quick suite; this one alone for single files and for tests asked for by name."""
    whole = config.args_source is not pytest.Config.ArgsSource.ARGS
    return 2 if whole and "not slow" in config.option.markexpr and not config.option.keyword else 0


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CIFAR-10 (folder cifar10) and MNIST (mnist) as published, unpacked once; skips where that cannot be done."""
    script = shared("data", "unpack.py")
    if importlib.util.find_spec("imagecodecs") is None:
        pytest.skip("unpacking the shared data needs the package imagecodecs")
    folder = tmp_path_factory.mktemp("published")
    subprocess.run([sys.executable, str(script), str(folder)], check=True)
    return folder


@pytest.fixture(scope="session")
def cifar10(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with cifar10_train_lmdb, cifar10_test_lmdb and mean.binaryproto of the real CIFAR-10."""
    folder = tmp_path_factory.mktemp("cifar10")
    make_cifar10(published / "cifar10", folder)
    return folder

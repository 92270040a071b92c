"""How scripts that `import caffe` come to caffe_compat.pycaffe: in one run, or in an environment for good."""

from __future__ import annotations

import importlib
import importlib.util
import os
import runpy
import sys
import sysconfig
import traceback
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from caffe_compat.errors import CaffeCompatError, WriteError
from caffe_compat.proto.files import write_atomically
from caffe_compat.proto.reading import check_regular, read_head
from caffe_compat.proto.recognition import recognised

PACKAGE = "caffe_compat.pycaffe"
SHIM = Path(__file__).parent / "shim"
PATH_FILE = "caffe_compat_pycaffe.pth"


class _Submodules(MetaPathFinder, Loader):
    """`caffe.io` and its like are the modules of caffe_compat.pycaffe, while `caffe` is that.

    Modules that only a fork has, such as SSD's caffe.model_libs, are taken from the folders `caffe` on sys.path.
    """

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if not fullname.startswith("caffe.") or sys.modules.get("caffe") is not sys.modules[PACKAGE]:
            return None
        if importlib.util.find_spec(_real_name(fullname)) is not None:
            return ModuleSpec(fullname, self)
        return PathFinder.find_spec(fullname, [os.path.join(entry, "caffe") for entry in sys.path])

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        sys.modules[module.__name__] = importlib.import_module(_real_name(module.__name__))


def _real_name(name: str) -> str:
    return PACKAGE + name.removeprefix("caffe")


def find_submodules() -> None:
    """Let `import caffe.io` find the module it is once `caffe` is caffe_compat.pycaffe; nothing else changes."""
    if not any(isinstance(finder, _Submodules) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Submodules())


def open_door() -> None:
    """From now on `import caffe` gives caffe_compat.pycaffe in this process."""
    package = importlib.import_module(PACKAGE)
    for name in [name for name in sys.modules if name.startswith("caffe.")]:
        del sys.modules[name]
    loaded = {name: module for name, module in sys.modules.items() if name.startswith(f"{PACKAGE}.")}
    sys.modules.update({"caffe" + name.removeprefix(PACKAGE): module for name, module in loaded.items()})
    sys.modules["caffe"] = package


def run_as_caffe(words: Sequence[str]) -> int:
    """Run a script, or with -m a module, and its arguments as `python` would; its caffe is caffe_compat.pycaffe.

    Its exit status; 1, and a traceback, where it raises. CaffeCompatError where there is no such file.
    """
    open_door()
    is_module = words[:1] == ["-m"]
    script, *arguments = words[1:] if is_module else words
    if not is_module:
        _check_script(script)
    sys.argv = [script, *arguments]
    sys.path[0:1] = [os.getcwd() if is_module else os.path.dirname(os.path.abspath(script))]
    try:
        if is_module:
            runpy.run_module(script, run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(script, run_name="__main__")
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:
        _print_traceback(error)
        return 1
    return 0


def _check_script(script: str) -> None:
    """CaffeCompatError for what is no script, nor a folder that runs."""
    if not os.path.exists(script):
        raise CaffeCompatError(f"{script}: no such file; give a script of Python")
    if os.path.isdir(script):
        if not os.path.isfile(os.path.join(script, "__main__.py")):
            raise CaffeCompatError(f"{script}: is a folder without __main__.py; give a script of Python")
        return
    check_regular(script, CaffeCompatError)
    if b"\0" in (head := read_head(script)):
        raise CaffeCompatError(f"{script}: {recognised(head) or 'this is binary'}; give a script of Python")


def _print_traceback(error: BaseException) -> None:
    """The traceback of the script alone, without the frames that run it."""
    frame = error.__traceback__
    while frame is not None and _runs_scripts(frame.tb_frame.f_code.co_filename):
        frame = frame.tb_next
    sys.stdout.flush()
    traceback.print_exception(type(error), error, frame)


def _runs_scripts(file: str) -> bool:
    return file == __file__ or "runpy" in file


def install_caffe() -> Path:
    """Make `import caffe` work in every run of this environment; the file that was written for it.

    CaffeCompatError where another caffe is importable.
    """
    path = _path_file()
    other = _other_caffe()
    if other is not None:
        raise CaffeCompatError(
            f"there is a caffe in this environment, {other}; remove it first, or use `caffe-compat python`"
        )
    with write_atomically(path) as temporary:
        temporary.write_text(f"{SHIM}\n", encoding="utf-8")
    return path


def uninstall_caffe() -> Path:
    """Take back what `install_caffe` did; the file that was removed. CaffeCompatError where it was not there."""
    path = _path_file()
    try:
        path.unlink()
    except FileNotFoundError:
        raise CaffeCompatError(f"{path}: not there; `import caffe` was not installed in this environment") from None
    except OSError as error:
        raise WriteError(f"{path}: cannot be removed: {error.strerror}") from error
    return path


def _path_file() -> Path:
    return Path(sysconfig.get_path("purelib"), PATH_FILE)


def _other_caffe() -> str | None:
    """Where another caffe than ours lies, None if there is none."""
    loaded = sys.modules.get("caffe")
    if loaded is not None:
        return None if loaded is sys.modules.get(PACKAGE) else str(getattr(loaded, "__file__", loaded))
    spec = importlib.util.find_spec("caffe")
    if spec is None or (spec.origin and Path(spec.origin).parent.parent == SHIM):
        return None
    return spec.origin or ", ".join(spec.submodule_search_locations or ())

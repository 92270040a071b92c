"""Run the suite at the lowest or the newest versions that setup.cfg allows.

python -m tests.versions lowest --python python3.10
python -m tests.versions newest --python python3.13 --at torch==2.14.1

Each makes an environment of its own in a folder (--folder to keep it, and to go on in it), installs this checkout there
and runs pytest with the words after `--`. Lowest: every bound `>=` of setup.cfg, extras included, as `==`. Newest: what
pip finds within the bounds. --at PACKAGE==VERSION, as often as wanted, sets one version; --without PACKAGE leaves out
what has no wheel for that Python: the tests that need it skip. Exit status: pytest's.
"""

from __future__ import annotations

import argparse
import configparser
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
# what checks or builds files that are the same at every version
LEFT_OUT = ("ruff", "mypy", "import-linter", "grpcio-tools", "build", "pre-commit", "mkdocs", "mkdocs-material",
            "mkdocstrings-python")  # fmt: skip


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.versions", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("which", choices=("lowest", "newest"))
    parser.add_argument("--python", default=sys.executable, help="the interpreter (default: this one)")
    parser.add_argument("--folder", type=Path, help="make the environment here and keep it")
    parser.add_argument("--at", action="append", default=[], metavar="PACKAGE==VERSION")
    parser.add_argument("--without", action="append", default=[], metavar="PACKAGE")
    given, _, for_pytest = " ".join(words if words is not None else sys.argv[1:]).partition(" -- ")
    arguments = parser.parse_args(given.split())
    wanted = requirements(ROOT / "setup.cfg", arguments.which, arguments.at, arguments.without)
    with tempfile.TemporaryDirectory() as folder:
        python = environment(arguments.folder or Path(folder), arguments.python, wanted)
        subprocess.run([python, "-m", "pip", "list"], check=True)
        return subprocess.run([python, "-m", "pytest", *for_pytest.split()], cwd=ROOT, check=False).returncode


def requirements(setup: Path, which: str, at: Sequence[str] = (), without: Sequence[str] = ()) -> list[str]:
    """What pip is to install: install_requires and all extras, each at its lower bound for `lowest`."""
    config = configparser.ConfigParser()
    config.read(setup, encoding="utf-8")
    lines = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    found = dict.fromkeys(line.strip() for text in lines for line in text.splitlines() if line.strip())
    fixed = {name(each): each for each in at}
    wanted = []
    for line in found:
        if name(line) in (*LEFT_OUT, *without):
            continue
        lowest = re.sub(r">=([\w.]+)[^;]*", r"==\1", line) if which == "lowest" else line
        wanted.append(fixed.pop(name(line), lowest))
    return [*wanted, *fixed.values()]


def name(requirement: str) -> str:
    """The package that a requirement is of."""
    return re.split(r"[^\w.-]", requirement.strip(), maxsplit=1)[0].lower()


def environment(folder: Path, python: str, wanted: Sequence[str]) -> str:
    """The interpreter of an environment in `folder` that has what is wanted, and this checkout."""
    made = folder / "bin" / "python"
    if not made.exists():
        subprocess.run([python, "-m", "venv", folder], check=True)
    install = [str(made), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, *wanted], check=True)
    subprocess.run([*install, "--no-deps", "-e", str(ROOT)], check=True)
    return str(made)


if __name__ == "__main__":
    sys.exit(main())

"""The package as it is published: its metadata, sdist and wheel, and what a new environment does with them."""

import configparser
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

import caffe_compat as cc
from tests.conftest import ROOT

NET = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 } } }'


def test_the_citation_has_the_version_and_the_license_of_the_package():
    yaml = pytest.importorskip("yaml")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == cc.__version__ and citation["license"] == "BSD-2-Clause"
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert all({"type", "title", "authors", "year"} <= entry.keys() for entry in citation["references"])


def test_hooks_run_what_ci_runs():
    hooks = re.findall(r"entry: (.+)", (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8").replace('"$python"', "python")
    assert len(hooks) >= 5
    for hook in hooks:
        assert hook.partition(" --site-dir")[0] in script, hook


def test_contributing_names_files_that_are_here():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:caffe_compat|tests|protos|reproductions|docs)/[\w./]+)`", text)
    assert len(named) > 15 and [path for path in named if not (ROOT / path).exists()] == []
    sections = text.split("\n## ")[1:]
    assert all(section.strip().count("\n") <= 10 for section in sections)  # each kind of thing in ten lines


def test_every_extra_that_a_message_names_is_there():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    named = {
        name
        for path in (ROOT / "caffe_compat").rglob("*.py")
        for name in re.findall(r"caffe_compat\[(\w+)\]", path.read_text(encoding="utf-8"))
    }
    assert {"data", "export", "tensorboard"} <= named <= set(config["options.extras_require"])


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel that is built of it."""
    if find_spec("build") is None:
        pytest.skip("needs the package build")
    folder = tmp_path_factory.mktemp("dist")
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\n")
    source = tmp_path_factory.mktemp("source")
    for name in filter(None, files):  # no folders build/ and *.egg-info of the checkout play a part
        if (ROOT / name).is_file() and not name.startswith(("tests/", "reproductions/")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run([sys.executable, "-m", "build", "--outdir", str(folder), str(source)], check=True, timeout=600)
    return folder


@pytest.mark.slow
def test_sdist_and_wheel_hold_the_whole_package_and_nothing_else(built):
    tracked = subprocess.run(["git", "ls-files", "caffe_compat"], cwd=ROOT, check=True, capture_output=True, text=True)
    wanted = {name for name in tracked.stdout.split() if (ROOT / name).exists()}
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name for name in names if ".dist-info/" not in name} == wanted
    assert any(name.endswith("licenses/LICENSE") for name in names)
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert wanted | {"LICENSE", "README.md", "setup.cfg", "pyproject.toml"} <= inside


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["*.whl", "*.tar.gz"])
def test_a_new_environment_runs_what_it_installed(built, kind, tmp_path):
    venv.create(tmp_path / "venv", with_pip=True)
    programs = tmp_path / "venv" / "bin"
    (package,) = built.glob(kind)

    def run(*words: str) -> str:
        done = subprocess.run(
            [str(programs / words[0]), *words[1:]], cwd=tmp_path, capture_output=True, text=True, timeout=1200
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(package))
    (tmp_path / "net.prototxt").write_text(NET)
    assert run("caffe-compat", "--version") == f"caffe-compat {cc.__version__}\n"
    assert "Input" in run("caffe-compat", "show", "net.prototxt")
    assert "LRN" in run("caffe-compat", "layers", "LRN")
    assert str(programs.parent) in run("python", "-c", "import caffe_compat; print(caffe_compat.__file__)")
    facts = run("python", "-m", "pip", "show", "--verbose", "caffe_compat")
    assert "Paper, https://" in facts and "BSD-2-Clause" in facts

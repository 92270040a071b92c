"""The package as it is published: its metadata, sdist and wheel, and what a new environment does with them."""

import configparser
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import caffe_compat as cc
from tests.conftest import ROOT

NET = """name: "One"
layer { name: "x" type: "DummyData" top: "x" dummy_data_param { shape { dim: 2 dim: 3 } data_filler { value: 1 } } }
layer { name: "t" type: "DummyData" top: "t" dummy_data_param { shape { dim: 2 dim: 1 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 1 } }
layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "loss" }
"""
SOLVER = """net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 3 display: 1 snapshot_prefix: "one" """
SCRIPT = """import caffe
net = caffe.Net("net.prototxt", "one_iter_3.caffemodel", caffe.TEST)
print(caffe.__name__, sorted(net.params), net.forward()["loss"].shape)
"""


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


DEPLOY = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 dim: 9 dim: 9 } } }'
DEPLOY += 'layer { name: "n" type: "LRN" bottom: "x" top: "n" }'
# Every module and every public name; where one needs an extra, the refusal names it.
EVERYTHING = """import importlib, pkgutil, caffe_compat as cc
for found in pkgutil.walk_packages(cc.__path__, "caffe_compat."):
    if not found.name.endswith("__main__"):
        try:
            importlib.import_module(found.name)
        except ImportError as error:
            loops = found.name.startswith("caffe_compat.kernels.") and error.name in ("numba", "llvmlite")  # internal
            assert loops or "pip install 'caffe_compat[" in str(error), found.name
print(len([getattr(cc, name) for name in cc.__all__]) == len(cc.__all__))
"""


def link_requirements(site: Path, extras: tuple[str, ...] = ()) -> None:
    """Links in `site`, the packages of a new environment, what setup.cfg requires, and what that requires.

    The versions are those of the running environment, so that nothing is fetched, a torch least of all. Nothing else is
    linked: a package that is imported and not required is missing there.
    """
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    wanted = config["options"]["install_requires"].split("\n")
    for extra in extras:
        wanted += config["options.extras_require"][extra].split("\n")
    pending, done = [Requirement(line) for line in wanted if line], set()
    while pending:
        requirement = pending.pop()
        marker = requirement.marker
        if requirement.name in done or (marker and not marker.evaluate({"extra": ""})):
            continue
        done.add(requirement.name)
        offered = metadata.distributions(name=requirement.name)
        found = next(each for each in offered if requirement.specifier.contains(each.version, prereleases=True))
        pending += map(Requirement, found.requires or ())
        tops = {file.parts[0] for file in found.files or () if file.parts[0] not in ("..", "__pycache__")}
        for top in tops:
            if not (site / top).exists():  # `google` and `nvidia` belong to several
                (site / top).symlink_to(found.locate_file(top))


class Installed:
    """A new environment with an installed package, and an empty folder to work in that sees no checkout."""

    def __init__(
        self, folder: Path, package: Path, extras: tuple[str, ...] = (), options: tuple[str, ...] = ()
    ) -> None:
        self.environment, self.work = folder / "venv", folder / "work"
        self.work.mkdir()
        venv.create(self.environment)
        (site,) = self.environment.glob("lib/python*/site-packages")
        link_requirements(site, extras)
        python, what = str(self.environment / "bin" / "python"), f"{package}[{','.join(extras)}]" if extras else package
        pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *options, str(what)], check=True, timeout=600)

    def run(self, *words: str) -> str:
        """What a program of the environment prints."""
        variables = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "CAFFE_COMPAT"))
        }
        program = self.environment / "bin" / words[0]
        command = [str(program), *words[1:]]
        done = subprocess.run(command, cwd=self.work, env=variables, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def wheel(built, tmp_path_factory) -> Path:
    if find_spec("pip") is None:
        pytest.skip("needs the package pip")
    (found,) = built.glob("*.whl")
    return found


@pytest.mark.slow
def test_a_new_environment_needs_nothing_but_the_wheel_and_what_it_requires(wheel, tmp_path):
    new = Installed(tmp_path, wheel, options=("--no-index",))
    (new.work / "net.prototxt").write_text(NET)
    (new.work / "solver.prototxt").write_text(SOLVER)
    (new.work / "script.py").write_text(SCRIPT)
    (new.work / "deploy.prototxt").write_text(DEPLOY)
    assert new.run("caffe-compat", "--version") == f"caffe-compat {cc.__version__}\n"
    assert "decompose" in new.run("caffe-compat", "--help")
    assert "InnerProduct" in new.run("caffe-compat", "show", "net.prototxt")
    new.run("caffe-compat", "show", "net.prototxt", "--html", "net.html")
    assert "</html>" in (new.work / "net.html").read_text(encoding="utf-8")
    new.run("caffe-compat", "solve", "solver.prototxt")
    assert "one_iter_3.caffemodel" in new.run("caffe-compat", "show", "one_iter_3.caffemodel")
    assert new.run("caffe-compat", "python", "script.py") == "caffe_compat.pycaffe ['ip'] ()\n"
    assert "forks.faster_rcnn" in new.run("caffe-compat", "layers", "Proposal")
    assert "opencv" in new.run("caffe-compat", "check", "deploy.prototxt", "--for", "opencv")
    assert new.run("python", "-c", EVERYTHING) == "True\n"
    where = new.run("python", "-c", "import caffe_compat; print(caffe_compat.__file__)")
    assert where.startswith(str(new.environment))
    (described,) = new.environment.glob("lib/python*/site-packages/caffe_compat-*.dist-info")
    facts = metadata.Distribution.at(described).metadata
    assert facts["License"] == "BSD-2-Clause" or facts["License-Expression"] == "BSD-2-Clause"
    assert any(url.startswith("Paper, https://") for url in facts.get_all("Project-URL"))


@pytest.mark.slow
def test_a_new_environment_installs_the_sdist(built, wheel, tmp_path):
    (sdist,) = built.glob("*.tar.gz")
    new = Installed(tmp_path, sdist)  # pip fetches what builds it
    (new.work / "net.prototxt").write_text(NET)
    assert "InnerProduct" in new.run("caffe-compat", "show", "net.prototxt")
    (site,) = new.environment.glob("lib/python*/site-packages/caffe_compat")
    files = [path for path in site.rglob("*.*") if path.is_file() and path.suffix != ".pyc"]
    assert {f"caffe_compat/{path.relative_to(site)}" for path in files} == {
        name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name
    }


@pytest.mark.slow
def test_the_quickstart_runs_on_the_installed_wheel(wheel, tmp_path):
    if find_spec("sklearn") is None:
        pytest.skip("the quickstart needs the package scikit-learn")
    new = Installed(tmp_path, wheel, extras=("data", "plots"), options=("--no-index",))
    left_out = shutil.ignore_patterns("logs", "run", "*.html")
    shutil.copytree(ROOT / "reproductions", new.work / "reproductions", ignore=left_out)
    printed = new.run("python", "-m", "reproductions.quickstart", "--smoke", "--out", "run")
    assert "ranks keep 95 % of the energy" in printed and (new.work / "run" / "force_iter_20.caffemodel").exists()

"""Plugins: a package that adds a layer, a regularizer and a verb, installed or named by --plugin; and broken ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import caffe_compat as cc
from caffe_compat import plugins
from caffe_compat.commands import VERBS, main
from tests.plugins import forget

LAYER = '''"""Cubes (my_layers)."""
import caffe_compat as cc

@cc.register_layer("Cube")
class Cube(cc.Layer):
    """x^3."""

    def top_shapes(self, bottom_shapes):
        return [bottom_shapes[0]]

    def forward(self, x):
        return x ** 3

@cc.register_layer("CubeLoss")
class CubeLoss(Cube):
    default_loss_weight = 1.0

    def top_shapes(self, bottom_shapes):
        return [()]

    def forward(self, x):
        return (x ** 3).sum()
'''
REGULARIZER = """
import caffe_compat as cc

@cc.register_regularizer("Cubic")
def cubic(weights, gradients, strengths):
    for weight, gradient, strength in zip(weights, gradients, strengths):
        gradient += strength * weight ** 3
"""
VERB = '''
import caffe_compat as cc

@cc.register_command("count")
class Count:
    """Count the layers of a net."""

    @staticmethod
    def add_arguments(parser):
        parser.add_argument("net")

    @staticmethod
    def run(arguments):
        print(len(cc.read_model(arguments.net).net.layer), "layers")
        return 0
'''
ENTRY_POINTS = """[caffe_compat.layers]
Cube = {package}.cells
CubeLoss = {package}.cells

[caffe_compat.regularizers]
Cubic = {package}.decays

[caffe_compat.commands]
count = {package}.verbs:Count
"""
NET = """name: "cubes"
layer { name: "x" type: "DummyData" top: "x" dummy_data_param { shape { dim: 1 dim: 2 }
  data_filler { type: "constant" value: 0 } } }
layer { name: "fc" type: "InnerProduct" bottom: "x" top: "fc" inner_product_param { num_output: 1 bias_term: false
  weight_filler { type: "constant" value: 0.5 } } }
layer { name: "cube" type: "Cube" bottom: "fc" top: "cube" }
layer { name: "loss" type: "CubeLoss" bottom: "cube" top: "loss" }
"""
SOLVER = """net: "net.prototxt" base_lr: 1 lr_policy: "fixed" max_iter: 1 weight_decay: 1 regularization_type: "Cubic"
snapshot_prefix: "cubes"
"""


def put(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def caffe_compat(folder: Path, *words: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """`caffe-compat` in a process of its own, in `folder`, with the packages of `path`."""
    places = [str(path)] if path else []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*places, str(Path(__file__).parent.parent)])}
    command = [sys.executable, "-m", "caffe_compat", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture
def nets(tmp_path: Path) -> Path:
    return put(tmp_path / "nets", {"net.prototxt": NET, "solver.prototxt": SOLVER})


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder as pip leaves it: a package, and its dist-info with entry points."""
    info = "cubes-1.2.dist-info"
    files = {"__init__.py": "", "cells.py": LAYER, "decays.py": REGULARIZER, "verbs.py": VERB}
    return put(
        tmp_path / "site",
        {f"cubes/{name}": text for name, text in files.items()}
        | {f"{info}/METADATA": "Metadata-Version: 2.1\nName: cubes\nVersion: 1.2\n"}
        | {f"{info}/entry_points.txt": ENTRY_POINTS.format(package="cubes")},
    )


def test_an_installed_package_adds_layers_and_a_regularizer(nets: Path, site: Path) -> None:
    done = caffe_compat(nets, "solve", "solver.prototxt", path=site)
    assert done.returncode == 0, done.stderr
    # the data are zeros, so that only the decay moves the weights, by 1 * 1 * 0.5^3
    assert cc.read_model(nets / "net.prototxt", nets / "cubes_iter_1.caffemodel").weights["fc"][0].tolist() == [
        [0.375] * 2
    ]


def squeezed(help: str) -> list[str]:
    """The lines of a help, its two columns with one blank between them."""
    return ["  " + " ".join(line.split()) for line in help.splitlines()]


def test_an_installed_package_adds_a_verb(nets: Path, site: Path) -> None:
    assert "  count of cubes 1.2" in squeezed(caffe_compat(nets, "--help", path=site).stdout)
    assert "Count the layers of a net." in caffe_compat(nets, "count", "--help", path=site).stdout
    done = caffe_compat(nets, "count", "net.prototxt", path=site)
    assert (done.returncode, done.stdout) == (0, "4 layers\n")


def test_modules_that_the_user_names_add_all_three(nets: Path) -> None:
    put(nets, {"mine.py": LAYER + REGULARIZER, "tools.py": VERB})
    solved = caffe_compat(nets, "solve", "--plugin=mine", "solver.prototxt")
    assert solved.returncode == 0, solved.stderr
    assert (nets / "cubes_iter_1.caffemodel").exists()
    assert caffe_compat(nets, "--plugin", "tools", "count", "net.prototxt").stdout == "4 layers\n"
    listed = caffe_compat(nets, "--plugin", "tools", "--help").stdout
    assert "  count Count the layers of a net." in squeezed(listed)


@pytest.mark.parametrize("verb", [name for name, verb in VERBS.items() if verb.builds])
def test_every_verb_that_builds_a_net_takes_a_plugin(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([verb, "--help"])
    assert stopped.value.code == 0 and "--plugin MODULE" in capsys.readouterr().out


def test_scripts_of_pycaffe_come_behind_their_plugins(nets: Path) -> None:
    put(nets, {"tools.py": "print('plugged', end=' ')", "script.py": "import sys; print(*sys.argv[1:])"})
    done = caffe_compat(nets, "python", "--plugin", "tools", "script.py", "--plugin", "own")
    assert (done.returncode, done.stdout) == (0, "plugged --plugin own\n")


def test_layers_lists_what_plugins_add(nets: Path, site: Path) -> None:
    done = caffe_compat(nets, "layers", "--json", path=site)
    rows = {row["type"]: row for row in json.loads(done.stdout)}
    assert (rows["Cube"]["module"], rows["Cube"]["whose"]) == ("cubes.cells", "plugin cubes")
    assert rows["CubeLoss"]["is_loss"] and rows["Cube"]["source"] == "Cubes (my_layers)."
    assert not rows["ReLU"]["is_loss"]


@pytest.fixture
def here(site: Path, nets: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The package, visible in this process, and the nets' folder as the working directory."""
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.chdir(nets)
    for cached in (plugins.installed, plugins.load_all):
        cached.cache_clear()
    yield site
    forget("cubes")


def test_check_says_that_a_plugins_layer_is_its_own_and_unproved(here: Path) -> None:
    report = cc.check(cc.read_model("net.prototxt"))
    found = {each.layer: (each.verdict, each.reason) for each in report.layers}
    unproved = ("approximate", "of a plugin (cubes.cells); nothing here proves its numbers")
    assert found["cube"] == found["loss"] == unproved
    assert found["fc"] == ("exact", "") and report.clean


def test_nets_of_known_types_import_no_plugin(here: Path) -> None:
    cc.Net(cc.parse_text(NET[: NET.index('layer { name: "cube"')], cc.NetParameter))
    main([])
    assert "cubes" not in sys.modules


BROKEN = {
    "missing": ("", "plugin 'absent': there is no such module, neither in "),
    "a file's name": ("", "without .py: --plugin mine"),
    "fails": ("import no_such_package", "cannot be imported: ModuleNotFoundError: No module named 'no_such_package' ("),
    "no Exception": ("raise GeneratorExit", "plugin 'mine' cannot be imported: GeneratorExit ("),
    "exits": ("raise SystemExit(3)", "plugin 'mine' cannot be imported: SystemExit: 3 ("),
    "a verb": (VERB.replace('"count"', '"show"'), "plugin 'mine': verb 'show' is registered twice"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_module_gives_one_line(kind: str, nets: Path) -> None:
    text, message = BROKEN[kind]
    put(nets, {"mine.py": text})
    name = {"missing": "absent", "a file's name": "mine.py"}.get(kind, "mine")
    done = caffe_compat(nets, "show", "net.prototxt", "--plugin", name)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("caffe-compat: plugin ") and message in done.stderr
    assert done.stderr.count("\n") == 1


RELU, L2 = LAYER.replace("Cube", "ReLU"), REGULARIZER.replace("Cubic", "L2")
FAILS = "import no_such_package"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            FAILS,
            "plugin 'Cube' of cubes 1.2 cannot be imported: ModuleNotFoundError: No module named 'no_such_package' (",
        ),
        ("", "plugin 'Cube': its module registers no layer type of that name"),
        (
            LAYER.replace('"""x^3."""', "bottoms = 1"),
            "plugin 'Cube' of cubes 1.2: layer type 'Cube': bottoms is 1; wanted a Count(least, most)",
        ),
        (
            LAYER.replace("(cc.Layer)", ""),
            "layer type 'Cube': <class 'cubes.cells.Cube'> is no class that derives from",
        ),
        (RELU, "plugin 'Cube' of cubes 1.2: layer type 'ReLU' is registered twice: as caffe_compat.layers.caffe."),
    ],
)
def test_a_broken_package_gives_one_line_where_it_is_needed(
    text: str, message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(here / "cubes", {"cells.py": text})
    assert main(["show", "net.prototxt"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("caffe-compat: ") and message in said and said.count("\n") == 1


@pytest.mark.parametrize("wrong", ["return [shapes[0]]", "return x ** undefined"])
def test_an_error_of_a_plugins_own_code_is_told_with_its_file_and_line(
    wrong: str, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CAFFE_COMPAT_TRACEBACK", raising=False)
    right = "return [bottom_shapes[0]]" if "shapes" in wrong else "return x ** 3"
    text = LAYER.replace(right, wrong, 1)
    put(here / "cubes", {"cells.py": text})
    line = 1 + text[: text.index(wrong)].count("\n")
    assert main(["time", "--model", "net.prototxt", "--iterations", "1"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("caffe-compat: NameError: name ") and "fault of caffe_compat" not in said
    assert f"is not defined ({here / 'cubes' / 'cells.py'}:{line}, of a plugin)" in said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (FAILS, "plugin 'Cubic' of cubes 1.2 cannot be imported: ModuleNotFoundError"),
        ("", "plugin 'Cubic': its module registers no regularizer of that name"),
        (L2, "plugin 'Cubic' of cubes 1.2: regularizer 'L2' is registered twice: as caffe_compat.solver.regularizers."),
    ],
)
def test_a_broken_regularizer_gives_one_line(
    text: str, message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(here / "cubes", {"decays.py": text})
    assert main(["solve", "solver.prototxt"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("caffe-compat: ") and message in said and said.count("\n") == 1


def test_a_solver_with_an_unknown_regularizer_names_the_known_and_the_installed(here: Path) -> None:
    text = Path("solver.prototxt").read_text().replace('"Cubic"', '"Cubik"')
    Path("solver.prototxt").write_text(text)
    with pytest.raises(cc.SolverError, match=r"did you mean 'Cubic'\? allowed: L2, L1, Cubic"):
        cc.Solver("solver.prototxt")


def test_two_packages_with_one_type_are_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    info = "others-3.dist-info"
    put(here, {f"{info}/METADATA": "Metadata-Version: 2.1\nName: others\nVersion: 3\n"})
    put(here, {f"{info}/entry_points.txt": "[caffe_compat.layers]\nCube = cubes.other\n"})
    assert main(["show", "net.prototxt"]) == 2
    said = capsys.readouterr().err
    assert "'Cube' of caffe_compat.layers is in " in said and "cubes 1.2" in said and "others 3" in said


def test_a_type_that_nobody_has_tells_which_plugins_could_not_be_asked(here: Path) -> None:
    put(here / "cubes", {"cells.py": FAILS})
    net = cc.parse_text(NET.replace('"Cube"', '"Relu"'), cc.NetParameter)
    with pytest.raises(cc.UnsupportedLayerError, match=r"'ReLU'\? plugin 'Cube' of cubes 1\.2 cannot be imported: "):
        cc.Net(net)

"""caffe-compat decompose: the fork's command line and outputs, the modern one, and bad input in one line."""

import importlib.util
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

import caffe_compat as cc
from caffe_compat.commands import main
from tests.conftest import golden

FLOWS = sorted(path.name for path in golden("decompose", "flow").iterdir() if not path.name.startswith("vh"))
NET, WEIGHTS = "net.prototxt", "net.caffemodel"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The input files of a flow, in the working directory."""

    def enter(name):
        for path in golden("decompose", "flow", name).iterdir():
            if "lowrank" not in path.name:
                shutil.copy(path, tmp_path)
        monkeypatch.chdir(tmp_path)
        return json.loads(golden("decompose", "flow", name, "meta.json").read_text())

    return enter


@pytest.mark.parametrize("name", FLOWS)
def test_the_forks_command_line_gives_the_forks_files_and_lines(name, folder, capsys):
    meta = folder(name)
    assert main(["decompose", "--prototxt", NET, "--caffemodel", WEIGHTS, *meta["args"]]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line for line in printed if line.endswith((" filters", " neurons"))] == meta["rank_info"]
    made = cc.read_model("net.prototxt.lowrank.prototxt", "net.caffemodel.lowrank.caffemodel.h5")
    assert made.net == cc.read_net(golden("decompose", "flow", name, "net.prototxt.lowrank.prototxt"))
    shapes = {layer: [list(blob.shape) for blob in blobs] for layer, blobs in made.weights.items()}
    assert shapes == meta["param_shapes"]


def test_the_modern_command_line_names_files_by_prefix_and_prints_costs(folder, capsys):
    folder("pca_ratio_convs")
    command = ["decompose", NET, WEIGHTS, "--ranks", "c1=4,f1=3", "--method", "svd,c1=separable", "--out", "small"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "c1\t4/12 filters\nf1\t3/16 neurons\n" in printed
    assert "Saved as small.prototxt\nSaved as small.caffemodel\n" in printed
    assert any(line.split()[:1] == ["total"] for line in printed.splitlines())
    made = cc.read_model("small.prototxt", "small.caffemodel")
    assert {"c1_v", "c1_h", "f1_lowrank", "f1_linear"} <= set(made.weights)


def test_keep_is_a_share_of_energy_for_every_method(folder):
    folder("pca_ratio_convs")
    assert main(["decompose", NET, WEIGHTS, "--keep=.9", "--method=svd", "--multiple=2", "--except-layers=c3"]) == 0
    made = cc.read_net("net.prototxt.lowrank.prototxt")
    ranks = {layer.name: layer.convolution_param.num_output for layer in made.layer if layer.name.endswith("lowrank")}
    assert ranks == {"c1_lowrank": 4, "c2_lowrank": 4}  # 4 and 3 at 90 % in the fork's flow pca_ratio_convs


def test_existing_files_are_kept_unless_told(folder, capsys):
    folder("pca_ratio_convs")
    command = ["decompose", NET, WEIGHTS, "--ranks=4,3,5"]
    assert main(command) == 0
    before = cc.read_net("net.prototxt.lowrank.prototxt")
    capsys.readouterr()
    assert main([*command[:-1], "--ranks=2,2,2"]) == 2
    assert capsys.readouterr().err == (
        "caffe-compat: net.prototxt.lowrank.prototxt: exists and is kept; "
        "give --force-overwrite to replace it, or another name\n"
    )
    assert cc.read_net("net.prototxt.lowrank.prototxt") == before
    assert main([*command[:-1], "--ranks=2,2,2", "--force-overwrite"]) == 0
    assert cc.read_net("net.prototxt.lowrank.prototxt") != before


def test_a_net_with_a_loss_gets_a_solver_that_trains_it(folder, capsys):
    folder("pca_ratio_convs")
    loss = 'type: "SoftmaxWithLoss" bottom: "f2" bottom: "label"'
    text = Path(NET).read_text().replace('type: "Softmax" bottom: "f2"', loss)
    label = 'layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 2 } } }\n'
    Path(NET).write_text(text.replace('layer { name: "c1"', f'{label}layer {{ name: "c1"', 1))
    Path("base.prototxt").write_text(
        'net: "net.prototxt" base_lr: 0.001 lr_policy: "step" stepsize: 9 gamma: 0.5 max_iter: 240000 momentum: 0.9\n'
        'weight_decay: 0.004 force_decay: 0.001 force_type: "Constant" snapshot_prefix: "s/x"\n'
    )
    assert main(["decompose", NET, WEIGHTS, "--keep=.9", "--solver=base.prototxt"]) == 0
    assert "AlexNet" not in capsys.readouterr().out
    solver = cc.read_solver("net.prototxt.lowrank.solver.prototxt")
    assert (solver.net, list(solver.weights)) == (
        "net.prototxt.lowrank.prototxt",
        ["net.caffemodel.lowrank.caffemodel.h5"],
    )
    assert solver.max_iter == 80000 and list(solver.stepvalue) == [30000, 60000]  # the fork's cifar10 ft_lowrank
    assert f"{solver.base_lr:.6g}" == "0.0001" and solver.lr_policy == "multistep" and not solver.HasField("stepsize")
    assert not solver.HasField("force_decay") and not solver.HasField("force_type")
    assert solver.snapshot_prefix == "s/x_lowrank" and f"{solver.weight_decay:.6g}" == "0.004"
    assert main(["decompose", NET, WEIGHTS, "--keep=.9", "--out=own"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "own.solver.prototxt fine-tunes as for AlexNet, 150,000 iterations; "
        "--solver SOLVER, what trained net.prototxt, gives its values and a third of its iterations"
    )
    assert main(["decompose", NET, WEIGHTS, "--keep=.9", "--out=told", "--json"]) == 0
    json.loads(capsys.readouterr().out)


def test_a_deploy_net_gets_no_solver(folder, tmp_path):
    folder("pca_ratio_convs")
    assert main(["decompose", NET, WEIGHTS, "--keep=.9"]) == 0
    assert not (tmp_path / "net.prototxt.lowrank.solver.prototxt").exists()


def test_grouped_layers_take_energy_and_can_be_split_first(folder):
    folder("pca_group_ranks")
    assert main(["decompose", NET, WEIGHTS, "--rankratio=.9"]) == 0  # the fork stops at an assertion here
    made = {layer.name: layer for layer in cc.read_net("net.prototxt.lowrank.prototxt").layer}
    assert made["c1_lowrank"].convolution_param.group == 2
    assert main(["decompose", NET, WEIGHTS, "--keep=.9", "--split-groups", "--out=split"]) == 0
    names = [layer.name for layer in cc.read_net("split.prototxt").layer]
    assert {"c1_slice", "c1_group0_lowrank", "c1_group1_linear", "c1_concat"} <= set(names)


@pytest.mark.parametrize("unit", ["multiply-adds", "parameters"])
def test_a_budget_is_met(unit, folder, capsys):
    folder("pca_ratio_fc")
    command = ["decompose", NET, WEIGHTS, f"--budget={unit}=0.5", "--method=pca,separable", "--enable-fc"]
    assert main(command) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith(unit))
    assert float(line.split("(")[1][:-1]) <= 0.5


def test_tucker_ranks_by_evbmf(folder):
    folder("pca_ratio_convs")
    assert main(["decompose", NET, WEIGHTS, "--evbmf"]) == 0
    names = {layer.name for layer in cc.read_net("net.prototxt.lowrank.prototxt").layer}
    assert {"c1_in", "c1_core", "c1_out"} <= names


def test_a_certificate_is_written_and_verify_finds_the_same(folder, tmp_path, capsys):
    folder("pca_group_ranks")
    assert main(["decompose", NET, WEIGHTS, "--ranks=6,6,4", "--out=small", "--certificate=made.json"]) == 0
    capsys.readouterr()
    verify = ["verify", "small.prototxt", "small.caffemodel", "--original", NET, "--original-weights", WEIGHTS]
    assert main(verify) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((tmp_path / "made.json").read_text())
    assert main([*verify, "--max-error=0.01"]) == 2
    assert "relative error" in capsys.readouterr().err
    layers = json.loads((tmp_path / "made.json").read_text())["layers"]
    weight = cc.read_weights(WEIGHTS)["c3"][0].reshape(6, -1).astype(np.float64)
    values = np.linalg.svd(weight, compute_uv=False)
    wanted = np.sqrt(np.square(values[4:]).sum() / np.square(values).sum())
    assert layers["c3"]["relative_error"] == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize(
    "words, said",
    [
        (["--ranks=4,3"], "2 ranks were given for 3 layers: c1, c2, c3"),
        (["--ranks=13,10,8"], "layer 'c1': rank 13 is out of range; the largest possible is 12"),
        (["--ranks=0,10,8"], "layer 'c1': rank 0 is too small"),
        (["--ranks=4,x,8"], "--ranks: rank is 'x'; a whole number is wanted"),
        (["--ranks=c9=4"], "layer 'c9', which is not in the net; did you mean"),
        (["--ranks=relu_c1=4"], "layer 'relu_c1' is a ReLU; only Convolution and InnerProduct layers"),
        (["--ranks=c1=4", "--method=c9=svd"], "layer 'c9', which is not in the net; did you mean"),
        (["--keep=95"], "keep is 95.0; it must be above 0 and at most 1"),
        (
            ["--rankratio=.9", "--lra_type=kmeans"],
            "--rankratio has no rule for method 'kmeans'; give --ranks or --keep",
        ),
        (["--ranks=4,3,9", "--lra_type=kmeans"], "layer 'c3': rank 9 is out of range; the largest possible is 8"),
        (["--keep=.9", "--method=pac"], "layer 'c1': method is 'pac'; known: pca, svd, kmeans"),
        (["--rank_config=none.json"], "none.json: cannot be read: No such file or directory"),
        *(
            ([way, "--except_layers=c1,q"], "--except-layers: layer 'q', which is not in the net; it has: ")
            for way in ("--keep=.9", "--ranks=c2=4", "--ranks=4,3", "--evbmf", "--budget=parameters=.9")
        ),
        (["--budget=time=.5"], "--budget time=.5: wanted UNIT=SHARE with a unit of multiply-adds, parameters, latency"),
        (["--budget=parameters=.001"], "budget 0.001 cannot be met"),
        (["--keep=.9", "--except_layers=c1,c2,c3"], "net.prototxt: there is nothing to decompose: no layer"),
    ],
)
def test_bad_input_is_one_line(words, said, folder, capsys, tmp_path):
    folder("pca_ratio_convs")
    assert main(["decompose", NET, WEIGHTS, *words]) == 2
    printed = capsys.readouterr().err.splitlines()
    assert said in printed[-1] and printed[-1].startswith("caffe-compat: ")
    assert not list(tmp_path.glob("*.lowrank.*"))


def add_layer(text):
    with open(NET, "a") as file:
        file.write(text)


CLASHES = {
    "layer": ('name: "c2_lowrank" type: "ReLU" bottom: "c1" top: "q"', "c2", "layer name 'c2_lowrank', which is taken"),
    "blob": ('name: "q" type: "ReLU" bottom: "c1" top: "c2_lowrank"', "c2", "blob name 'c2_lowrank', which is taken"),
}


@pytest.mark.parametrize("kind", CLASHES)
@pytest.mark.parametrize("words", [["--keep=.9"], ["--rankratio=.9"], ["--ranks=4,3,2"]])
def test_a_layer_that_cannot_be_decomposed_is_told_with_the_option_that_leaves_it_dense(kind, words, folder, capsys):
    folder("pca_ratio_convs")
    layer, name, said = CLASHES[kind]
    add_layer(f"layer {{ {layer} }}\n")
    assert main(["decompose", NET, WEIGHTS, *words]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert said in line and line.endswith(f"; or leave it dense: --except-layers {name}")
    words = ["--ranks=4,2"] if "--ranks=4,3,2" in words else words
    assert main(["decompose", NET, WEIGHTS, *words, "--except-layers", name]) == 0


def test_ranks_by_name_and_ranks_that_are_wrong_get_no_such_option(folder, capsys):
    folder("pca_ratio_convs")
    assert main(["decompose", NET, WEIGHTS, "--ranks=13,10,8"]) == 2
    assert "--except-layers" not in capsys.readouterr().err
    add_layer('layer { name: "c2_lowrank" type: "ReLU" bottom: "c1" top: "q" }\n')
    assert main(["decompose", NET, WEIGHTS, "--ranks=c2=3"]) == 2
    assert "which is taken; rename that layer" in (line := capsys.readouterr().err) and "--except-layers" not in line


def test_a_budget_that_leaves_every_layer_dense_is_told_of(folder, capsys):
    folder("pca_ratio_convs")
    assert main(["decompose", NET, WEIGHTS, "--budget", "multiply-adds=1"]) == 0
    assert "the budget is met with every layer dense; none is decomposed" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words, said",
    [([], "one of the arguments --keep"), (["--keep=.9", "--rankratio=.9"], "not allowed with argument --keep")],
)
def test_ranks_are_asked_for_in_one_way(words, said, folder, capsys):
    folder("pca_ratio_convs")
    with pytest.raises(SystemExit) as stopped:
        main(["decompose", NET, WEIGHTS, *words])
    assert stopped.value.code == 2 and said in capsys.readouterr().err


def test_missing_weights_are_said(folder, capsys):
    folder("pca_ratio_convs")
    assert main(["decompose", NET, "--keep=.9"]) == 2
    assert capsys.readouterr().err == "caffe-compat: weights: none given; name one, or use --caffemodel FILE\n"


def test_weights_that_are_not_finite_are_said(folder, capsys):
    folder("pca_ratio_convs")
    model = cc.read_model(NET, WEIGHTS)
    model.weights["c2"][0][0, 0, 0, 0] = np.nan
    cc.write_model(model, NET, "bad.caffemodel")
    assert main(["decompose", NET, "bad.caffemodel", "--keep=.9"]) == 2
    assert "layer 'c2': blob 0 has values that are not finite" in capsys.readouterr().err


def test_verify_has_opencvs_numbers_or_why_there_are_none(folder, capsys, monkeypatch):
    folder("pca_ratio_convs")
    assert main(["decompose", NET, WEIGHTS, "--ranks=4,3,5", "--out", "small"]) == 0
    verify = ["verify", "small.prototxt", "small.caffemodel", "--original", NET, "--original-weights", WEIGHTS]
    capsys.readouterr()
    assert main([*verify, "--no-opencv"]) == 0
    assert json.loads(capsys.readouterr().out)["opencv"] is None
    if importlib.util.find_spec("cv2"):
        assert main([*verify, "--opencv"]) == 0
        assert max(json.loads(capsys.readouterr().out)["opencv"].values()) < 1e-5
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert main(verify) == 0
    assert "pip install" in json.loads(capsys.readouterr().out)["opencv"]
    assert main([*verify, "--opencv"]) == 2


def test_costs_are_counted_without_data_where_the_weights_fit_one_size_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    layers = """layer { name: "d" type: "Data" top: "d" top: "l" data_param { source: "gone" batch_size: 4 } }
        layer { name: "c" type: "Convolution" bottom: "d" top: "c" convolution_param { num_output: 8 kernel_size: 5 } }
        layer { name: "ip" type: "InnerProduct" bottom: "c" top: "ip" inner_product_param { num_output: 2 } }
        layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "l" top: "loss" }"""
    rng = np.random.default_rng(0)
    weights = {
        "c": (rng.normal(size=(8, 1, 5, 5)), np.zeros(8)),
        "ip": (rng.normal(size=(2, 8 * 24 * 24)), np.zeros(2)),
    }
    model = cc.Model(cc.parse_text(layers, cc.NetParameter), {
        name: tuple(np.asarray(blob, np.float32) for blob in blobs) for name, blobs in weights.items()
    })  # fmt: skip
    cc.write_model(model, "n.prototxt", "n.caffemodel")
    words = ["decompose", "n.prototxt", "n.caffemodel", "--ranks", "c=2"]
    assert main([*words, "--out", "a"]) == 0
    multiply_adds, rank_2 = 24 * 24 * 8 * 25, 24 * 24 * 2 * (25 + 8)  # of images of 28 x 28, which alone fit ip
    assert f"c {multiply_adds:,} {rank_2:,}" in " ".join(capsys.readouterr().out.split())
    assert main(["decompose", "n.prototxt", "n.caffemodel", "--budget", "multiply-adds=0.5", "--out", "c"]) == 0
    assert f"multiply-adds: {multiply_adds + 2 * 8 * 24 * 24:g} -> " in capsys.readouterr().out
    text = Path("n.prototxt").read_text()
    Path("n.prototxt").write_text(text[: text.index('layer {\n  name: "ip"')])
    assert main([*words, "--out", "b"]) == 0
    assert "gone" in (said := capsys.readouterr().err) and "or tell the shapes: --input d=N,C,H,W --input l=N" in said
    assert main(["decompose", "n.prototxt", "n.caffemodel", "--budget", "multiply-adds=0.5", "--out", "d"]) == 2
    said = capsys.readouterr().err
    assert "input_shapes" not in said and "or tell the shapes: --input d=N,C,H,W --input l=N" in said

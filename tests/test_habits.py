"""Python as its users write it: one input without a name, half precision, whatever stands for a Model, notebooks."""

import copy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import caffe_compat as cc
from caffe_compat.proto.model import as_model
from tests.commands.conftest import problem  # noqa: F401 - a fixture

INPUT = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }'
FC = 'layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc" inner_product_param { num_output: 4 } }'
WEIGHTS = {"fc": (np.arange(12, dtype=np.float32).reshape(4, 3), np.ones(4, np.float32))}
X = np.array([[1, 0, 0], [0, 1, 2]], np.float32)


@pytest.fixture
def net():
    return cc.Net(cc.Model(cc.parse_text(f'name: "n" {INPUT} {FC}', cc.NetParameter), WEIGHTS))


def test_one_input_needs_no_name(net):
    wanted = X @ WEIGHTS["fc"][0].T + 1
    np.testing.assert_array_equal(net(X)["fc"].detach(), wanted)
    np.testing.assert_array_equal(net.blobs(torch.from_numpy(X))["fc"].detach(), wanted)
    with pytest.raises(cc.GraphError, match="has one input, 'data', which is given twice"):
        net(X, data=X)


def test_several_inputs_must_be_named(problem):  # noqa: F811
    with pytest.raises(cc.GraphError, match=r"name what is given, as in net\(data=x\); its inputs: data, label"):
        cc.Net("net.prototxt")(X)


@pytest.mark.parametrize(("kind", "tolerance"), [(torch.bfloat16, 2**-7), (torch.float16, 2**-10)])
def test_nets_of_half_precision_run_and_give_their_weights_as_float32(net, kind, tolerance):
    wanted = net(X)["fc"].detach()
    half = copy.deepcopy(net).to(kind)
    found = half(X)["fc"]
    assert found.dtype == kind
    torch.testing.assert_close(found.float(), wanted, rtol=tolerance, atol=0)
    assert half.weights()["fc"][0].dtype == np.float32


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_labels_whole(kind):
    text = """layer { name: "d" type: "Input" top: "x" top: "label"
                      input_param { shape { dim: 2 dim: 3000 } shape { dim: 2 } } }
              layer { name: "l" type: "SoftmaxWithLoss" bottom: "x" bottom: "label" top: "loss" }"""
    net = cc.Net(cc.parse_text(text, cc.NetParameter)).to(kind)
    scores = torch.zeros(2, 3000)
    scores[0, 2049], scores[1, 2999] = 30, 30
    assert float(net(x=scores, label=[2049, 2999])["loss"]) < 0.01
    assert net.blobs(x=scores, label=[2049, 2999])["label"].dtype == torch.float32


def test_a_net_a_solver_and_paths_stand_for_a_model(problem):  # noqa: F811
    net = cc.Net("net.prototxt")
    cc.write_model(net, "small.prototxt", "small.caffemodel")
    by_path = cc.ranks_by_energy(("small.prototxt", "small.caffemodel"), 0.9)
    assert by_path == cc.ranks_by_energy(net, 0.9) == cc.ranks_by_energy(net.given_model(), 0.9)
    solver = cc.Solver("solver.prototxt", weights="small.caffemodel")
    assert cc.ranks_by_energy(solver, 0.9) == by_path
    small = cc.decompose(solver, {"conv2": 2})
    assert cc.compare_cost("small.prototxt", small).speedup > 1
    assert cc.deploy(net, shapes={"data": (1, 1, 8, 8)}).weights.keys() == {"conv1", "conv2", "ip1"}
    with pytest.raises(TypeError, match="wanted a Model, a Net, a Solver, a path"):
        as_model(3)


def test_a_model_remembers_its_folder(problem, tmp_path_factory, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    path = problem.folder / "net.prototxt"
    assert cc.Net(cc.read_model(path)).shapes["data"] == cc.Net(path).shapes["data"] == (10, 1, 8, 8)
    net = cc.Net(path)
    assert cc.layer_costs(net)["conv1"].parameters == 60
    small = cc.decompose(net, {"conv2": 2})
    assert small.folder == problem.folder and cc.Net(small).shapes["data"] == (10, 1, 8, 8)
    assert cc.Net(copy.deepcopy(net).given_model()).shapes["data"] == (10, 1, 8, 8)


def test_a_model_is_shown_in_one_line(net):
    assert repr(net.given_model()) == "Model('n': 2 layers, 16 weights in 1 of them)"
    assert repr(cc.Model(net.param)) == "Model('n': 2 layers, no weights)"


def test_notebooks_show_tables(problem):  # noqa: F811
    net = cc.Net("net.prototxt")
    html = net._repr_html_()
    assert html.count("<tr>") == len(net.graph.nodes) - 2 + 2  # without two Splits, with header and total
    assert '<td style="text-align: left">conv1</td>' in html
    named = cc.Net(cc.parse_text(f'name: "<b>" {INPUT}', cc.NetParameter))
    assert "<b>" not in named._repr_html_() and "&lt;b&gt;" in named.given_model()._repr_html_()
    assert "times fewer multiply-adds" in cc.compare_cost(net, net)._repr_html_()
    solver = cc.Solver("solver.prototxt")
    assert "iteration 0 of 20" in repr(solver) and "iteration 0 of 20" in solver._repr_html_()


def test_callbacks_are_given_to_the_solver(problem):  # noqa: F811
    class Count:
        steps = 0

        def after_step(self, solver):
            self.steps += 1

    count = Count()
    cc.Solver("solver.prototxt", callbacks=[count]).step(3)
    assert count.steps == 3


def test_one_line_logs_a_solve_in_a_script(problem):  # noqa: F811
    script = "import caffe_compat as cc; cc.watch(cc.Solver('solver.prototxt', max_iter=6)).solve()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=problem.folder)
    assert done.returncode == 0
    Path("run.log").write_text(done.stderr)
    lines = [line for line in done.stderr.splitlines() if ", loss = " in line]
    assert [line.split("] ")[1].split(",")[0] for line in lines] == ["Iteration 0", "Iteration 5"]


def test_the_progress_bar_follows_and_goes(problem, capsys):  # noqa: F811
    solver = cc.Solver("solver.prototxt", max_iter=4)
    bar = cc.ProgressBar(solver)
    solver.callbacks.append(bar)
    solver.step(3)
    assert bar.bar.n == 3 and not bar.bar.disable
    solver.step(1)
    assert bar.bar.n == 4 and bar.bar.disable  # closed

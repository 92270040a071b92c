"""`--json` wherever a table is printed: one JSON value alone on standard output, whatever the verb."""

import json

import numpy as np
import pytest

import caffe_compat as cc
from caffe_compat.commands import VERBS, main

cv2 = pytest.importorskip("cv2")

NET, WEIGHTS = "net.prototxt", "w.caffemodel"
CALLS = {
    "test": ["--model", NET, "--weights", WEIGHTS, "--iterations", "2"],
    "classify": ["--model", "d.prototxt", "--weights", "d.caffemodel", "a.png"],
    "log": ["small"],
    "time": ["--model", NET, "--iterations", "2"],
    "layers": ["LRN"],
    "show": [NET],
    "check": [NET, WEIGHTS],
    "compare": [WEIGHTS, WEIGHTS],
    "decompose": [NET, WEIGHTS, "--ranks", "conv2=2", "--out", "low"],
    "prune": [NET, WEIGHTS, "--criterion", "l1", "--remove", "0.4", "--out", "narrow"],
    "sparsity": [NET, WEIGHTS],
    "export": ["d.prototxt", "d.caffemodel", "--format", "torch", "--out", "torch", "--no-check"],
    "data": ["info", "db"],
    "shrink": ["solver.prototxt", "--weights", WEIGHTS, "--keep", "0.5", "--fine-tune-iter", "2", "--max-iter", "2",
               "--out", "shrunk", "--force", "l1", "--force-decay", "0.001"],
}  # fmt: skip
NO_TABLE = {
    "solve": "a log", "train": "a log", "deploy": "a prototxt", "convert": "a line", "upgrade": "a line",
    "groups": "two lines", "surgery": "lines", "verify": "its certificate, JSON itself", "completion": "a shell's code",
    "python": "what the script prints",
}  # fmt: skip
MORE = {
    "show": [[WEIGHTS], ["db"]],
    "layers": [[]],
    "compare": [[NET, NET, "--weights", WEIGHTS]],
    "time": [["--compare", NET, NET, "--iterations", "2"]],
}


@pytest.fixture
def folder(problem, capsys):
    """A trained net, the one deployed from it, an image, a database, and the log of a run."""
    net = cc.Net(cc.read_net(NET))
    cc.write_net(WEIGHTS, net.param, net.weights())
    assert main(["deploy", NET, "--weights", WEIGHTS, "--out", "d.prototxt", "--out-weights", "d.caffemodel"]) == 0
    assert main(["solve", "solver.prototxt", "--max-iter", "2"]) == 0
    cv2.imwrite("a.png", np.zeros((8, 8), np.uint8))
    problem.write("images.txt", "a.png 0\n")
    assert main(["data", "imageset", "--gray", "./", "images.txt", "db"]) == 0
    capsys.readouterr()
    return problem


def test_every_verb_is_called_here_or_prints_no_table():
    assert CALLS.keys() | NO_TABLE.keys() == VERBS.keys() and not CALLS.keys() & NO_TABLE.keys()


@pytest.mark.parametrize("verb", CALLS)
def test_a_table_is_there_as_json_too(verb, folder, capsys):
    for words in [CALLS[verb], *MORE.get(verb, [])]:
        assert main([verb, *words, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert isinstance(found, dict | list) and found


@pytest.mark.parametrize("verb", NO_TABLE)
def test_a_verb_without_a_table_has_no_such_option(verb, capsys):
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    assert "--json" not in capsys.readouterr().out

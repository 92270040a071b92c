"""A small problem that every command can run: 40 images of 1 x 8 x 8 in two classes, a net, a solver."""

from pathlib import Path

import h5py
import numpy as np
import pytest

NET = """
name: "Small"
layer { name: "data" type: "HDF5Data" top: "data" top: "label"
  hdf5_data_param { source: "list.txt" batch_size: 10 } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 6 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "conv2" type: "Convolution" bottom: "conv1" top: "conv2"
  convolution_param { num_output: 5 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "ip1" type: "InnerProduct" bottom: "conv2" top: "ip1"
  inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "accuracy" type: "Accuracy" bottom: "ip1" bottom: "label" top: "accuracy" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip1" bottom: "label" top: "loss" }
"""

SOLVER = """
net: "net.prototxt"
test_iter: 4
test_interval: 10
base_lr: 0.05
lr_policy: "step"
gamma: 0.5
stepsize: 15
momentum: 0.9
weight_decay: 0.001
display: 5
max_iter: 20
snapshot: 10
snapshot_prefix: "small"
random_seed: 3
solver_mode: CPU
"""


class Problem:
    """A folder with net.prototxt, solver.prototxt, data.h5 and list.txt, which is also the working directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("net.prototxt", NET)
        self.write("solver.prototxt", SOLVER)
        self.write("list.txt", "data.h5\n")
        random = np.random.RandomState(0)
        labels = np.arange(40) % 2
        images = random.standard_normal((40, 1, 8, 8)) + labels[:, None, None, None] * np.eye(8)
        with h5py.File(folder / "data.h5", "w") as file:
            file["data"], file["label"] = images.astype(np.float32), labels.astype(np.float32)

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace `old` in a file, which must have it."""
        text = (self.folder / name).read_text()
        assert old in text
        self.write(name, text.replace(old, new))


@pytest.fixture
def problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Problem:
    monkeypatch.chdir(tmp_path)
    return Problem(tmp_path)

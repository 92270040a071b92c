"""The golden cases of the methods around the paper, and how one runs through a Solver (golden/README-methods.md).

The folder is tests/golden/methods, or what CAFFE_COMPAT_GOLDEN_METHODS names: further cases of the same form run alike.
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import torch

from caffe_compat.proto.schema import SolverParameter
from caffe_compat.proto.text import parse_text
from caffe_compat.solver import solver as solver_module
from caffe_compat.solver.config import read_config
from caffe_compat.solver.solver import Solver
from tests.conftest import golden

FOLDER = Path(os.environ.get("CAFFE_COMPAT_GOLDEN_METHODS", golden("methods")))


class Case:
    """One case: `arrays` of its npz by name, `hyper` and the rest of its json in `meta`."""

    def __init__(self, method, name, folder=FOLDER):
        self.method, self.name = method, name
        self.meta = json.loads((folder / method / f"{name}.json").read_text(encoding="utf-8"))
        self.hyper = self.meta["hyper"]
        with np.load(folder / method / f"{name}.npz") as stored:
            self.arrays = {key: stored[key] for key in stored.files}

    def __getitem__(self, key):
        return self.arrays[key]

    def __contains__(self, key):
        return key in self.arrays

    def names(self, prefix):
        """What follows `prefix` in the names of the arrays, in order."""
        return [key.removeprefix(prefix) for key in self.arrays if key.startswith(prefix)]

    @property
    def is_double(self):
        return not self.name.endswith("_f32")


def cases(method):
    """The names of every case of `method` in the folder; at least one is there."""
    return sorted(path.stem for path in (FOLDER / method).glob("*.json"))


def runner_of(runners, case):
    """The function for the kind of `case`, which is how its name begins; a kind that nobody runs fails here."""
    kinds = [kind for kind in runners if case.startswith(kind)]
    assert kinds, f"no test runs a case of the kind of '{case}'; kinds: {', '.join(runners)}"
    return runners[max(kinds, key=len)]


def close(found, wanted, relative, what=""):
    """Equal within `relative` of the largest wanted value."""
    wanted = np.asarray(wanted, dtype=np.float64)
    scale = np.abs(wanted).max() if wanted.size else 1.0
    np.testing.assert_allclose(np.asarray(found, dtype=np.float64), wanted, rtol=0, atol=relative * scale, err_msg=what)


def decimal(value):
    """The number that a prototxt had for a float32: Caffe reads 0.05 as 0.05000000074505806, Python does not."""
    return float(str(np.float32(value)))


def with_decimals(config):
    """`config` with every float32 of it as the decimal number it was written as."""
    changes = {
        field.name: with_decimals(value) if dataclasses.is_dataclass(value) else decimal(value)
        for field in dataclasses.fields(config)
        if isinstance(value := getattr(config, field.name), float) or field.name in ("force", "structure")
    }
    return dataclasses.replace(config, **changes)


class Given:
    """A Solver on `net` whose parameters get the gradients that `task` gives, in place of the net's own.

    task: (name of the parameter, iteration, weight) -> gradient of one pass. names: of the parameters, in their order.
    start: weights by name. decimals: settings are the numbers as written, not their float32s, as in authors' Python.
    """

    def __init__(self, net, fields, names, start, task, folder, double=True, decimals=True, **options):
        self.net, self.fields, self.names, self.task = net, fields, list(names), task
        self.folder, self.double, self.decimals, self.options = Path(folder), double, decimals, options
        self.solver = self._made()
        for name, param in self.params.items():
            param.data.copy_(torch.as_tensor(np.asarray(start[name])).reshape(param.shape))

    def _made(self):
        text = f'lr_policy: "fixed" snapshot_prefix: "{self.folder / "run"}" {self.fields}'
        param = parse_text(text, SolverParameter)
        param.net_param.CopyFrom(parse_text(self.net, type(param.net_param)))
        known = solver_module.read_config
        if self.decimals:
            solver_module.read_config = lambda *given: with_decimals(read_config(*given))
        try:
            made = Solver(param, **self.options)
        finally:
            solver_module.read_config = known
        if self.double:
            made.net.double()
            made.state.history = [blob.double() for blob in made.state.history]
        self.params = dict(zip(self.names, [one.tensor for one in made.net.learnable_params], strict=True))
        for name, tensor in self.params.items():
            if not tensor.requires_grad:  # lr_mult 0
                continue
            tensor.register_hook(lambda _, name=name, tensor=tensor: self._task(name, tensor))
        self.solver = made
        return made

    def _task(self, name, tensor):
        given = self.task(name, self.solver.iteration, tensor.detach())
        return torch.tensor(np.asarray(given), dtype=tensor.dtype).reshape(tensor.shape)  # a copy: solvers add to it

    def step(self, iterations=1):
        self.solver.step(iterations)

    def resume(self):
        """Stop: go on in a new Solver from the files that this one writes now."""
        path = self.solver.snapshot()
        self._made().restore(path)

    def weight(self, name):
        """The values of now, shape of the parameter."""
        return self.params[name].detach().numpy().copy()

    def history(self, name):
        return self.solver.state.history[self.names.index(name)].numpy().copy()


def beside(shapes, extras=None, group=None, stride=None):
    """(net, names): parameters of these shapes, each in a layer of its own that reads a blob of its own.

    shapes: name -> shape; 4 axes a Convolution, 2 an InnerProduct, 1 a Bias. extras: name -> fields of the layer, with
    `param { ... }` of its weight. group, stride: name -> those of the convolution.
    """
    layers = []
    for number, (name, shape) in enumerate(shapes.items()):
        extra, parts = (extras or {}).get(name, ""), (group or {}).get(name, 1)
        source = _source_shape(shape, parts)
        dims = " ".join(f"dim: {size}" for size in source)
        layers.append(
            f'layer {{ name: "in{number}" type: "DummyData" top: "in{number}" '
            f"dummy_data_param {{ shape {{ {dims} }} }} }}"
        )
        layers.append(
            f'layer {{ name: "{name}" type: "{_TYPES[len(shape)]}" bottom: "in{number}" top: "out{number}" '
            f"{extra} {_settings(shape, parts, (stride or {}).get(name, 1))} }}"
        )
        layers.append(
            f'layer {{ name: "sum{number}" type: "Reduction" bottom: "out{number}" top: "sum{number}" loss_weight: 1 }}'
        )
    return "\n".join(layers), list(shapes)


_TYPES = {4: "Convolution", 2: "InnerProduct", 1: "Bias"}


def _source_shape(shape, group):
    return (1, shape[1] * group, *shape[2:]) if len(shape) == 4 else (1, shape[-1])


def _settings(shape, group, stride):
    if len(shape) == 1:
        return ""
    if len(shape) == 2:
        return f"inner_product_param {{ num_output: {shape[0]} bias_term: false }}"
    kernel = f"kernel_h: {shape[2]} kernel_w: {shape[3]} stride: {stride}"
    return f"convolution_param {{ num_output: {shape[0]} {kernel} group: {group} bias_term: false }}"

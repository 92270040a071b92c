"""Where the tops of layers lie that loops compute one after the other, and the loops with these addresses."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, fx, nn

from caffe_compat import kernels
from caffe_compat.layers.base import Shape
from caffe_compat.layers.caffe.lrn import LRN
from caffe_compat.layers.caffe.lrn_loops import normalized_by_loop
from caffe_compat.layers.caffe.pooling import Pooling
from caffe_compat.layers.compiled import CompiledConvolution
from caffe_compat.layers.packed import PackedConvolution

_APART = 64  # floats; buffers begin at multiples
_BOTTOM, _OTHER = 2, 4  # words in which every loop has its bottom, and that of convolutions what is added
_WEIGHTS, _SOON = 6, 38  # words in which that has its weights, and those to be fetched into the caches for what follows


@dataclass(frozen=True)
class Plan:
    """Loops with their buffers; `read` has, of each input, the words and the place in them where its address stands.

    `moves` says that inputs are brought into torch.channels_last before.
    """

    run: Callable[[], None]
    outputs: list[Tensor]
    read: list[list[tuple[Any, int]]]
    held: tuple[Any, ...]  # what the loops read and write
    moves: bool = False

    def __call__(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        inputs = tuple(map(_moved, inputs)) if self.moves else inputs
        for value, places in zip(inputs, self.read, strict=True):
            for words, place in places:
                words[place] = value.data_ptr()
        self.run()
        return tuple(output.clone() for output in self.outputs)


@dataclass(frozen=True)
class _Room:
    """For the frames of every convolution, one after the other; and those convolutions, whose weights loops read."""

    frames: Tensor
    forms: list[CompiledConvolution]


def planned(row: fx.GraphModule, inputs: tuple[Tensor, ...]) -> Plan | None:
    """The plan of `row` for inputs like these; None where a loop does not compute one of its layers."""
    module = kernels.loops("sequence")
    if module is None or (module.team() is None and torch.get_num_threads() > 1):
        return None
    for each in inputs:
        if each.dim() != 4 or each.device.type != "cpu" or each.dtype != torch.float32 or each.numel() == 0:
            return None
    return _plan(module, row, inputs) or _plan(module, row, tuple(map(_moved, inputs)), moves=True)


def _plan(module: ModuleType, row: fx.GraphModule, inputs: tuple[Tensor, ...], moves: bool = False) -> Plan | None:
    nodes: list[Any] = [node for node in row.graph.nodes if node.op == "call_module"]
    modules = {node: row.get_submodule(str(node.target)) for node in nodes}
    given = [node for node in row.graph.nodes if node.op == "placeholder"]
    results: Any = row.graph.output_node().args[0]
    values, arena = _laid_out(dict(zip(given, inputs, strict=True)), nodes, modules, results)
    computed = [node for node in nodes if type(modules[node]) in COMPUTED]
    bottoms = {node: tuple(values[each] for each in node.args) for node in computed}
    room = _room([(modules[node], bottoms[node]) for node in computed])
    read: dict[fx.Node, list[tuple[Any, int]]] = {node: [] for node in given}
    with module.put_down() as calls:
        for node in computed:
            before = len(calls)
            compute = COMPUTED[type(modules[node])]
            if not compute(modules[node], bottoms[node], values[node], room) or len(calls) != before + 1:
                return None
            for place, source in zip((_BOTTOM, _OTHER), node.args, strict=False):
                if source in read:
                    read[source].append((calls[-1][1], place))
    banks = [
        words
        for node, (_, words, _) in zip(computed, calls, strict=True)
        if isinstance(modules[node], PackedConvolution)
    ]
    for words, behind in pairwise(banks):
        words[_SOON] = behind[_WEIGHTS]
    outputs, held = [values[node] for node in results], (row, arena, room)
    return Plan(module.Following(calls), outputs, list(read.values()), held, moves)


def _laid_out(
    values: dict[Any, Tensor], nodes: list[Any], modules: dict[fx.Node, nn.Module], results: Sequence[fx.Node]
) -> tuple[dict[Any, Tensor], Tensor]:
    """The top of each of `nodes` in an arena, beside `values`; and the arena, where those not needed at once overlap.

    What a concatenation brings together are channels of its top.
    """
    shapes: dict[Any, Shape] = {node: value.shape for node, value in values.items()}
    for node in nodes:
        shapes[node] = _top_shape(modules[node], [shapes[each] for each in node.args])
    wholes: dict[Any, Any] = {part: node for node in nodes if type(modules[node]) not in COMPUTED for part in node.args}
    first: dict[fx.Node, int] = {}
    last: dict[fx.Node, int] = {}
    for number, node in enumerate(nodes):
        first.setdefault(wholes.get(node, node), number)
        for each in node.all_input_nodes:
            last[wholes.get(each, each)] = number
    last |= dict.fromkeys(results, len(nodes))
    starts = _starts({whole: (math.prod(shapes[whole]), first[whole], last[whole]) for whole in first})
    size = max(start + math.prod(shapes[whole]) for whole, start in starts.items())
    arena = torch.empty(size, dtype=torch.float32, device="cpu")
    for whole, start in starts.items():
        values[whole] = _images(arena[start:], shapes[whole])
    for whole in dict.fromkeys(wholes.values()):
        parts = values[whole].split([shapes[part][1] for part in whole.args], 1)  # type: ignore[no-untyped-call]
        values |= dict(zip(whole.args, parts, strict=True))
    return values, arena


def _starts(needed: dict[fx.Node, tuple[int, int, int]]) -> dict[fx.Node, int]:
    """Where each buffer begins, of which its size and its first and its last use are known: as low as there is room."""
    starts: dict[fx.Node, int] = {}
    for node, (size, first, last) in sorted(needed.items(), key=lambda each: each[1][1]):
        taken = sorted(
            (start, start + needed[other][0])
            for other, start in starts.items()
            if needed[other][1] <= last and first <= needed[other][2]
        )
        start = 0
        for begin, end in taken:
            if start + size <= begin:
                break
            start = max(start, -(-end // _APART) * _APART)
        starts[node] = start
    return starts


def _moved(image: Tensor) -> Tensor:
    return image.contiguous(memory_format=torch.channels_last)


def _images(floats: Tensor, shape: Shape) -> Tensor:
    batch, channels, height, width = shape
    return floats[: math.prod(shape)].view(batch, height, width, channels).permute(0, 3, 1, 2)


def _room(layers: list[tuple[nn.Module, tuple[Tensor, ...]]]) -> _Room:
    sizes = [0]
    for module, bottoms in layers:
        if isinstance(module, PackedConvolution):
            form = module.compiled(*bottoms)
            sizes.append(form.frames() if form is not None else 0)
    return _Room(torch.empty(max(sizes), dtype=torch.uint8, device="cpu"), [])


def _top_shape(module: Any, shapes: list[Shape]) -> Shape:
    shape: Shape = module.top(shapes[0]) if isinstance(module, PackedConvolution) else module.top_shapes(shapes)[0]
    return shape


def _convolved(module: PackedConvolution, bottoms: tuple[Tensor, ...], top: Tensor, room: _Room) -> bool:
    form = module.compiled(*bottoms)
    if form is None:
        return False
    form.run(bottoms[0], bottoms[1] if len(bottoms) > 1 else None, top, room.frames)
    room.forms.append(form)  # the module keeps those of its last shapes alone
    return True


def _pooled(module: Pooling, bottoms: tuple[Tensor, ...], top: Tensor, room: _Room) -> bool:
    return module.by_loop(bottoms[0], module.plan(bottoms[0].shape), top) is not None


def _normalized(module: LRN, bottoms: tuple[Tensor, ...], top: Tensor, room: _Room) -> bool:
    return normalized_by_loop(bottoms[0], module.rule, top) is not None


# by class: a function that computes (layer, bottoms, top, room) with one loop, if that can be
COMPUTED: dict[type, Callable[[Any, tuple[Tensor, ...], Tensor, _Room], bool]] = {
    PackedConvolution: _convolved,
    Pooling: _pooled,
    LRN: _normalized,
}

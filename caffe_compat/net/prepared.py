"""A TEST net made ready for many passes without gradients: layers that go into the one before them, packed weights.

Of conv -> BatchNorm -> Scale -> ReLU one operation is left, of conv -> Eltwise SUM -> ReLU as well; Splits and Dropouts
go. What is left computes the same outputs to rounding, which the first pass of each kind verifies.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn

from caffe_compat.errors import GraphError
from caffe_compat.layers.base import Layer
from caffe_compat.layers.caffe.activation import ReLU
from caffe_compat.layers.caffe.convolution import Convolution
from caffe_compat.layers.caffe.dropout import Dropout
from caffe_compat.layers.caffe.eltwise import Eltwise
from caffe_compat.layers.caffe.split import Split
from caffe_compat.layers.packed import PackedConvolution, can_be_packed, packed
from caffe_compat.net import backends
from caffe_compat.net.channelwise import caffes_affine
from caffe_compat.net.followed import followed
from caffe_compat.showing import nearest

if TYPE_CHECKING:
    from caffe_compat.net.net import Net

TOLERANCE = 1e-5  # of the largest value of an output
_MOST_COMPILED = 8  # shapes of inputs for which a backend keeps the net
_ONCE = frozenset({"HDF5Output", "Python", "DetectionEvaluate"})  # what they do may not be done twice, as by the check
_OURS = "caffe_compat.layers."
_log = logging.getLogger(__name__)


class PreparedNet:
    """`net` as a function of its inputs that gives its outputs, or the blobs `names`, faster; it has no gradients.

    The net stays as it is, and what is done to its blobs through torch is seen, `.to()` too: they are packed anew.
    After changes that torch does not count, as through `.data` or NumPy views, prepare again.

    Values lie within 1e-5 of the largest of each blob; where the first pass of a kind finds them farther off, as in
    bfloat16, the net runs as it is, with a warning. So do nets with in-place layers that overwrite what others read,
    and with layers that write files, count images, or are of Python or a plugin, without one.

    With a `backend` (one of BACKENDS) the net is written as ONNX and runs there, in float32 on the CPU; its first pass
    for inputs of new shapes is compared with the net's, and GraphError tells a blob that is off by more than 1e-4 of
    its largest value.

    GraphError for a net of another phase than TEST, and for a blob that it lacks; DataError without the backend.
    """

    def __init__(self, net: Net, names: tuple[str, ...] | None = None, backend: str | None = None) -> None:
        if net.graph.phase != "TEST":
            raise GraphError(
                f"net '{net.graph.name}' is built for {net.graph.phase}; only a net of phase TEST can be prepared"
            )
        for name in names or ():
            if name not in net.shapes:
                raise GraphError(f"net '{net.graph.name}' has no blob '{name}'; {nearest(name, net.shapes)}")
        if backend is not None:
            backends.refuse_unknown(backend)
        self.net, self.names, self.backend = net, names, backend
        self._programs: dict[frozenset[str], nn.Module] = {}
        self._compiled: dict[tuple[Any, ...], backends.Run] = {}
        self._checked: set[frozenset[str]] = set()
        self._packed_for: tuple[Any, ...] = ()
        self._packed: Sequence[Tensor] = ()  # the blobs, kept so that no others get their ids
        self._blobs = [
            module._parameters for module in net.modules() if module._parameters
        ]  # quicker than parameters()

    def __call__(self, only: Any = None, /, **inputs: Any) -> dict[str, Tensor]:
        """The outputs, or the blobs asked for, by name, for inputs as `Net.forward` takes them."""
        return self._run(only, inputs)[0]

    def forward_with_loss(self, /, **inputs: Any) -> tuple[dict[str, Tensor], Tensor]:
        """The outputs, and the total loss, a scalar, as `Net.forward_with_loss`; GraphError with a backend."""
        if self.backend is not None:
            raise GraphError(f"net '{self.net.graph.name}': {self.backend} gives blobs and no loss; prepare it without")
        outputs, loss = self._run(None, inputs)
        return outputs, torch.zeros(()) if loss is None else loss  # a net without losses

    def __reduce__(self) -> tuple[Any, ...]:
        """Copied and pickled as its net, whose copy is prepared anew."""
        return PreparedNet, (self.net, self.names, self.backend)

    @torch.no_grad()
    def _run(self, only: Any, inputs: Mapping[str, Any]) -> tuple[dict[str, Tensor], Tensor | None]:
        values = self.net.values_for(only, inputs)
        blobs = [blob for own in self._blobs for blob in own.values() if blob is not None]
        state = (_versions(blobs), *map(id, blobs), *{(blob.dtype, blob.device) for blob in blobs})
        if state != self._packed_for:
            self._programs.clear()
            self._compiled.clear()
            self._checked.clear()
            self._packed_for, self._packed = state, blobs
        if self.backend is not None:
            return self._run_there(self.backend, values), None
        key = frozenset(values)
        program = self._programs.get(key)
        if program is None:
            program = self._programs[key] = self._made(key)
        given = [values[name] for name in self.net.input_names if name in values]
        outputs, loss = program(*given)
        if key not in self._checked:
            self._checked.add(key)
            outputs = self._verified(key, given, outputs)
        return outputs, loss

    def _run_there(self, backend: str, values: dict[str, Tensor]) -> dict[str, Tensor]:
        shapes = tuple(sorted((name, tuple(value.shape)) for name, value in values.items()))
        if shapes in self._compiled:
            return self._compiled[shapes](values)
        plain = self.net.program(frozenset(values), self.names)
        wanted: dict[str, Tensor] = plain(*(values[name] for name in self.net.input_names if name in values))[0]
        run = backends.compiled(backend, self.net, list(wanted), values)
        found = run(values)
        for name, value in wanted.items():
            if not _is_close(found[name], value, backends.TOLERANCE):
                raise GraphError(
                    f"net '{self.net.graph.name}': in {backend} blob '{name}' differs by more than "
                    f"{backends.TOLERANCE:g} of its largest value; prepare it without"
                )
        while len(self._compiled) >= _MOST_COMPILED:
            del self._compiled[next(iter(self._compiled))]
        self._compiled[shapes] = run
        return wanted

    def _made(self, key: frozenset[str]) -> nn.Module:
        plain = self.net.program(key, self.names)
        if self.net.hazards.touched or self._acts():
            self._checked.add(key)  # there is nothing to check, and no second pass
            return plain
        return followed(fused(plain))

    def _acts(self) -> bool:
        """Whether a layer may do more than compute: one of _ONCE, or a plugin's, of which that is not known."""
        return any(
            node.param.type in _ONCE or not type(layer).__module__.startswith(_OURS) for node, layer in self.net.steps
        )

    def _verified(self, key: frozenset[str], given: list[Tensor], found: dict[str, Tensor]) -> dict[str, Tensor]:
        """The plain net's outputs, by which the prepared ones are judged; where they differ the plain program stays."""
        plain = self.net.program(key, self.names)
        wanted: dict[str, Tensor] = plain(*given)[0]
        wrong = [name for name, value in wanted.items() if not _is_close(found[name], value)]
        if wrong:
            _log.warning(
                "net '%s' runs as it is: prepared, its blob '%s' differs by more than %g of its largest value",
                self.net.graph.name, wrong[0], TOLERANCE,
            )  # fmt: skip
            self._programs[key] = plain
        return wanted


def _versions(blobs: Sequence[Tensor]) -> int:
    """How often torch has written on them in all; of tensors made in inference mode it counts nothing."""
    try:
        return sum(blob._version for blob in blobs)
    except RuntimeError:
        return sum(0 if blob.is_inference() else blob._version for blob in blobs)


def _is_close(found: Tensor, wanted: Tensor, tolerance: float = TOLERANCE) -> bool:
    if found.shape != wanted.shape:
        return False
    most = wanted.abs().nan_to_num(0, 0).max().item() if wanted.numel() else 0.0
    return torch.allclose(found, wanted, rtol=0, atol=tolerance * most, equal_nan=True)


def fused(program: fx.GraphModule) -> fx.GraphModule:
    """`program` with one packed operation for every filter bank and what follows it."""
    graph = fx.Graph()
    graph.output(graph.graph_copy(program.graph, {}))
    fusion = _Fusion(graph, dict(program.named_children()))
    for node in list(graph.nodes):
        fusion.skip(node)
    for node in list(graph.nodes):
        fusion.pack(node)
    for node in list(graph.nodes):
        fusion.add(node)
    for node in graph.nodes:
        fusion.widen(node)
    graph.lint()
    return fx.GraphModule(fusion.modules, graph, class_name="Prepared")


class _Fusion:
    """A program's graph on its way; `modules` by target, new ones among them."""

    def __init__(self, graph: fx.Graph, modules: dict[str, nn.Module]) -> None:
        self.graph, self.modules = graph, modules

    def skip(self, node: fx.Node) -> None:
        """Take out a layer that hands its bottom on."""
        layer = self._layer(node)
        if type(layer) is Split:
            tops = [node] if len(layer.param.top) == 1 else list(node.users)
        elif type(layer) is Dropout and not layer.draws:
            tops = [node]
        else:
            return
        for top in tops:
            top.replace_all_uses_with(node.all_input_nodes[0])
            if top is not node:
                self.graph.erase_node(top)
        self.graph.erase_node(node)

    def pack(self, node: fx.Node) -> None:
        """Put a packed module in place of a filter bank, and of what scales, shifts and rectifies its top."""
        layer = self._layer(node)
        if layer is None or not can_be_packed(layer):
            return
        shape = (1, layer.outputs, 1, 1) if isinstance(layer, Convolution) else (1, layer.outputs)
        terms, chain = [], [node]
        while (follower := self._only_layer_behind(chain[-1])) is not None:
            affine = caffes_affine(self._layer(follower), [shape])
            if affine is None:
                break
            terms.append((torch.from_numpy(affine.scale), torch.from_numpy(affine.shift)))
            chain.append(follower)
        slope = self._slope(follower)
        if follower is not None and slope is not None:
            chain.append(follower)
        self._replace(chain, packed(layer, terms, slope), node.all_input_nodes)

    def add(self, node: fx.Node) -> None:
        """Let the later bottom of an Eltwise, a packed convolution that it alone reads, add the other and rectify."""
        layer, bottoms = self._layer(node), node.all_input_nodes
        if type(layer) is not Eltwise or layer.operation != "SUM" or len(bottoms) != 2 or len(node.args) != 2:
            return
        if any(coefficient != 1 for coefficient in layer.coefficients):
            return
        position = {one: number for number, one in enumerate(self.graph.nodes)}
        other, bank = sorted(bottoms, key=lambda bottom: position[bottom])
        module = self._layer(bank)
        if not isinstance(module, PackedConvolution) or module.slope is not None or len(bank.users) > 1:
            return
        if len(bank.all_input_nodes) > 1:  # it adds something already
            return
        behind = self._only_layer_behind(node)
        module.slope = self._slope(behind)
        chain = [bank, node] if behind is None or module.slope is None else [bank, node, behind]
        self._replace(chain, module, [*bank.all_input_nodes, other])

    def widen(self, node: fx.Node) -> None:
        """Let a packed convolution that only another reads have as many channels as are computed at once."""
        module, readers = self._layer(node), list(node.users)
        if not isinstance(module, PackedConvolution) or len(node.args) > 1:  # what it adds has no channels more
            return
        if len(readers) == 1 and readers[0].args[:1] == (node,):
            reader = self._layer(readers[0])
            if isinstance(reader, PackedConvolution) and node not in readers[0].args[1:]:
                module.widen(reader)

    def _layer(self, node: fx.Node) -> Any:
        return self.modules.get(str(node.target)) if node.op == "call_module" else None

    def _only_layer_behind(self, node: fx.Node) -> fx.Node | None:
        """The call that alone reads what `node` gives, if it reads nothing else."""
        users = list(node.users)
        alone = len(users) == 1 and isinstance(self._layer(users[0]), Layer) and users[0].args == (node,)
        return users[0] if alone else None

    def _slope(self, node: fx.Node | None) -> float | None:
        layer = None if node is None else self._layer(node)
        return layer.negative_slope if type(layer) is ReLU else None

    def _replace(self, chain: list[fx.Node], module: nn.Module, bottoms: list[fx.Node]) -> None:
        """One call of `module`, under the name of the first, in place of a chain of calls."""
        target = str(chain[0].target)
        self.modules[target] = module
        with self.graph.inserting_before(chain[0]):
            made = self.graph.call_module(target, tuple(bottoms))
        chain[-1].replace_all_uses_with(made)
        for node in reversed(chain):
            self.graph.erase_node(node)

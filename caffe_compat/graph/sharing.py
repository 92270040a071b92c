"""Which blob versions are one array in Caffe's memory, what overwrites it, and who reads it afterwards.

Which blob versions are one array, data or diff:

    sharing = share_arrays(graph)
    sharing.same_data(Blob("conv1"))          # every blob version whose data is the same array; same_diff: whose diff
    sharing.data[first] == sharing.data[second]
    sharing.left(Blob("conv1"))               # the version that lies in that array after a forward pass
    sharing.content(Blob("conv1"), at=7)      # ... when node number 7 is about to run
    sharing.writes[sharing.data[blob]]        # (node, version) of everything that writes the array, in forward order
    sharing.reads[sharing.data[blob]]         # (node, number of the bottom) of everything that reads it

A blob has two arrays, data and diff. A layer in place has its bottom's for its top (one Blob of Caffe). Split gives its
tops the data of its bottom, not the diff; Flatten and Reshape give both, and so do Concat of one bottom and Slice of
one top. Every other layer, Eltwise included, writes into an array of its own (src/caffe/layers at 9b89154: ShareData
and ShareDiff). `hazards.find_hazards` tells where that changes what a net computes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from caffe_compat.graph.wiring import Blob, Node
from caffe_compat.proto.schema import TEST

_SHARING = frozenset({"Flatten", "Reshape"})


@dataclass(frozen=True)
class Sharing:
    """The arrays of a net by number. `origin`: the version that wrote what a blob holds when it is made."""

    data: Mapping[Blob, int]
    diff: Mapping[Blob, int]
    writes: tuple[tuple[tuple[int, Blob], ...], ...]
    reads: tuple[tuple[tuple[int, int], ...], ...]
    origin: Mapping[Blob, Blob]

    def same_data(self, blob: Blob) -> tuple[Blob, ...]:
        """All blob versions whose data is the same array as that of `blob`, itself included, in forward order."""
        return tuple(each for each, array in self.data.items() if array == self.data[blob])

    def same_diff(self, blob: Blob) -> tuple[Blob, ...]:
        """As `same_data`, of the gradient."""
        return tuple(each for each, array in self.diff.items() if array == self.diff[blob])

    def content(self, blob: Blob, at: int) -> Blob:
        """The version that lies in the data of `blob` when node number `at` is about to run."""
        return [version for number, version in self.writes[self.data[blob]] if number < at][-1]

    def left(self, blob: Blob) -> Blob:
        """The version that lies in the data of `blob` after a forward pass."""
        return self.writes[self.data[blob]][-1][1]

    def overwritten(self, blob: Blob, after: int) -> tuple[int, ...]:
        """The nodes behind node number `after` that write other values into the data of `blob`, in forward order."""
        return tuple(number for number, _ in self.writes[self.data[blob]] if number > after)


def share_arrays(nodes: Sequence[Node]) -> Sharing:
    """The arrays of the blobs of `nodes` (of a Graph, or of those of its nodes that run), in forward order."""
    data: dict[Blob, int] = {}
    diff: dict[Blob, int] = {}
    origin: dict[Blob, Blob] = {}
    writes: list[list[tuple[int, Blob]]] = []
    reads: list[list[tuple[int, int]]] = []
    diffs = 0
    for number, node in enumerate(nodes):
        for index, bottom in enumerate(node.bottoms):
            if bottom in data:
                reads[data[bottom]].append((number, index))
        shared = dict(shared_tops(node))
        for index, top in enumerate(node.tops):
            bottom = node.bottoms[shared[index]] if index in shared else top
            if bottom is not top and bottom in data:
                data[top] = data[bottom]
            else:
                data[top] = len(writes)
                writes.append([])
                reads.append([])
            if bottom is not top and bottom in diff and (shares_diff(node) or not shares_data(node)):
                diff[top] = diff[bottom]
            else:
                diff[top], diffs = diffs, diffs + 1
            written = writes[data[top]]
            if written and keeps_values(node):
                origin[top] = written[-1][1]
            else:
                origin[top] = top
                written.append((number, top))
    return Sharing(data, diff, tuple(map(tuple, writes)), tuple(map(tuple, reads)), origin)


def shared_tops(node: Node) -> Iterator[tuple[int, int]]:
    """(top, bottom): the numbers of the tops of `node` that have the data of one of its bottoms."""
    if not node.bottoms:
        return
    if shares_data(node):
        yield from ((index, 0) for index in range(len(node.tops)))
        return
    yield from ((k, k) for k in in_place_tops(node))


def shares_data(node: Node) -> bool:
    """Whether every top of `node` has the data of bottom 0, whatever their names."""
    return node.param.type == "Split" or shares_diff(node)


def shares_diff(node: Node) -> bool:
    """Whether every top of `node` has the data and the diff of bottom 0, whatever their names."""
    kind = node.param.type
    alone = (kind == "Concat" and len(node.bottoms) == 1) or (kind == "Slice" and len(node.tops) == 1)
    return bool(node.bottoms) and (kind in _SHARING or alone)


def in_place_tops(node: Node) -> list[int]:
    """The numbers of the tops of `node` that are its bottom of the same number."""
    pairs: Iterable[tuple[Blob, Blob]] = zip(node.tops, node.bottoms, strict=False)
    return [k for k, (top, bottom) in enumerate(pairs) if top.name == bottom.name]


def keeps_values(node: Node) -> bool:
    """Whether a layer that shares its bottom's data leaves it as it was: Split and its like, Dropout while testing."""
    return not in_place_tops(node) or (node.param.type == "Dropout" and node.param.phase == TEST)

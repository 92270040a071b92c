"""The vectors that pycaffe gives: lists of one type of item, equal to nothing else (Boost's indexing suite)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

from caffe_compat.pycaffe.bindings import Bound, whole


class Vector(Bound):
    """A list whose items are of one type. IndexError behind the end, TypeError for another kind of index or item."""

    kind: ClassVar[tuple[type, ...]] = (object,)

    def __init__(self, items: Iterable[Any] = ()) -> None:
        self._items: list[Any] = list(items)

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)

    def __contains__(self, item: Any) -> bool:
        return any(item is one or (isinstance(item, self.kind) and item == one) for one in self._items)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return type(self)(self._items[index])
        return self._items[self._place(index)]

    def __setitem__(self, index: Any, item: Any) -> None:
        if isinstance(index, slice):
            self._items[index] = [self._checked(one) for one in item]
        else:
            self._items[self._place(index)] = self._checked(item)

    def __delitem__(self, index: Any) -> None:
        del self._items[index if isinstance(index, slice) else self._place(index)]

    def append(self, item: Any) -> None:
        self._items.append(self._checked(item))

    def extend(self, items: Iterable[Any]) -> None:
        self._items.extend([self._checked(one) for one in items])

    def _place(self, index: Any) -> int:
        if not isinstance(index, int):
            raise TypeError("Invalid index type")
        place = index + len(self._items) if index < 0 else index
        if not 0 <= place < len(self._items):
            raise IndexError("Index out of range")
        return place

    def _checked(self, item: Any) -> Any:
        if not isinstance(item, self.kind):
            raise TypeError("Attempting to append an invalid type")
        return item


class IntVec(Vector):
    kind = (int,)


class StringVec(Vector):
    kind = (str,)


class DtypeVec(Vector):
    kind = (float, int)


class BoolVec(Vector):
    kind = (bool,)


class RawBlobVec(Vector):
    """Blobs of a net, or the bottoms or tops of a layer."""


class ViewVec(Vector):
    """Items that are given as what `view` makes of them, each time anew."""

    def __init__(self, items: Iterable[Any] = (), view: Callable[[Any], Any] = lambda item: item) -> None:
        super().__init__(items)
        self._view = view

    def __iter__(self) -> Iterator[Any]:
        return map(self._view, self._items)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return type(self)(self._items[index], self._view)
        return self._view(super().__getitem__(index))


class LayerVec(ViewVec):
    """The layers of a net."""


class NetVec(ViewVec):
    """Nets of a solver: a new Net object each time, on the same net."""


class BlobVec(Vector):
    """The learnable blobs of a layer."""

    def _checked(self, item: Any) -> Any:
        from caffe_compat.pycaffe.blob import Blob  # a blob's shape is a vector too

        if not isinstance(item, Blob):
            raise TypeError("Attempting to append an invalid type")
        return item

    def add_blob(self, *shape: int, **kwargs: Any) -> None:
        """Append a blob of zeros."""
        from caffe_compat.pycaffe.blob import Blob  # a blob's shape is a vector too

        if kwargs:
            raise RuntimeError("BlobVec.add_blob takes no kwargs")
        self._items.append(Blob(tuple(whole("add_blob", size) for size in shape)))

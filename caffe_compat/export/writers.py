"""What each Caffe type becomes in a format: a table of functions that register by the types they write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

Called = TypeVar("Called")
Writer = Callable[[Called], None]


class Inexpressible(Exception):
    """Why a format has no form for a layer."""


class Writers(dict[str, Writer[Called]], Generic[Called]):
    """{type: what writes a layer of it}; what it is given is the format's own."""

    def of(self, *types: str) -> Callable[[Writer[Called]], Writer[Called]]:
        """Register the function below as what writes layers of these types."""

        def add(writer: Writer[Called]) -> Writer[Called]:
            self.update(dict.fromkeys(types, writer))
            return writer

        return add

"""The campaign's own layer type, for its tests alone."""

from collections.abc import Iterator

import pytest

from caffe_compat.layers import registry
from reproductions.gpu import images


@pytest.fixture(autouse=True)
def arrays_are_known() -> Iterator[None]:
    images.know_arrays()
    yield
    registry._classes.pop("ArrayData")

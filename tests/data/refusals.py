"""The one line that says why something is refused."""

import pytest

from caffe_compat.errors import DataError


def error_of(call, *arguments, **options) -> str:
    """The message of the DataError that `call` ends with; it must be one line."""
    with pytest.raises(DataError) as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)

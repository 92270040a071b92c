"""What layers without bottoms have in common."""

import warnings

import numpy as np
import pytest
import torch

from caffe_compat.errors import DataError
from caffe_compat.layers.source import as_numbers
from tests.layers.sources import layer_of


def test_forward_passes_tops_on_as_float():
    layer = layer_of('name: "i" type: "Input" top: "a" top: "b"')
    passed = layer(torch.arange(3), torch.ones(2, dtype=torch.float64))
    assert [top.dtype for top in passed] == [torch.float32] * 2
    assert [top.dtype for top in layer.double()(torch.arange(3), torch.ones(2))] == [torch.float64] * 2


IMAGE = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


@pytest.mark.parametrize(
    "given",
    [
        IMAGE[::-1, :, ::-1][::-1, :, ::-1],
        IMAGE.astype(">f4"),
        np.frombuffer(IMAGE.tobytes(), np.float32).reshape(IMAGE.shape),
        IMAGE.astype(np.longdouble),
        IMAGE.astype(np.uint16),
        np.ma.array(IMAGE),
        [*IMAGE],
        [torch.tensor(each) for each in IMAGE],
        IMAGE.tolist(),
    ],
    ids=["turned", "big-endian", "read-only", "long-double", "uint16", "masked", "arrays", "tensors", "lists"],
)
def test_anything_that_is_an_array_of_numbers_may_be_given_without_a_warning(given):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert as_numbers(given, "data").tolist() == IMAGE.tolist()


def test_what_torch_can_share_is_not_copied():
    array, tensor = IMAGE.copy(), torch.ones(2)
    assert as_numbers(array, "data").data_ptr() == array.ctypes.data
    assert as_numbers(tensor, "data") is tensor


@pytest.mark.parametrize(
    "given, found",
    [
        (None, "NoneType"),
        ("image.png", "str"),
        (IMAGE * 1j, "complex64"),
        ([[1, 2], [3]], "list"),
        (np.array([IMAGE, None], object), "object"),
        (torch.ones(2).to_sparse(), "torch.sparse_coo"),
        (torch.ones(2) * 1j, "torch.complex64"),
    ],
)
def test_what_is_no_array_of_numbers_is_told_with_its_blob(given, found):
    with pytest.raises(DataError, match=f"blob 'data': wanted a.* of numbers, found .*{found}"):
        as_numbers(given, "data")

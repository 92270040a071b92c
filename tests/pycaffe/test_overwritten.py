"""What backward reads again and what forward has kept, where a script, a callback or another pass writes in between."""

import numpy as np
import pytest

import caffe_compat.pycaffe as caffe
from tests.conftest import golden
from tests.pycaffe.overwritten import NETS, every_diff


@pytest.mark.parametrize("name", NETS)
def test_gradients_are_those_of_real_pycaffe(name: str) -> None:
    found = every_diff(caffe, name)
    with np.load(golden("pycaffe_overwritten", f"{name}.npz")) as wanted:
        assert list(found) == list(wanted["names"])
        values = np.split(wanted["values"], np.cumsum([each.size for each in found.values()])[:-1])
    for (key, each), value in zip(found.items(), values, strict=True):
        np.testing.assert_allclose(each.ravel(), value, rtol=1e-4, atol=2e-6, err_msg=key)

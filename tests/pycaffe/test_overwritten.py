"""What backward reads again and what forward has kept, where a script, a callback or another pass writes in between."""

import numpy as np
import pytest

import caffe_compat.pycaffe as caffe
from tests.conftest import golden
from tests.pycaffe.overwritten import NETS, runs


@pytest.mark.parametrize("name", NETS)
def test_gradients_are_those_of_real_pycaffe(name: str) -> None:
    with np.load(golden("pycaffe_overwritten", f"{name}.npz")) as wanted:
        found = {f"{done}: {blob}": diff for done, diffs in runs(caffe, name) for blob, diff in diffs.items()}
        assert found.keys() == set(wanted.files)
        for key, values in found.items():
            np.testing.assert_allclose(values, wanted[key], rtol=1e-4, atol=2e-6, err_msg=key)

"""Packages that only some scripts need."""

import pytest

from caffe_compat.pycaffe.optional import needed


def test_a_missing_package_is_the_error_of_its_import_as_in_pycaffe():
    with pytest.raises(
        ModuleNotFoundError, match=r"detect_selective_search needs no_such_package .*caffe_compat"
    ) as caught:
        needed("no_such_package", "detect_selective_search")
    assert caught.value.name == "no_such_package"

"""The types that have blobs are those whose classes make some."""

import importlib
import inspect
import pkgutil

import caffe_compat.layers
from caffe_compat.layers import registry
from caffe_compat.layers.base import Layer
from caffe_compat.layers.table import layer_types
from caffe_compat.net.missing import WITH_BLOBS


def test_the_types_with_blobs_are_those_whose_classes_add_them():
    for module in pkgutil.walk_packages(caffe_compat.layers.__path__, "caffe_compat.layers."):
        importlib.import_module(module.name)
    found = set()
    for name in layer_types():
        param = caffe_compat.NetParameter().layer.add(name="x", type=name)
        classes = [each for each in registry.layer_class(param).__mro__ if issubclass(each, Layer)]
        if any("add_blob" in inspect.getsource(each) for each in classes if each is not Layer):
            found.add(name)
    assert found - {"Python"} == WITH_BLOBS

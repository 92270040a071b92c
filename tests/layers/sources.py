"""Source layers set up alone, from text or from a golden net."""

from google.protobuf import text_format

from caffe_compat.layers.base import Context
from caffe_compat.layers.registry import create_layer
from caffe_compat.proto.schema import LayerParameter, NetParameter


def layer_of(text, phase="TRAIN", folder=None):
    layer = create_layer(text_format.Parse(text, LayerParameter()), Context(phase=phase, folder=folder))
    layer.setup([])
    return layer


def golden_layer(path, phase="TEST"):
    net = text_format.Parse(path.read_text(), NetParameter())
    layer = create_layer(net.layer[0], Context(phase=phase, folder=path.parent))
    layer.setup([])
    return layer

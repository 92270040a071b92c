"""NetSpec beyond what the golden scripts ask: SSD's additions, and that they never stand before a top of that name."""

import pytest

import caffe_compat.pycaffe as caffe
from caffe_compat.pycaffe import layers as L


def test_what_ssds_netspec_adds_is_there_until_a_top_has_the_name() -> None:
    spec = caffe.NetSpec()
    spec.data = L.Input(shape={"dim": [1, 3]})
    spec.ip = L.InnerProduct(spec.data, num_output=2)
    assert spec.keys() == ["data", "ip"] and spec.vals() == [spec.data, spec.ip]
    spec.update("ip", {"num_output": 5})
    assert spec.to_proto().layer[1].inner_product_param.num_output == 5
    spec.keys = L.ReLU(spec.ip)
    assert spec.keys.fn.type_name == "ReLU"
    with pytest.raises(KeyError):
        _ = spec.nothing


def test_of_two_fields_of_one_message_caffes_own_gets_the_value() -> None:
    """ReLUParameter is the message of relu_param, and of relu6_param of a fork."""
    layer = caffe.to_proto(L.ReLU(L.Input(), negative_slope=0.5)).layer[1]
    assert layer.relu_param.negative_slope == 0.5 and not layer.HasField("relu6_param")

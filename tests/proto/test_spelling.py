"""What others read differently when it is left out is written out, and says the same."""

from caffe_compat.proto.schema import NetParameter
from caffe_compat.proto.spelling import spell_out_norms
from caffe_compat.proto.text import parse_text


def test_alpha_of_an_lrn_is_written_out_where_it_is_missing():
    net = parse_text(
        'layer { name: "a" type: "LRN" lrn_param { local_size: 3 } } layer { name: "b" type: "LRN" } '
        'layer { name: "c" type: "LRN" lrn_param { alpha: 0.5 } } layer { name: "d" type: "ReLU" }',
        NetParameter,
    )
    spell_out_norms(net)
    assert [(layer.lrn_param.alpha, layer.HasField("lrn_param")) for layer in net.layer] == [
        (1, True), (1, True), (0.5, True), (1, False)
    ]  # fmt: skip

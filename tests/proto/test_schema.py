"""The compiled schema that the package ships."""

import pytest

from tests.conftest import ROOT


def test_schema_file_is_what_the_compiler_makes_of_the_proto(tmp_path):
    protoc = pytest.importorskip("grpc_tools.protoc")
    output = tmp_path / "caffe.binpb"
    assert protoc.main(["", f"-I{ROOT / 'protos'}", f"--descriptor_set_out={output}", "caffe.proto"]) == 0
    assert output.read_bytes() == (ROOT / "caffe_compat" / "proto" / "caffe.binpb").read_bytes()

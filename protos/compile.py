"""Compile Caffe's schema and what forks add to it: python protos/compile.py [OUTPUT]   (needs grpcio-tools)

Given: `caffe.proto`, which is Caffe 1.0 and the paper's fork, and `caffe_compat/proto/forks.tsv`, one line for each
field or enum value that another fork adds. Result: one descriptor set, `caffe_compat/proto/caffe.binpb`.
"""

from __future__ import annotations

import csv
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from google.protobuf import descriptor_pb2
from grpc_tools import protoc

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parent / "caffe_compat" / "proto"
SCALARS = {name[5:].lower(): number for name, number in descriptor_pb2.FieldDescriptorProto.Type.items()}
LABELS = {"optional": 1, "repeated": 3}


class Schema:
    """A file descriptor that fields and enum values are added to."""

    def __init__(self, file: descriptor_pb2.FileDescriptorProto) -> None:
        self.file = file
        self.messages: dict[str, descriptor_pb2.DescriptorProto] = {}
        self.enums: dict[str, descriptor_pb2.EnumDescriptorProto] = {}
        self._note("", file.message_type, file.enum_type)

    def _note(
        self,
        prefix: str,
        messages: Iterable[descriptor_pb2.DescriptorProto],
        enums: Iterable[descriptor_pb2.EnumDescriptorProto],
    ) -> None:
        self.enums.update({prefix + enum.name: enum for enum in enums})
        for message in messages:
            self.messages[prefix + message.name] = message
            self._note(f"{prefix}{message.name}.", message.nested_type, message.enum_type)

    def message(self, name: str) -> descriptor_pb2.DescriptorProto:
        """The message `name`, made if it is not there."""
        if name not in self.messages:
            parent, _, last = name.rpartition(".")
            added = (self.message(parent).nested_type if parent else self.file.message_type).add(name=last)
            self.messages[name] = added
        return self.messages[name]

    def enum(self, name: str) -> descriptor_pb2.EnumDescriptorProto:
        """The enum `name`, made if it is not there."""
        if name not in self.enums:
            parent, _, last = name.rpartition(".")
            self.enums[name] = (self.message(parent) if parent else self.file).enum_type.add(name=last)
        return self.enums[name]

    def add_field(self, row: dict[str, str]) -> None:
        """Add the field of one line of forks.tsv; messages and enums must all be there."""
        field = self.message(row["message"]).field.add(name=row["name"], number=int(row["number"]))
        field.label = LABELS[row["label"]]
        if row["type"] in SCALARS:
            field.type = SCALARS[row["type"]]
        else:
            field.type = SCALARS["enum" if row["type"] in self.enums else "message"]
            field.type_name = f".{self.file.package}.{row['type']}"
        if row["default"]:
            field.default_value = row["default"]


def compile_schema() -> bytes:
    """The descriptor set."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "caffe.binpb")
        if protoc.main(["", f"-I{HERE}", f"--descriptor_set_out={output}", "caffe.proto"]) != 0:
            raise SystemExit("caffe.proto does not compile")
        files = descriptor_pb2.FileDescriptorSet.FromString(output.read_bytes())
    schema = Schema(files.file[0])
    with open(PACKAGE / "forks.tsv", encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table, delimiter="\t"))
    for row in rows:
        if row["kind"] == "value":
            schema.enum(row["message"]).value.add(name=row["name"], number=int(row["number"]))
        else:
            schema.message(row["message"])
    for row in rows:
        if row["kind"] == "field":
            schema.add_field(row)
    return files.SerializeToString(deterministic=True)


if __name__ == "__main__":
    Path(sys.argv[1] if len(sys.argv) > 1 else PACKAGE / "caffe.binpb").write_bytes(compile_schema())

#!/usr/bin/env bash
# protobuf of Python, 7.36.2 (5.29.6 and 6.33.6 too): == of two messages compares floats by their bits where the runtime
# is upb, the one that wheels bring. So 0.0 and -0.0 differ, and a blob of nan is equal to another of nan. 4.25.8
# compared by value, and so does the pure Python runtime of each release, which answers both the other way round
# (PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=python). A mask leaves -0.0 where a negative weight was (-0.5 * 0): two
# caffemodels of one pruned net are unequal, and two broken ones equal. `compare` of this package takes -0.0 for 0.0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
cat > "$folder/compare.py" <<'PYTHON'
from google.protobuf import __version__, descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.internal import api_implementation

file = descriptor_pb2.FileDescriptorProto(name="blob.proto", package="caffe", syntax="proto2")
blob = file.message_type.add(name="BlobProto")
field = blob.field.add(name="data", number=5, type=2, label=3)  # repeated float
field.options.packed = True
pool = descriptor_pool.DescriptorPool()
pool.AddSerializedFile(file.SerializeToString())
BlobProto = message_factory.GetMessageClass(pool.FindMessageTypeByName("caffe.BlobProto"))

nan = float("nan")
pairs = {"-0.5 * 0 and 0": ([-0.5 * 0], [0.0]), "nan and nan": ([nan], [nan])}
print(__version__, api_implementation.Type(), end="")
for told, (one, other) in pairs.items():
    print(f"; {told}: {BlobProto(data=one) == BlobProto(data=other)}", end="")
print()
PYTHON
for version in 4.25.8 7.36.2; do
    "$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check "protobuf==$version"
    for runtime in upb python; do
        PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=$runtime "$folder/env/bin/python" "$folder/compare.py"
    done
done | tee "$folder/out"
diff "$folder/out" - <<'SEEN'
4.25.8 upb; -0.5 * 0 and 0: True; nan and nan: False
4.25.8 python; -0.5 * 0 and 0: True; nan and nan: False
7.36.2 upb; -0.5 * 0 and 0: False; nan and nan: True
7.36.2 python; -0.5 * 0 and 0: True; nan and nan: False
SEEN

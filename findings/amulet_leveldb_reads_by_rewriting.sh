#!/usr/bin/env bash
# amulet-leveldb 1.0.7, which installs as the module `leveldb`: to iterate over a database of Caffe is to lose it. Small
# sets lie wholly in LevelDB's log (Caffe's write buffer is 256 MB), and opening moves the log into a table, as in every
# LevelDB, but compressed by zlib, which LevelDB itself does not know: plyvel 1.5.1 then says "bad block type". And a
# database whose tables are in snappy, as Caffe's are, is iterated as an empty one, without a word; only get() raises.
# The reader of this package opens a copy of the log, and the database stays as it was. (It has no
# wheel here: pip builds it, which wants a C++ compiler and a minute.)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
    amulet-leveldb==1.0.7 plyvel==1.5.1
cat > "$folder/write.py" <<'PYTHON'
import sys

import plyvel

database = plyvel.DB(sys.argv[1], create_if_missing=True, write_buffer_size=1 << 28, compression="snappy")
for number in range(100):
    database.put(b"%08d_image.png" % number, b"\x08\x03\x10\x20\x18\x20\x22\x80\x08" + bytes(1024) + b"\x28\x01")
if sys.argv[2] == "table":
    database.compact_range()
database.close()
PYTHON
cat > "$folder/others.py" <<'PYTHON'
import sys

import plyvel

database = plyvel.DB(sys.argv[1])
try:
    print("  plyvel:", sum(1 for _ in database), "records")
except plyvel.Error as error:
    print("  plyvel:", *error.args)
PYTHON
cat > "$folder/look.py" <<'PYTHON'
import sys

import leveldb

database = leveldb.LevelDB(sys.argv[1])
print("  amulet-leveldb:", sum(1 for _ in database.items()), "records")
try:
    print("  get:", len(database.get(b"00000000_image.png")), "bytes")
except leveldb.LevelDBException as error:
    print("  get:", *error.args)
database.close()
PYTHON
python="$folder/env/bin/python"
for kind in log table; do
    "$python" "$folder/write.py" "$folder/$kind" "$kind"
    echo "records in the $kind"
    "$python" "$folder/look.py" "$folder/$kind"
    "$python" "$folder/others.py" "$folder/$kind"
done | tee "$folder/out"
diff "$folder/out" - <<'SEEN'
records in the log
  amulet-leveldb: 100 records
  get: 1035 bytes
  plyvel: b'Corruption: bad block type'
records in the table
  amulet-leveldb: 0 records
  get: b'Not implemented: encountered a block compressed with an unknown decompressor'
  plyvel: 100 records
SEEN

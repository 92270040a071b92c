#!/usr/bin/env bash
# dfindexeddb 20260210, a LevelDB reader in pure Python: GetRecords(use_manifest=True), and `dfleveldb db
# --use_manifest`, give of all tables in level 0 the records of the last alone; those of the others come neither as
# current nor as recovered. Each opening of a database that has a log makes such a table, so one that was added to in
# four goes, of 5 records each, shows 10 of its 20. Nothing is said. Without the option all come, in the order of the
# folder. plyvel 1.5.1, which wrote them, reads all, and so does this package, which reads by it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    dfindexeddb==20260210 plyvel==1.5.1 python-snappy==0.6.1 zstd==1.5.5.1
cat > "$folder/look.py" <<'PYTHON'
import pathlib
import sys

import plyvel
from dfindexeddb.leveldb.record import FolderReader

path = pathlib.Path(sys.argv[1])
for go in range(4):
    database = plyvel.DB(str(path), create_if_missing=True)
    for number in range(5 * go, 5 * go + 5):
        database.put(b"%08d_image.png" % number, b"\x08\x01" * 50)
    database.close()
out = open(path.parent / "out", "w")
print(len(list(path.glob("*.ldb"))), "tables, and a log", file=out)
for options in ({}, {"use_manifest": True}):
    keys = sorted(bytes(each.record.key)[:8].decode() for each in FolderReader(path).GetRecords(**options))
    print(options, len(keys), keys[0], keys[-1], file=out)
database = plyvel.DB(str(path))
print("plyvel", sum(1 for _ in database), file=out)
PYTHON
"$folder/env/bin/python" "$folder/look.py" "$folder/db" > "$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
cat "$folder/out"
diff "$folder/out" - <<'SEEN'
3 tables, and a log
{} 20 00000000 00000019
{'use_manifest': True} 10 00000010 00000019
plyvel 20
SEEN

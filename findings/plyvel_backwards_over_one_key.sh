#!/usr/bin/env bash
# plyvel 1.5.1, LevelDB of Python: a range that has one key, and begins with it, is empty when it is read backwards
# (reverse=True), whether it is given by start, by start and stop, or by a prefix that is the key itself; forward the
# key is there, and backwards too once the range has a second one, or begins before it. prefixed_db does the same.
# Nothing is raised. Who asks for the newest record of a group so, in the order of keys of a Caffe database too, gets
# "none" for groups of one. Read forward and keep the last, or let the range begin before the key.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check plyvel==1.5.1
cat > "$folder/look.py" <<'PYTHON'
import sys

import plyvel

KEYS = [b"cat_1", b"dog_1", b"dog_2", b"owl_1"]
database = plyvel.DB(sys.argv[1] + "/database", create_if_missing=True)
for key in KEYS:
    database.put(key, b"value")


def look(right, **between):
    """Print what is right, and the keys of a range, forward and backwards."""
    forward, back = (
        [key.decode() for key in database.iterator(include_value=False, reverse=reverse, **between)]
        for reverse in (False, True)
    )
    assert forward == right
    between = [f"{name}={each.decode()}" for name, each in between.items()]
    print(*between, "forward", *forward, "backwards", *back or ["none"])


print("plyvel", plyvel.__version__)
look(["dog_1", "dog_2"], start=b"dog_1", stop=b"e")
look(["owl_1"], start=b"owl", stop=b"p")
look(["owl_1"], start=b"owl_1", stop=b"p")
look(["owl_1"], start=b"owl_1")
look(["cat_1"], start=b"cat_1", stop=b"dog_1")
look(["dog_1", "dog_2"], prefix=b"dog_")
look(["cat_1"], prefix=b"cat_")
look(["cat_1"], prefix=b"cat_1")
under = database.prefixed_db(b"owl_1")
print("prefixed_db", len(list(under.iterator())), "forward", len(list(under.iterator(reverse=True))), "backwards")
PYTHON
"$folder/env/bin/python" "$folder/look.py" "$folder" | tee "$folder/out"
diff "$folder/out" - <<'SEEN'
plyvel 1.5.1
start=dog_1 stop=e forward dog_1 dog_2 backwards dog_2 dog_1
start=owl stop=p forward owl_1 backwards owl_1
start=owl_1 stop=p forward owl_1 backwards none
start=owl_1 forward owl_1 backwards none
start=cat_1 stop=dog_1 forward cat_1 backwards none
prefix=dog_ forward dog_1 dog_2 backwards dog_2 dog_1
prefix=cat_ forward cat_1 backwards cat_1
prefix=cat_1 forward cat_1 backwards none
prefixed_db 1 forward 0 backwards
SEEN

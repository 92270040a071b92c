"""Fuzz one reader with atheris: python -m tests.fuzz READER FOLDER [libFuzzer options, e.g. -max_total_time=300].

FOLDER collects the inputs that reach new code, and begins with files of real Caffe. What fails is written to
FOLDER.failures/; a minimised copy belongs into tests/fuzz/corpus/READER, which test_corpus.py replays.
"""

from __future__ import annotations

import sys
from pathlib import Path

try:
    import atheris
except ImportError:
    sys.exit("fuzzing needs the package atheris: pip install atheris")

with atheris.instrument_imports(include=["caffe_compat"]):
    from tests.fuzz.readers import READERS, allowed, seeds


def main() -> None:
    reader, folder, *options = sys.argv[1:]
    failures = Path(f"{folder}.failures")
    for place in (Path(folder), failures):
        place.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(reader)):
        Path(folder, f"seed{number}").write_bytes(seed)

    def one_input(data: bytes) -> None:
        try:
            READERS[reader](data)
        except Exception as error:
            if not allowed(reader, error):
                raise

    limits = ["-rss_limit_mb=1500", "-max_len=20000", f"-artifact_prefix={failures}/"]
    atheris.Setup([sys.argv[0], folder, *limits, *options], one_input)
    atheris.Fuzz()


main()

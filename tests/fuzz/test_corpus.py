"""Every input on which a reader once failed is read or refused; so are flips and cuts of whole files of real Caffe."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.readers import READERS, allowed, seeds

pytest.importorskip("safetensors")

CORPUS = sorted(path for path in Path(__file__).with_name("corpus").rglob("*") if path.is_file())
SEEDS = {reader: [seed for seed in seeds(reader) if len(seed) < 1 << 17] for reader in READERS}


def read_or_refuse(reader: str, data: bytes) -> None:
    try:
        READERS[reader](data)
    except Exception as error:
        if not allowed(reader, error):
            raise


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_input_that_once_broke_a_reader_is_read_or_refused(path: Path) -> None:
    read_or_refuse(path.parent.name, path.read_bytes())


@pytest.mark.parametrize("reader", READERS)
def test_seeds_are_read(reader: str) -> None:
    assert SEEDS[reader]
    for seed in SEEDS[reader][:3]:
        READERS[reader](seed)


@pytest.mark.parametrize("reader", READERS)
@settings(max_examples=40, deadline=2000)
@given(st.data())
def test_file_with_flipped_bits_is_read_or_refused(reader: str, data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(SEEDS[reader])))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    read_or_refuse(reader, bytes(content))


@pytest.mark.parametrize("reader", READERS)
@settings(max_examples=25, deadline=2000)
@given(st.data())
def test_file_that_is_cut_short_is_read_or_refused(reader: str, data: st.DataObject) -> None:
    content = data.draw(st.sampled_from(SEEDS[reader]))
    read_or_refuse(reader, content[: data.draw(st.integers(0, len(content)))])

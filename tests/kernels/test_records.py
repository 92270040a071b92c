"""Records that a loop finds are those that protobuf's messages give, and it stops at the first of another kind."""

from __future__ import annotations

import numpy as np
import pytest

from caffe_compat.data.datum import encode_datum, parse_datum
from tests.kernels.switch import needs_loops

pytestmark = needs_loops

IMAGES = np.random.RandomState(1).randint(0, 256, (6, 3, 2, 4)).astype(np.uint8)


def found_in(records: list[bytes], numbers: list[int]) -> tuple[int, list[int], list[float]]:
    """How many the loop takes for such as the first, where it says that their pixels begin, and their labels."""
    from caffe_compat.kernels import records as compiled

    datum = parse_datum(records[numbers[0]])
    head, end = np.frombuffer(records[numbers[0]][: datum.offset], np.uint8), datum.offset + len(datum.data)
    tail = records[numbers[0]][end:]
    closed = tail.endswith(b"\x38\x00")
    file = np.frombuffer(b"".join(records) + b"beyond", np.uint8)
    ends = np.cumsum([len(record) for record in records])
    begins = ends - [len(record) for record in records]
    which, count = np.array(numbers), len(numbers)
    places, labels, found = np.zeros(count, np.int64), np.full(count, -7, np.float32), np.zeros(1, np.int64)
    where = (begins, ends, file.ctypes.data, len(records[numbers[0]]), head, len(head))
    after = (end, len(tail) - 2 * closed, int(closed))
    compiled.find(1, which, count, *where, *after, places, labels, found, threads=1)
    return int(found[0]), (places - file.ctypes.data).tolist(), labels.tolist()


@pytest.mark.parametrize("closing", [b"", b"\x38\x00"], ids=["", "encoded: false"])
@pytest.mark.parametrize("labels", [[0, 1, 127, 5], [128, 16383, 300, 200], [2**21, 2**28 - 1, 2**27 + 1, 2**24 + 1]])
def test_records_of_one_kind_are_found(closing, labels):
    records = [encode_datum(image, label) + closing for image, label in zip(IMAGES, labels, strict=False)]
    numbers = [2, 0, 3, 3]
    count, places, found = found_in(records, numbers)
    assert count == 4 and found == [float(np.float32(labels[number])) for number in numbers]
    whole = b"".join(records)
    for place, number in zip(places, numbers, strict=True):
        assert whole[place : place + IMAGES[0].size] == IMAGES[number].tobytes()


def test_a_label_before_the_pixels_is_part_of_the_head():
    records = [b"\x28\x07" + encode_datum(image, None) for image in IMAGES]
    assert found_in(records, [0, 5])[::2] == (2, [-7, -7])
    assert found_in([*records, b"\x28\x08" + encode_datum(IMAGES[0], None)], [1, 6])[0] == 1


@pytest.mark.parametrize(
    "other",
    [
        encode_datum(IMAGES[0], 128),  # longer
        encode_datum(IMAGES[0].reshape(3, 4, 2), 1),
        encode_datum(IMAGES[0], 1)[:-2] + b"\x38\x01",  # encoded: true
        encode_datum(IMAGES[0], 1)[:-2] + b"\x30\x01",
        encode_datum(IMAGES[0], 1)[:-1] + b"\x81",  # a number that does not end
    ],
)
def test_another_kind_ends_the_search(other):
    records = [encode_datum(image, 1) for image in IMAGES]
    assert found_in([*records, other], [0, 4, 6, 1])[0] == 2


def test_a_field_that_is_closed_differs_from_one_that_is_not():
    records = [encode_datum(image, 2) + b"\x38\x00" for image in IMAGES] + [encode_datum(IMAGES[0], 2) + b"\x38\x01"]
    assert found_in(records, [0, 6])[0] == 1
    assert found_in([encode_datum(IMAGES[0], 300), encode_datum(IMAGES[0], 2) + b"\x00"], [0, 1])[0] == 1

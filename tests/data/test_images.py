"""Which image files end early."""

from __future__ import annotations

import numpy as np
import pytest

from caffe_compat.data.images import encode_image, is_truncated

IMAGE = np.random.RandomState(0).randint(0, 256, (40, 30, 3)).astype(np.uint8)


@pytest.mark.parametrize("kind", ["jpg", "png"])
@pytest.mark.parametrize("view", [bytes, memoryview])
def test_a_file_is_whole_up_to_its_last_byte(kind, view):
    whole = encode_image(IMAGE, kind)
    assert not is_truncated(view(whole)) and not is_truncated(view(whole + b"what a camera adds"))
    begin = max(4, whole.rfind(b"\xff\xda") + 2)  # a JPEG that ends before its pixels is none to any decoder
    cut = [length for length in range(begin, len(whole)) if not is_truncated(view(whole[:length]))]
    assert all(length > len(whole) - 9 for length in cut)  # within the end mark and its check sum


def test_the_end_mark_of_another_kind_of_file_is_none():
    png, jpeg = encode_image(IMAGE, "png"), encode_image(IMAGE, "jpg")
    assert is_truncated(png[:200] + b"\xff\xd9")
    assert is_truncated(jpeg[: jpeg.rfind(b"\xff\xda") + 60] + b"\xff")

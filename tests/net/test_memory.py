"""The request to malloc."""

import platform

from caffe_compat.net.memory import keep_freed_memory


def test_glibc_takes_the_request_and_others_are_left_alone() -> None:
    assert keep_freed_memory() is (platform.libc_ver()[0] == "glibc")

"""Archives of strangers: what is asked for comes out, links lead no further than once, sizes have a bound."""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
import tracemalloc
import zlib
from pathlib import Path

import pytest

from caffe_compat.data.archives import archived, unzipped
from caffe_compat.data.stored_images import stored_images
from tests.data.refusals import error_of

CONTENT = bytes(range(256))


def made(path: Path, *members: tuple[str, bytes | None, str], mode: str = "w:gz") -> Path:
    """A tar archive of (name, content, target of a link: 'hard ...' or 'soft ...', or empty)."""
    with tarfile.open(path, mode) as archive:
        for name, content, link in members:
            member = tarfile.TarInfo(name)
            if link:
                kind, _, member.linkname = link.partition(" ")
                member.type = {"hard": tarfile.LNKTYPE, "soft": tarfile.SYMTYPE}[kind]
            member.size = len(content or b"")
            archive.addfile(member, io.BytesIO(content or b""))
    return path


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_file_comes_out_of_whatever_folder_it_lies_in(tmp_path: Path, mode: str) -> None:
    path = made(tmp_path / "a", ("x/y/wanted", CONTENT, ""), ("other", b"o", ""), mode=mode)
    assert list(archived(path, "wanted")) == [CONTENT]
    assert list(archived(path, "absent")) == []


@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_a_link_stands_for_its_file(tmp_path: Path, kind: str) -> None:
    target = "x/file" if kind == "hard" else "file"
    path = made(tmp_path / "a", ("x/file", CONTENT, ""), ("x/wanted", None, f"{kind} {target}"))
    assert list(archived(path, "wanted")) == [CONTENT]


@pytest.mark.parametrize(
    "links",
    [
        [("wanted", None, "soft nowhere")],
        [("wanted", None, "hard nowhere")],
        [("wanted", None, "soft wanted")],
        [("wanted", None, "soft other"), ("other", None, "soft wanted")],
        [("wanted", None, "soft ../../etc/hostname")],
    ],
    ids=["dangling", "dangling hard", "to itself", "in a circle", "out of the archive"],
)
def test_links_that_lead_to_no_file_get_a_line(tmp_path: Path, links: list[tuple[str, bytes | None, str]]) -> None:
    path = made(tmp_path / "a", *links)
    assert "wanted is a link to '" in error_of(lambda: list(archived(path, "wanted")))


def test_an_archive_that_unpacks_without_bound_is_refused(tmp_path: Path) -> None:
    path = made(tmp_path / "a", ("before", bytes(80 << 20), ""), ("wanted", CONTENT, ""))
    assert path.stat().st_size < 1 << 20
    assert "unpacks to more than" in error_of(lambda: list(archived(path, "wanted")))


def test_a_gz_file_that_unpacks_without_bound_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(CONTENT))
    assert unzipped(tmp_path / "a.gz") == CONTENT
    (tmp_path / "b.gz").write_bytes(gzip.compress(bytes(80 << 20)))
    assert "b.gz: unpacks to more than" in error_of(unzipped, tmp_path / "b.gz")


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_an_archive_that_is_cut_short_gets_a_line(tmp_path: Path, mode: str) -> None:
    path = made(tmp_path / "a", ("wanted", CONTENT * 100, ""), mode=mode)
    whole = path.read_bytes()
    for size in (0, 1, 100, len(whole) // 2):
        path.write_bytes(whole[:size])
        assert "is no tar archive that can be read" in error_of(lambda: list(archived(path, "wanted")))


def test_a_member_of_negative_size_does_not_lead_round_in_a_circle(tmp_path: Path) -> None:
    member = tarfile.TarInfo("a.png")
    member.size = -512
    header = member.tobuf(tarfile.GNU_FORMAT)
    (tmp_path / "a.tar").write_bytes(header + bytes(10240))
    assert "a.tar: is no plain tar file that can be read" in error_of(stored_images, tmp_path / "a.tar")


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
@pytest.mark.parametrize("mode", ["", "gz"])
def test_a_header_that_says_it_has_gigabytes_costs_no_memory(tmp_path: Path, kind: bytes, mode: str) -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = kind, 4 << 30
    content = header.tobuf() + bytes(1024)
    (tmp_path / "a.tar").write_bytes(gzip.compress(content) if mode else content)
    tracemalloc.start()
    assert "a header says that it has 4294967296 bytes" in error_of(lambda: list(archived(tmp_path / "a.tar", "a")))
    if not mode:
        assert "a header says that it has 4294967296 bytes" in error_of(stored_images, tmp_path / "a.tar")
    assert tracemalloc.get_traced_memory()[1] < 1 << 22
    tracemalloc.stop()


def asking(packed: bytes, form: int, power: int) -> bytes:
    """`packed` with a header that asks for a dictionary of 2^power bytes."""
    if form == lzma.FORMAT_ALONE:
        return packed[:1] + (1 << power).to_bytes(4, "little") + packed[5:]
    block = packed[12:16] + bytes([2 * (power - 12)]) + packed[17:20]  # the xz file format, 3.1 and 5.3.1
    return packed[:12] + block + zlib.crc32(block).to_bytes(4, "little") + packed[24:]


@pytest.mark.parametrize("form", [lzma.FORMAT_XZ, lzma.FORMAT_ALONE], ids=["xz", "lzma"])
def test_xz_that_asks_for_more_memory_than_its_strongest_level_is_refused(tmp_path: Path, form: int) -> None:
    whole = made(tmp_path / "a.tar", ("wanted", CONTENT, ""), mode="w").read_bytes()
    packed = lzma.compress(whole, form, preset=0)
    (tmp_path / "a").write_bytes(asking(packed, form, 26))
    assert list(archived(tmp_path / "a", "wanted")) == [CONTENT]
    (tmp_path / "a").write_bytes(asking(packed, form, 30))
    assert "a: takes over 256 MB to unpack" in error_of(lambda: list(archived(tmp_path / "a", "wanted")))


def test_xz_in_several_streams_with_padding_is_read_forward_and_back(tmp_path: Path) -> None:
    members = [(f"x/{name}", bytes([number]) * 90_000, "") for number, name in enumerate("abcdefgh")]
    whole = made(tmp_path / "a.tar", *members, ("wanted", None, "hard x/a"), mode="w").read_bytes()
    streams = [lzma.compress(whole[at : at + 100_000]) + bytes(4) for at in range(0, len(whole), 100_000)]
    (tmp_path / "a").write_bytes(b"".join(streams))
    assert list(archived(tmp_path / "a", "wanted")) == [bytes(90_000)]
    assert list(archived(tmp_path / "a", "h")) == [b"\7" * 90_000]


def test_a_link_to_a_member_that_is_read_later_is_bounded_too(tmp_path: Path) -> None:
    for size, said in ((-512, "has -512 bytes"), (1 << 40, "unpacks to more than")):
        link, later = tarfile.TarInfo("wanted"), tarfile.TarInfo("later")
        link.type, link.linkname, later.size = tarfile.SYMTYPE, "later", size
        content = link.tobuf() + later.tobuf(tarfile.GNU_FORMAT) + bytes(10240)
        (tmp_path / "a").write_bytes(gzip.compress(content))
        assert said in error_of(lambda: list(archived(tmp_path / "a", "wanted")))


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_header_that_is_damaged_within_is_told_and_no_member_is_lost_in_silence(tmp_path: Path, mode: str) -> None:
    whole = made(tmp_path / "a", ("a.png", CONTENT, ""), ("b.png", CONTENT, ""), ("wanted", b"", ""), mode="w")
    content = bytearray(whole.read_bytes())
    content[1024] ^= 1
    (tmp_path / "b").write_bytes(content if mode == "w" else gzip.compress(content))
    assert "(bad checksum of a member)" in error_of(lambda: list(archived(tmp_path / "b", "wanted")))
    if mode == "w":
        assert "(bad checksum of a member)" in error_of(stored_images, tmp_path / "b")


def test_images_that_a_tar_keeps_with_holes_are_refused(tmp_path: Path) -> None:
    member = tarfile.TarInfo("a.png")
    member.type = tarfile.GNUTYPE_SPARSE
    (tmp_path / "a.tar").write_bytes(member.tobuf(tarfile.GNU_FORMAT) + bytes(10240))
    assert "a.png is stored with holes" in error_of(stored_images, tmp_path / "a.tar")

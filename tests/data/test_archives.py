"""Archives of strangers: what is asked for comes out, links lead no further than once, sizes have a bound."""

from __future__ import annotations

import gzip
import io
import tarfile
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

"""Whether a file is binary or text, and a word where it is not what was wanted, or two files are exchanged."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from shlex import quote
from typing import Any

from caffe_compat.errors import ParseError
from caffe_compat.proto.reading import read_bytes, read_head
from caffe_compat.proto.recognition import recognised, utf16

_BLOBS = re.compile(rb"^\s*blobs\s*:?\s*\{", re.MULTILINE)
PathLike = str | os.PathLike[str]

# Bytes that stand in no prototxt, but in every binary net beyond a name: the control signs that are not white space
_BINARY = bytes(sorted(frozenset(range(32)) - frozenset(b"\t\n\v\f\r")))
_FIELD = rb"(?:\xef\xbb\xbf)?(?:\s|#[^\n]*\n)*[A-Za-z_]\w*[ \t]*(?::[ \t]*[\w\"'.{<-]|[{<]\s)"
_BEGINS_AS_TEXT = re.compile(_FIELD)
_MOST_STRAY = 50  # one control sign in so many bytes is a stray one in a text; binary files have many more
_NET, _SOLVER = re.compile(rb"\b(?:layers?|input)\s*[:{]"), re.compile(rb"\b(?:base_lr|lr_policy|max_iter)\s*:")


def is_binary(path: PathLike) -> bool:
    """Whether the file holds bytes that no prototxt has, as a caffemodel and an HDF5 file do. Raises ParseError.

    A prototxt with a stray control sign in it, or with zeros behind its end, is text that its reader complains of.
    """
    head = read_head(path)
    stray = len(head) - len(head.translate(None, _BINARY))
    if not stray or utf16(head):
        return False
    text = head.rstrip(b"\0")
    stray -= len(head) - len(text)
    return not (_BEGINS_AS_TEXT.match(text) and stray * _MOST_STRAY <= max(len(text), _MOST_STRAY))


def check_binary(path: PathLike) -> None:
    """ParseError where the file holds text, or nothing, in the place of weights."""
    if not is_binary(path):
        raise ParseError(f"{path}: {recognised(read_head(path)) or _of_text(path)}")


def _of_text(path: PathLike) -> str:
    """What a text in the place of weights is: a net whose layers have blobs can be made binary."""
    if _BLOBS.search(read_bytes(path)):
        binary = quote(f"{os.fspath(path).removesuffix('.caffemodel').removesuffix('.prototxt')}.binary.caffemodel")
        return (
            "this is a net with its weights as text, which Caffe does not read either; "
            f"`caffe-compat upgrade {quote(os.fspath(path))} {binary}` makes it binary"
        )
    return "this is text, not weights; give a .caffemodel or .caffemodel.h5"


def refuse_exchanged(first: Any, weights: Any) -> None:
    """ParseError where `first` holds weights, and a file of `weights` the net or solver that should stand there.

    first, weights: as a verb or function was given them; what names no file is passed over.
    """
    if not isinstance(first, (str, os.PathLike)) or not _is_there(first) or not is_binary(first):
        return
    for path in weight_paths(weights):
        if isinstance(path, (str, os.PathLike)) and _is_there(path) and not is_binary(path):
            head = read_head(path)
            kind = _text_kind(head)
            if kind != "text" and not recognised(head):
                raise ParseError(f"{first} holds weights and {path} {kind}; exchange the two")


def weight_paths(weights: PathLike | Sequence[PathLike] | None) -> list[Any]:
    """The files of weights that one path, Caffe's comma list, or a sequence names."""
    if weights is None:
        return []
    if isinstance(weights, str):
        return [weights] if os.path.exists(weights) else weights.split(",")
    return [weights] if isinstance(weights, os.PathLike) else list(weights)


def _text_kind(head: bytes) -> str:
    """What a text is, by the fields in its first bytes."""
    encoding = utf16(head)
    head = head.decode(encoding, "replace").encode() if encoding else head
    if _SOLVER.search(head) and not re.search(rb"\blayers?\s*[:{]", head):
        return "a solver"
    return "a net" if _NET.search(head) else "text"


def _is_there(path: PathLike) -> bool:
    return os.path.isfile(path)

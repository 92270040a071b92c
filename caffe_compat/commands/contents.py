"""`show` of anything but a net: what is in a file or database."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import Any

import caffe_compat as cc

_RECORDS = 1000  # of a database that are looked at
_FIRST = 5  # of them shown one by one


def is_database(path: Path) -> bool:
    """Whether an LMDB or LevelDB lies at `path`: its folder, or the file of an LMDB."""
    return any(os.path.isfile(path / name) for name in ("data.mdb", "CURRENT")) or path.name == "data.mdb"


def show_file(path: Path, statistics: bool, as_json: bool) -> str:
    """What is in the file at `path`, as text or JSON. ParseError where it is nothing of Caffe's."""
    found = cc.outline(path, statistics)
    size = path.stat().st_size
    if as_json:
        rows = [asdict(blob) for blob in found.blobs]
        return _json({"path": str(path), "kind": found.kind, "bytes": size, **found.facts, "blobs": rows})
    kinds = ", ".join(dict.fromkeys(blob.dtype for blob in found.blobs)) or "no values"
    lines = [f"{path}: {found.kind}, {_size(size)}, {found.values:,} values, {kinds}"]
    lines += [f"{name}: {value}" for name, value in found.facts.items()]
    return "\n".join([*lines, *_aligned(_rows(found.blobs))])


def show_database(path: Path, as_json: bool) -> str:
    """What is in the database at `path`: its first records, looked at without their pixels being changed."""
    path = path.parent if path.name == "data.mdb" else path
    found = cc.survey(path, None, _RECORDS)
    first = cc.first_records(path, _FIRST)
    shapes = {"x".join(map(str, shape)): count for shape, count in found.shapes.items()}
    facts: dict[str, Any] = {
        "records": found.records, "looked at": found.seen, "forms": found.forms,
        "shapes (channels x height x width)": shapes, "labels": found.labels,
    }  # fmt: skip
    if as_json:
        return _json({"path": str(path), "kind": found.kind, **facts, "first": [record._asdict() for record in first]})
    lines = [f"{path}: {found.kind}, {'many' if found.records is None else f'{found.records:,}'} records"]
    lines += [f"{name}: {_counts(value)}" for name, value in facts.items() if isinstance(value, dict)]
    if found.records is None or found.seen < found.records:
        lines.append(f"(of the first {found.seen:,} records; `caffe-compat data info {quote(str(path))}` looks at all)")
    rows = [("key", "shape", "form", "label")]
    rows += [(each.key, "x".join(map(str, each.shape)), each.form, str(each.label)) for each in first]
    return "\n".join([*lines, *_aligned(rows)])


def _rows(blobs: Sequence[cc.BlobOutline]) -> list[tuple[str, ...]]:
    if not blobs:
        return []
    typed, measured = any(blob.type for blob in blobs), any(blob.statistics for blob in blobs)
    rows = [("layer" if typed else "name", *(["type"] if typed else []), "blob", "shape", "precision")]
    if measured:
        rows[0] += ("least", "greatest", "mean", "std", "zeros", "not finite")
    for blob in blobs:
        shape = "x".join(map(str, blob.shape)) or "()"
        row = (blob.owner, *([blob.type] if typed else []), str(blob.index), shape)
        row += (blob.dtype + (" with diff" if blob.has_diff else ""),)
        if blob.statistics is not None:
            each = blob.statistics
            row += tuple(f"{value:.5g}" for value in (each.least, each.greatest, each.mean, each.deviation))
            row += (f"{100 * each.zeros:.1f} %", str(each.not_finite))
        elif measured:
            row += ("-",) * 6
        rows.append(row)
    return rows


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _counts(counts: dict[Any, int], most: int = 20) -> str:
    shown = ", ".join(f"{value} ({count})" for value, count in list(counts.items())[:most])
    return shown if len(counts) <= most else f"{shown} and {len(counts) - most} more"


def _size(count: int) -> str:
    return f"{count:,} bytes" if count < 10_000 else f"{count / 1e6:,.2f} MB"


def _json(value: Any) -> str:
    def sayable(each: Any) -> Any:
        if isinstance(each, dict):
            return {str(key): sayable(item) for key, item in each.items()}
        if isinstance(each, (list, tuple)):
            return [sayable(item) for item in each]
        return str(each) if isinstance(each, float) and not math.isfinite(each) else each

    return json.dumps(sayable(value))

"""What a file is that is not what was asked for, by its first bytes: a web page, an archive, a model of others."""

from __future__ import annotations

import re

HEAD = 4096  # bytes to look at

_UNPACK = "unpack it first, and give the file inside"
_DOWNLOAD = "download the file itself, by the page's 'raw' or 'download' link"
_CONVERT = "convert it to a .caffemodel with the tools of its library"
EMPTY = "the file is empty; copy or download it again"
_SHOWS = "`caffe-compat log` shows it"
_FORMS: tuple[tuple[str, str], ...] = (  # the first that matches holds
    (r"\Z", EMPTY),
    (r"\x00{16,}\Z", "the file holds nothing but zeros; copy or download it again"),
    (r"version https://git-lfs", "this is a pointer of Git LFS; get the file itself by `git lfs pull`"),
    (r"\s*(?i:<!doctype|<html|<\?xml|<head)", f"this is a web page, not a file of Caffe's; {_DOWNLOAD}"),
    (r"\s*\d{3}: [A-Z][\w ]*\s*\Z", f"this is a server's answer, not a file of Caffe's; {_DOWNLOAD}"),
    (r'\s*\{"(?:event|iteration|time)":', f"this is the log of a run as JSON lines; {_SHOWS}"),
    (r'\s*(?:\{|\[\s*\{)\s*("|\Z)', "this is JSON; a prototxt is wanted"),
    (r"\x00\x00\x08[\x01\x03]\x00", "this is a file of MNIST (idx); `caffe-compat data mnist` makes a database of it"),
    (r"PK\x03\x04.{26}[^/]{1,200}/(?:data\.pkl|\.format_version|version|archive_format|byteorder|data/weights/)",
     f"this is a model of PyTorch; {_CONVERT}"),
    (r"PK\x03\x04.{26}[^/]{0,200}\.npy", "this is NumPy's .npz; weights are a .caffemodel or .caffemodel.h5"),
    (r"PK(?:\x03\x04|\x05\x06)", f"this is a zip archive; {_UNPACK}"),
    (r"\x1f\x8b", f"this is packed by gzip; {_UNPACK} (gunzip, or tar -xzf)"),
    (r"BZh[1-9]1AY&SY", f"this is packed by bzip2; {_UNPACK} (bunzip2, or tar -xjf)"),
    (r"\xfd7zXZ\x00", f"this is packed by xz; {_UNPACK} (unxz, or tar -xJf)"),
    (r"\x28\xb5\x2f\xfd", f"this is packed by zstd; {_UNPACK} (unzstd)"),
    (r"7z\xbc\xaf\x27\x1c", f"this is a 7z archive; {_UNPACK}"),
    (r"Rar!\x1a\x07", f"this is a rar archive; {_UNPACK}"),
    (r"[^\x00]{1,100}\x00.{56,156}\d{6}.{93,193}ustar", f"this is a tar archive; {_UNPACK} (tar -xf)"),
    (r"\x93NUMPY", "this is NumPy's .npy; Caffe's arrays are .binaryproto: caffe_compat.write_blob makes one"),
    (r"\x80[\x02-\x05](?:\x8a\x0al\xfc|\x95|[\]})\x28]|c)", f"this is a pickle of Python's; {_CONVERT}"),
    (r"\x89PNG\r\n|\xff\xd8\xff|GIF8[79]a|BM.{4}\x00{4}", "this is an image"),
    (r"%PDF-", "this is a PDF document"),
    (r"\x7fELF|MZ.{0,57}\x00", "this is a program"),
    (r".{4}TFL3", f"this is a model of TensorFlow Lite; {_CONVERT}"),
)  # fmt: skip
_COMPILED = tuple((re.compile(form.encode("latin-1"), re.DOTALL), told) for form, told in _FORMS)
# ir_version, a producer, then its version or another field; a solver's state begins so too, but names a caffemodel
_ONNX = re.compile(
    rb"\x08[\x03-\x20]\x12[\x02-\x40](?![\w. -]*\.caffemodel)[\w. -]{2,64}"
    rb"(?:\x1a[\x01-\x20]v?\d|[\x22\x2a\x32\x3a\x42])"
)
_TEXTS: tuple[tuple[str, str], ...] = (  # of what cannot be read as a prototxt
    (r"(?:Log file created at|\s*(?:\[\w+\] ?|\S{1,80}: )?[IWEF]?\d{4,8} \d\d:\d\d:\d\d)", f"this is a log; {_SHOWS}"),
    (r"(?:.*\n){0,30}\s*(?:Iteration \d+,|Test net output #)", f"this is a log; {_SHOWS}"),
    (r"(?:[^\n]*\.(?:h5|hdf5|hdf)\s*(?:\n|\Z))+", "this is a list of HDF5 files; it is the source of HDF5Data"),
    (r"(?:n\d{8} [^\n]*\n)+", "this is a list of class names; `classify --labels` takes it"),
    (r"(?:[^\n]*[^\s:] -?\d+(?:\.\d*)?\s*(?:\n|\Z)){2,}|[^\n]*\.\w{2,4} \d+\s*\Z", "this is a list of images and "
     "labels; it is the source of an ImageData layer, and `data imageset` makes a database of it"),
    (r"(?:#!.*python|\s*(?:#[^\n]*\n\s*|\"\"\"[^\"]*\"\"\"\s*)*(?:import|from [\w.]+ import|def \w+\() ?\w*)",
     "this is a Python script; `caffe-compat python` runs one that imports caffe"),
    (r"#!", "this is a script"),
    (r"\s*(?:#[^\n]*\n\s*)*\[(?:net|convolutional)\]", f"this is a net of Darknet; {_CONVERT}"),
    (r"\s*node \{|\s*graph_def", f"this is a graph of TensorFlow; {_CONVERT}"),
    (r"[\w ./-]+(?:,[\w ./-]+)+\s*\n", "this is a table (CSV)"),
)  # fmt: skip
_COMPILED_TEXTS = tuple((re.compile(form), told) for form, told in _TEXTS)
UTF16_MARKS = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}


def recognised(head: bytes) -> str:
    """What a file is that begins with `head` (4096 bytes, or all), and the way out; empty where it may be Caffe's."""
    for form, told in _COMPILED:
        if form.match(head):
            return told
    if _ONNX.match(head):
        return f"this is an ONNX model; {_CONVERT}"
    return ""


def recognised_text(text: str) -> str:
    """What a text is that begins with `text` and cannot be read as a prototxt; empty where it may have been one."""
    return next((told for form, told in _COMPILED_TEXTS if form.match(text)), "")


def utf16(head: bytes) -> str:
    """The encoding of UTF-16 text that begins with `head`, as some Windows programs write it; empty for any other."""
    encoding = UTF16_MARKS.get(head[:2], "")
    if not encoding and len(head) > 3:
        zeros = head[:200].count(0), head[1:200:2].count(0), head[:200:2].count(0)
        if zeros[1] * 2 >= len(head[:200]) - 2 and not zeros[2]:
            encoding = "utf-16-le"
        elif zeros[2] * 2 >= len(head[:200]) - 2 and not zeros[1]:
            encoding = "utf-16-be"
    if not encoding or head[:4] in (b"\xff\xfe\x00\x00",):
        return ""
    text = head[: len(head) // 2 * 2].decode(encoding, "replace")
    return encoding if not set(text) & set(map(chr, [*range(9), *range(14, 32), 0xFFFD])) else ""

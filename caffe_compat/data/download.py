"""Published data sets from the network, each file once; where there is no network, what to put where."""

from __future__ import annotations

import http.client
import shutil
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from tqdm import tqdm

from caffe_compat.errors import DataError

CIFAR10_URL = "https://www.cs.toronto.edu/~kriz"
CIFAR10_FILES = ("cifar-10-binary.tar.gz",)
MNIST_URL = "https://ossci-datasets.s3.amazonaws.com/mnist"
MNIST_FILES = tuple(f"{p}-{k}.gz" for p in ("train", "t10k") for k in ("images-idx3-ubyte", "labels-idx1-ubyte"))
_TIMEOUT = 30  # seconds without a byte
_CHUNK = 1 << 18  # bytes


def download(url: str, names: Sequence[str], folder: Path, check: Callable[[Path], None] = lambda folder: None) -> Path:
    """Get `url`/name for each of `names` into `folder`, which it gives; what is there already stays.

    A new file comes to a folder of its own first; `check` is given that folder, and what it refuses does not stay.
    Progress goes to a terminal's stderr. DataError, which says what to put where, where a file cannot be had whole;
    nothing half done is left.
    """
    folder.mkdir(parents=True, exist_ok=True)
    fresh = folder / ".fetched"
    for name in names:
        if (folder / name).exists():
            continue
        try:
            shutil.rmtree(fresh, ignore_errors=True)  # of a run that was killed
            fresh.mkdir()
            _fetch(f"{url}/{name}", fresh / name)
            check(fresh)
            (fresh / name).replace(folder / name)
        except DataError as error:
            why = str(error).removeprefix(f"{fresh}: ")
            raise DataError(f"{url}/{name}: {why}; what was fetched is not kept") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            why = " ".join(str(getattr(error, "reason", "") or error).split())
            raise DataError(
                f"{url}/{name}: cannot be fetched ({why}); put {', '.join(names)} into a folder DIR and say --from DIR"
            ) from error
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return folder


def _fetch(url: str, path: Path) -> None:
    with urllib.request.urlopen(url, timeout=_TIMEOUT) as response, path.open("wb") as file:
        total = int(response.headers.get("Content-Length") or 0)
        with tqdm(total=total or None, unit="B", unit_scale=True, desc=path.stem, disable=None) as bar:
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
            if total and file.tell() != total:
                raise OSError(f"it ended after {file.tell()} of {total} bytes")

"""The last step of a recipe: the files that are deployed."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path

from caffe_compat.errors import CaffeCompatError
from caffe_compat.export.deploy import deploy
from caffe_compat.export.onnx.file import check_onnx, write_onnx
from caffe_compat.proto.model import Model, write_model

logger = logging.getLogger(__name__)


def write_deployed(model: Model, folder: Path, compat: str = "bvlc") -> list[Path]:
    """Write deploy.prototxt, deploy.caffemodel and, where onnx and onnxruntime are installed, deploy.onnx, checked.

    The files that could be written; what could not be is told with its reason, for the training is not lost by it.
    """
    files = [folder / f"deploy.{suffix}" for suffix in ("prototxt", "caffemodel", "onnx")]
    try:
        made = deploy(model)
        write_model(made, files[0], files[1])
    except CaffeCompatError as error:
        logger.warning("No net to deploy is written: %s", error)
        return []
    missing = [name for name in ("onnx", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        logger.info("No ONNX file is written, which needs %s: pip install caffe_compat[export]", " and ".join(missing))
        return files[:2]
    try:
        write_onnx(made, files[2], compat=compat)
        check_onnx(files[2], made, compat=compat)
    except CaffeCompatError as error:
        files[2].unlink(missing_ok=True)
        logger.warning("No ONNX file is written: %s", error)
        return files[:2]
    return files

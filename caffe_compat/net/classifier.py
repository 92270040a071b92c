"""Image files -> the scores that a net gives them, as pycaffe's Classifier (python/caffe/classifier.py)."""

from __future__ import annotations

import copy
import logging
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from caffe_compat.data.crops import Preprocessing, fit_mean, read_mean_planes
from caffe_compat.data.images import read_image
from caffe_compat.data.transform import read_transform
from caffe_compat.errors import DataError, GraphError, ShapeError
from caffe_compat.net.net import Net
from caffe_compat.proto.files import find_file
from caffe_compat.showing import nearest

_CROPS = 32  # in a forward pass
_WORKERS = 4  # threads that decode
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prediction:
    """scores: (classes,), what the net gives the image at `path`; with ten crops, their mean."""

    path: Path
    scores: np.ndarray

    def top(self, count: int) -> list[tuple[int, float]]:
        """(class, score) of the `count` largest scores, the largest first; of equal ones the lower class."""
        best = np.argsort(-self.scores, kind="stable")[:count]
        return [(int(number), float(self.scores[number])) for number in best]


class Classifier:
    """A net that takes image files.

    net: its first input must take images (batch, 1 or 3, height, width). output: the blob of the scores, by default
    the only output that the images give. backend: where the net runs, as of `Net.prepare`. GraphError where `output`
    is not one, ShapeError where it has more than one score for a class, DataError where the mean does not fit.
    """

    def __init__(
        self,
        net: Net,
        preprocessing: Preprocessing | None = None,
        output: str | None = None,
        backend: str | None = None,
    ) -> None:
        self.net = net
        self.preprocessing = preprocessing or own_preprocessing(net)
        self.input, (self.channels, self.height, self.width) = _image_input(net)
        if self.preprocessing.mean is not None:
            fit_mean(self.preprocessing.mean, self.channels, self.height, self.width)
        self.output, self.classes = self._find_output(output)
        self._prepared_net = net.prepare(backend=backend) if net.graph.phase == "TEST" else net

    def predict(self, paths: Sequence[Path], skip_bad: bool = False) -> Iterator[Prediction]:
        """The Prediction of every image, in order; images are decoded ahead by a few threads.

        DataError names an image that cannot be read; with `skip_bad` it is left out, with a warning.
        """
        per_pass = max(1, _CROPS // (10 if self.preprocessing.oversample else 1))
        images = self._prepared(paths, skip_bad)
        while batch := list(islice(images, per_pass)):
            scores = self._forward(np.concatenate([crops for _, crops in batch]))
            scores = scores.reshape(len(batch), -1, self.classes).mean(axis=1)
            for (path, _), row in zip(batch, scores, strict=True):
                yield Prediction(path, row)

    def prepare(self, path: Path) -> np.ndarray:
        """What the net sees of an image: float32 (1 or 10, channels, height, width)."""
        image = read_image(path, color=self.channels == 3)
        return self.preprocessing.crops(image, self.height, self.width, str(path))

    def _prepared(self, paths: Sequence[Path], skip_bad: bool) -> Iterator[tuple[Path, np.ndarray]]:
        source = iter(paths)
        with ThreadPoolExecutor(_WORKERS, "decode") as pool:
            pending: deque[tuple[Path, Future[np.ndarray]]] = deque()
            try:
                while True:
                    for path in islice(source, max(0, 2 * _CROPS - len(pending))):
                        pending.append((path, pool.submit(self.prepare, path)))
                    if not pending:
                        return
                    path, made = pending.popleft()
                    try:
                        crops = made.result()
                    except DataError as error:
                        if not skip_bad:
                            raise
                        _log.warning("skipped: %s", error)
                        continue
                    yield path, crops
            finally:
                pool.shutdown(cancel_futures=True)

    @torch.inference_mode()
    def _forward(self, crops: np.ndarray) -> np.ndarray:
        scores: np.ndarray = self._prepared_net(**{self.input: crops})[self.output].flatten(1).cpu().numpy()
        return scores

    @torch.inference_mode()
    def _find_output(self, wanted: str | None) -> tuple[str, int]:
        """The name of the output, and how many classes it has, from a run on zeros."""
        crop = np.zeros((1, self.channels, self.height, self.width), np.float32)
        outputs = self.net(**{self.input: crop})
        found = ", ".join(outputs) or "none"
        if wanted is None and len(outputs) != 1:
            raise GraphError(f"net '{self.net.graph.name}' has {len(outputs)} outputs: {found}; choose one as output")
        name = wanted if wanted is not None else next(iter(outputs))
        if name not in outputs:
            hint = nearest(name, outputs, "its outputs")
            raise GraphError(f"net '{self.net.graph.name}' has no output '{name}'; {hint}")
        shape = tuple(outputs[name].shape)
        classes = outputs[name].numel()
        if len(shape) < 2 or classes != shape[1] or shape[0] != 1:
            raise ShapeError(f"output '{name}' is {shape} for one image; to classify, a net gives one score a class")
        return name, classes


def own_preprocessing(net: Net, with_mean: bool = True) -> Preprocessing:
    """The scale and the mean of the net's first layer with a transform_param, which only nets for training have.

    Of a deployed net those that its prototxt keeps as a comment for its first input. with_mean False leaves out the
    mean, whose file may be missing.
    """
    for node, layer in net.steps:
        if node.param.HasField("transform_param"):
            param = copy.copy(node.param.transform_param)
            if not with_mean:
                param.ClearField("mean_file")
                param.ClearField("mean_value")
            transform = read_transform(param, node.name, net.graph.phase, layer.context.folder)
            mean = transform.mean
            if mean is not None and mean.ndim == 3:
                mean = mean.transpose(2, 0, 1)
            return Preprocessing(mean=mean, scale=transform.scale)
    return _kept_preprocessing(net, with_mean)


def _kept_preprocessing(net: Net, with_mean: bool) -> Preprocessing:
    pixels = next((net.pixels[name] for name in net.input_names[:1] if name in net.pixels), None)
    if pixels is None:
        return Preprocessing()
    mean: np.ndarray | None = None
    if pixels.mean and with_mean:
        mean = np.array(pixels.mean, np.float32)
    elif pixels.mean_file and with_mean:
        folder = net.steps[0][1].context.folder
        mean = read_mean_planes(find_file(pixels.mean_file, folder, named_by=f"input '{net.input_names[0]}'"))
    return Preprocessing(mean=mean, scale=pixels.scale)


def _image_input(net: Net) -> tuple[str, tuple[int, int, int]]:
    if not net.input_names:
        raise GraphError(f"net '{net.graph.name}' has no input; to classify, a net takes images")
    name = net.input_names[0]
    shape = net.shapes[name]
    if len(shape) != 4 or shape[1] not in (1, 3):
        raise ShapeError(f"input '{name}' is {shape}; images are (batch, 1 or 3, height, width)")
    return name, (shape[1], shape[2], shape[3])

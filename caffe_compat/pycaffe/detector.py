"""`caffe.Detector`: classify windows of images, each warped to the input of the net (R-CNN)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from caffe_compat.pycaffe import io
from caffe_compat.pycaffe.net import Net
from caffe_compat.pycaffe.optional import needed
from caffe_compat.pycaffe.preprocessing import transformer_of

TEST = 1


class Detector(Net):
    """A Net that classifies windows. context_pad: pixels of the net's input that show what surrounds a window.

    mean, input_scale, raw_scale, channel_swap: see io.Transformer.
    """

    context_pad: Any
    crop_dims: Any
    crop_mean: Any

    def __init__(
        self,
        model_file: str,
        pretrained_file: str | None,
        mean: Any = None,
        input_scale: Any = None,
        raw_scale: Any = None,
        channel_swap: Any = None,
        context_pad: Any = None,
    ) -> None:
        Net.__init__(self, model_file, TEST, weights=pretrained_file)
        self.transformer = transformer_of(self, mean, input_scale, raw_scale, channel_swap)
        self.configure_crop(context_pad)

    def detect_windows(self, images_windows: Iterable[tuple[str, Any]]) -> list[dict[str, Any]]:
        """What each window holds: dicts of window, prediction (classes,) and filename.

        images_windows: (file of an image, its windows as ymin, xmin, ymax, xmax, ends exclusive); gone through twice,
        so that a generator gives windows to the net and none back, as in pycaffe.
        """
        crops = []
        for file, windows in images_windows:
            image = io.load_image(file).astype(np.float32)
            crops += [self.crop(image, window) for window in windows]
        name = self.inputs[0]
        shape = (len(crops), crops[0].shape[2], *self.blobs[name].data.shape[2:])
        batch = np.zeros(shape, dtype=np.float32)
        for index, crop in enumerate(crops):
            batch[index] = self.transformer.preprocess(name, crop)
        predictions = iter(self.forward_all(**{name: batch})[self.outputs[0]])
        return [
            {"window": window, "prediction": next(predictions), "filename": file}
            for file, windows in images_windows
            for window in windows
        ]

    def detect_selective_search(self, image_fnames: Iterable[str]) -> list[dict[str, Any]]:
        """`detect_windows` on the windows that the package selective_search_ijcv_with_python proposes."""
        proposals = needed("selective_search_ijcv_with_python", "detect_selective_search")
        files = [os.path.abspath(file) for file in image_fnames]
        windows = proposals.get_windows(files, cmd="selective_search_rcnn")
        return self.detect_windows(list(zip(files, windows, strict=False)))

    def crop(self, im: Any, window: Any) -> np.ndarray:
        """The part of an image (height, width, channels) under a window, with context if that was asked for."""
        if not self.context_pad:
            return np.asarray(im[window[0] : window[2], window[1] : window[3]])
        size = self.blobs[self.inputs[0]].width
        scale = size / (1.0 * size - self.context_pad * 2)
        half = np.array([(window[2] - window[0] + 1) / 2.0, (window[3] - window[1] + 1) / 2.0])
        center = np.array([window[0], window[1]]) + half
        box = np.round(np.concatenate([center - scale * half, center + scale * half]))
        by_height, by_width = size / (box[2] - box[0] + 1), size / (box[3] - box[1] + 1)
        top, left = round(max(0, -box[0]) * by_height), round(max(0, -box[1]) * by_width)
        box = np.clip(box, 0.0, [im.shape[0], im.shape[1]] * 2).astype(int)
        height = min(round((box[2] - box[0] + 1) * by_height), size - top)
        width = min(round((box[3] - box[1] + 1) * by_width), size - left)
        found = io.resize_image(im[box[0] : box[2], box[1] : box[3]], (height, width))
        crop: np.ndarray = np.ones(self.crop_dims, dtype=np.float32) * self.crop_mean
        crop[top : top + height, left : left + width] = found
        return crop

    def configure_crop(self, context_pad: Any) -> None:
        """Set context_pad; with one, `crop_mean` is the mean as it is in an image, which pads windows over its edge."""
        name = self.inputs[0]
        order = self.transformer.transpose[name]
        inverse = [order[axis] for axis in order]
        self.crop_dims = np.array(self.blobs[name].data.shape[1:])[inverse]
        self.context_pad = context_pad
        if not context_pad:
            return
        mean = self.transformer.mean.get(name)
        if mean is None:
            self.crop_mean = np.zeros(self.crop_dims, dtype=np.float32)
            return
        mean = mean.copy().transpose(inverse)
        swap = self.transformer.channel_swap.get(name)
        if swap is not None:
            mean = mean[:, :, [swap.index(channel) for channel in range(mean.shape[2])]]
        if self.transformer.raw_scale.get(name) is not None:
            mean /= self.transformer.raw_scale[name]
        self.crop_mean = mean

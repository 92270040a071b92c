"""`caffe.Classifier`: what is in images, by a net with one input and class scores as its first output."""

from __future__ import annotations

from typing import Any

import numpy as np

from caffe_compat.pycaffe import io
from caffe_compat.pycaffe.net import Net
from caffe_compat.pycaffe.preprocessing import transformer_of

TEST = 1


class Classifier(Net):
    """A Net that scales, crops and transforms the images it classifies.

    image_dims: (height, width) that images are resized to before they are cropped; the net's own by default. mean,
    input_scale, raw_scale, channel_swap: see io.Transformer.
    """

    def __init__(
        self,
        model_file: str,
        pretrained_file: str | None,
        image_dims: Any = None,
        mean: Any = None,
        input_scale: Any = None,
        raw_scale: Any = None,
        channel_swap: Any = None,
    ) -> None:
        Net.__init__(self, model_file, TEST, weights=pretrained_file)
        self.transformer = transformer_of(self, mean, input_scale, raw_scale, channel_swap)
        self.crop_dims = np.array(self.blobs[self.inputs[0]].data.shape[2:])
        self.image_dims = image_dims or self.crop_dims

    def predict(self, inputs: Any, oversample: bool = True) -> np.ndarray:
        """(images, classes): the scores of each image (height, width, channels), a mean over ten crops or not."""
        images = np.zeros((len(inputs), self.image_dims[0], self.image_dims[1], inputs[0].shape[2]), dtype=np.float32)
        for index, image in enumerate(inputs):
            images[index] = io.resize_image(image, self.image_dims)
        if oversample:
            images = io.oversample(images, self.crop_dims)
        else:
            middle, half = np.array(self.image_dims) / 2.0, self.crop_dims / 2.0
            (top, left), (bottom, right) = (middle - half).astype(int), (middle + half).astype(int)
            images = images[:, top:bottom, left:right, :]
        name = self.inputs[0]
        batch = np.zeros(np.array(images.shape)[[0, 3, 1, 2]], dtype=np.float32)
        for index, image in enumerate(images):
            batch[index] = self.transformer.preprocess(name, image)
        scores: np.ndarray = self.forward_all(**{name: batch})[self.outputs[0]]
        return scores.reshape((len(scores) // 10, 10, -1)).mean(1) if oversample else scores

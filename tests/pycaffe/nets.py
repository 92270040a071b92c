"""Small nets for the tests of the drop-in, and numbers that are all different."""

from pathlib import Path
from typing import Any

import numpy as np

import caffe_compat.pycaffe as caffe

DATA = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }\n'


def wave(*shape: int, k: float = 0) -> np.ndarray:
    """sin(0.7 i + k), float32."""
    return np.sin(0.7 * np.arange(int(np.prod(shape))) + k).astype(np.float32).reshape(shape)


def layer(name: str, kind: str, bottom: str, top: str, fields: str = "") -> str:
    bottoms = " ".join(f'bottom: "{one}"' for one in bottom.split())
    return f'layer {{ name: "{name}" type: "{kind}" {bottoms} top: "{top}" {fields} }}\n'


def inner(name: str, bottom: str, top: str, outputs: int) -> str:
    return layer(name, "InnerProduct", bottom, top, f"inner_product_param {{ num_output: {outputs} }}")


def net(text: str, phase: int = caffe.TRAIN, forced: bool = True) -> Any:
    """A net with known parameters, in the working folder."""
    Path("net.prototxt").write_text(("force_backward: true\n" if forced else "") + text)
    built = caffe.Net("net.prototxt", phase)
    for i, blobs in enumerate(built.params.values()):
        for j, blob in enumerate(blobs):
            blob.data[...] = 0.5 * wave(*blob.data.shape, k=i + 2 * j)
    return built

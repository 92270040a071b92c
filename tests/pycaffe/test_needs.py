"""Where Caffe stops in a backward pass: words of commit 9b89154, where the process ends."""

import numpy as np
import pytest

from caffe_compat.pycaffe.bindings import CheckError
from tests.pycaffe.nets import DATA, inner, layer, net

LABEL = 'layer { name: "l" type: "Input" top: "label" input_param { shape { dim: 2 } } }\n'
OF_LABELS = "Layer cannot backpropagate to label inputs."


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (DATA + LABEL + layer("a", "Accuracy", "data label", "a"), "Not Implemented Yet"),
        (DATA + layer("a", "ArgMax", "data", "a"), "Not Implemented Yet"),
        (DATA + layer("a", "Threshold", "data", "a"), "Not Implemented Yet"),
        (LABEL + layer("e", "Embed", "label", "e", "embed_param { input_dim: 2 num_output: 3 }"), "EmbedLayer input"),
        (DATA + LABEL + layer("b", "BatchReindex", "data label", "b"), "Cannot backprop to index."),
        (DATA + LABEL + layer("f", "Filter", "data label", "f"), "cannot backpropagate to filter index inputs"),
        (DATA + LABEL + layer("s", "HingeLoss", "data label", "s", "propagate_down: [true, true]"), OF_LABELS),
        (DATA + LABEL + layer("s", "SoftmaxWithLoss", "data label", "s", "propagate_down: [true, true]"), OF_LABELS),
    ],
)
def test_gradients_that_caffe_has_not_are_refused(text: str, words: str) -> None:
    built = net(text)
    built.forward()
    with pytest.raises(CheckError, match=words):
        built.backward()


def test_a_label_that_is_learned_is_refused_and_one_that_is_not_is_left_alone() -> None:
    loss = layer("s", "SoftmaxWithLoss", "i label", "s")
    built = net(DATA + LABEL + inner("i", "data", "i", 3) + loss, forced=False)
    built.forward()
    built.backward()
    column = LABEL.replace("label", "l").replace("dim: 2", "dim: 2 dim: 1")
    built = net(DATA + column + inner("i", "data", "i", 3) + inner("j", "l", "label", 1) + loss, forced=False)
    built.forward()
    with pytest.raises(CheckError, match=OF_LABELS):
        built.backward()


def test_statistics_without_lr_mult_ask_for_a_gradient_and_with_nought_do_not() -> None:
    """Net::Init asks the file; BatchNorm sets lr_mult to 0 in its own copy."""
    loss = layer("l", "Reduction", "i", "l", "loss_weight: 1")
    for fields, reaches in (("", True), ("param { lr_mult: 0 } " * 3, False)):
        built = net(DATA + layer("b", "BatchNorm", "data", "b", fields) + inner("i", "b", "i", 3) + loss, forced=False)
        built.forward(data=np.arange(6.0).reshape(2, 3))
        built.backward()
        assert built.blobs["b"].diff.any() == reaches

"""What an error says beyond what is wrong: the command that makes what the verb needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from shlex import quote

import caffe_compat as cc


def reason_of(error: Exception) -> str:
    """The message of `error` without what only a script in Python can do about it."""
    return str(error).partition("; to count without data")[0]


@contextmanager
def deploy_advised(
    net: str, weights: str, verb: str, errors: tuple[type[cc.CaffeCompatError], ...] = (cc.MissingDataError,)
) -> Iterator[None]:
    """A net for training that cannot be used: one of `errors` says which command makes the net to `verb`.

    net, weights: their files; weights may be empty where the verb needs none.
    """
    try:
        yield
    except errors as error:
        layers = cc.read_model(net).net.layer
        if not any(layer.type.endswith("Loss") or layer.type == "Accuracy" for layer in layers):
            raise
        given = f" --weights {quote(weights)}" if weights else ""
        written = "--out deploy.prototxt" + (" --out-weights deploy.caffemodel" if weights else "")
        raise type(error)(
            f"{reason_of(error)}; or, as this is a net for training, {verb} what "
            f"caffe-compat deploy {quote(net)}{given} --shape BLOB=SHAPE {written} makes of it"
        ) from error

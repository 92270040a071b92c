"""What a test's plugin leaves in this process, and how it goes again."""

from __future__ import annotations

import sys

from caffe_compat import plugins
from caffe_compat.commands import registry as command_registry
from caffe_compat.layers import registry as layer_registry
from caffe_compat.solver.regularizers import registry as regularizer_registry


def forget(package: str) -> None:
    """Remove the modules of a plugin, and all that they registered, so that no later test meets them."""
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        del sys.modules[name]
    for known in (layer_registry._classes, regularizer_registry._methods, command_registry._commands):
        for name in [name for name, each in known.items() if each.__module__.partition(".")[0] == package]:
            del known[name]
    plugins._used[:] = [name for name in plugins._used if name.partition(".")[0] != package]
    for cached in (plugins.installed, plugins.load_all):
        cached.cache_clear()

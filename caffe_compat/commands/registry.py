"""Verbs that plugins add to `caffe-compat`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Protocol, TypeVar

from caffe_compat import PluginError
from caffe_compat.plugins import COMMANDS, installed, load, owner


class Command(Protocol):
    """What runs a verb: a module, or a class with static methods; its docstring is the verb's help."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the verb's own options to its parser."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Do what the verb is for; the exit status."""


Found = TypeVar("Found")
_commands: dict[str, object] = {}


def register_command(name: str) -> Callable[[Found], Found]:
    """Decorator: make the class `caffe-compat NAME`; it has the static methods of a Command, and a docstring.

    PluginError where something else has that verb.
    """

    def add(command: Found) -> Found:
        from caffe_compat.commands import VERBS

        known = _commands.get(name)
        same = known is None or getattr(known, "__qualname__", None) == getattr(command, "__qualname__", None)
        if name in VERBS or not same:
            raise PluginError(f"verb '{name}' is registered twice; rename one")
        _commands[name] = command
        return command

    return add


def find_command(name: str) -> object | None:
    """What runs the verb that a plugin adds, imported now; None for a verb that nobody has."""
    found = _commands.get(name)
    if found is None and (found := load(COMMANDS, name)) is not None:
        for wanted in ("add_arguments", "run"):
            if not callable(getattr(found, wanted, None)):
                raise PluginError(f"plugin '{name}': its entry point has no function {wanted}")
    return found


def plugin_commands() -> dict[str, str]:
    """The verbs that plugins add, each with a line for the help; no plugin is imported for it."""
    lines = {name: f"of {', '.join(map(owner, points))}" for name, points in installed(COMMANDS).items()}
    return lines | {name: (each.__doc__ or "").partition("\n")[0] for name, each in _commands.items()}

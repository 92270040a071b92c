"""caffe-compat VERB: one module a verb, imported only when its verb is called."""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any

from caffe_compat import CaffeCompatError, __version__, use_plugin
from caffe_compat.commands.beginning import without_torch_if_it_does
from caffe_compat.commands.following import followed
from caffe_compat.commands.gflags import set_apart, translate
from caffe_compat.commands.in_place import add_in_place, run_in_place
from caffe_compat.commands.interrupts import interruptible, is_of_interrupt, status
from caffe_compat.commands.options import add_plugin
from caffe_compat.commands.parser import BAD_INPUT, OneLineParser
from caffe_compat.commands.registry import find_command, plugin_commands
from caffe_compat.commands.streams import occupy_closed, safe_streams
from caffe_compat.plugins import place_of
from caffe_compat.showing import words_of

FILES = """

Verbs read and write files, by name: pipes, devices and - are refused, and files that exist kept unless
--force-overwrite is given. The result is printed; the log and what is wrong go to stderr."""
BROKEN_PIPE = 141  # exit status, as a shell reports the signal
NO_PYTHON = "CAFFE_COMPAT_NO_PYTHON"  # an environment variable: set, Python layers are refused
TRACEBACK = "CAFFE_COMPAT_TRACEBACK"  # an environment variable: faults of the package show where they are


@dataclass(frozen=True)
class Verb:
    """A verb's module in this package, with its `add_arguments` and `run`, and its line in the help.

    builds: whether it makes layers, and so takes --plugin.
    """

    module: str
    summary: str
    builds: bool = True
    is_verbatim: bool = False  # what stands behind its own options belongs to another program
    only_reads: bool = False  # so that it may do without torch


VERBS = {
    "solve": Verb("solve", "train a net as its solver prototxt says, with or without force"),
    "train": Verb("solve", "the same as solve, by Caffe's name"),
    "test": Verb("test", "score a net on its own test data"),
    "classify": Verb("classify", "say what is in images, by the classes of a trained net"),
    "log": Verb("log", "show how a training run went: a table, a picture, CSV files", builds=False),
    "time": Verb("time", "measure each layer, forward and backward"),
    "layers": Verb("layers", "say which layer types there are: where each is, whose, and how exact"),
    "show": Verb("show", "say what is in a file: a net as a table; weights, states, means, databases", only_reads=True),
    "check": Verb("check", "say what is wrong with a net and its weights, and which layers are exact", only_reads=True),
    "deploy": Verb("deploy", "make the net that is deployed from the one that is trained"),
    "compare": Verb("compare", "say where two nets, a net and a dump of blobs, or two files of weights differ"),
    "decompose": Verb("decompose", "replace layers by chains of low rank"),
    "shrink": Verb("shrink", "train with force, decompose and fine-tune, each step measured"),
    "prune": Verb("prune", "take filters away, or train a decomposed net whose ranks shrink on the way"),
    "sparsity": Verb("sparsity", "count the filters that training left without effect"),
    "surgery": Verb("surgery", "rewrite a net exactly: fully convolutional, channels, mean and scale, classifier"),
    "export": Verb("export", "write a net as ONNX, for torch.export or as PyTorch source, and check its numbers"),
    "verify": Verb("verify", "check a decomposed net against the net it came from"),
    "groups": Verb("groups", "make grouped convolutions parallel layers, or one convolution again"),
    "data": Verb("data", "make the databases that nets read, and mean images", builds=False),
    "convert": Verb("convert", "rewrite weights or a solver's state as HDF5 or binary, both ways", builds=False),
    "python": Verb("python", "run a Python script that imports caffe, written for pycaffe", is_verbatim=True),
    "upgrade": Verb("upgrade", "rewrite an old net, solver or caffemodel in the current format", builds=False),
    "completion": Verb("completion", "print what makes a shell complete verbs and options: bash, zsh, fish"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb that `argv` (default: the command line) names; the exit status."""
    occupy_closed()
    with safe_streams():
        return _run(list(sys.argv[1:] if argv is None else argv))


def _run(words: list[str]) -> int:
    try:
        with interruptible():
            return _dispatch(words)
    except BrokenPipeError:
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return status()
    except (CaffeCompatError, OSError) as error:
        return _refuse(one_line(error))
    except Exception as error:
        if is_of_interrupt(error):
            return status()
        if os.environ.get(TRACEBACK):
            raise
        return _refuse(_unforeseen(error))


def _refuse(line: str) -> int:
    with suppress(OSError):
        sys.stdout.flush()
    print(f"caffe-compat: {line}", file=sys.stderr)
    return BAD_INPUT


def _unforeseen(error: Exception) -> str:
    """One line on an error that is not of the input: of a plugin, too little memory, or a fault of the package."""
    what = f"{type(error).__name__}: {one_line(error)}"
    if place := place_of(error):  # torch.fx adds the node and an advertisement to the words of the plugin
        return f"{what.partition(' While executing %')[0]} ({place}, of a plugin); {TRACEBACK}=1 shows more"
    if isinstance(error, MemoryError) or "memory" in words_of(error):
        return f"{what}; use a smaller batch or net, or a machine with more memory"
    return f"{what}; this is a fault of caffe_compat: please report it, with what {TRACEBACK}=1 shows"


def _dispatch(words: list[str]) -> int:
    while words[:1] and words[0].partition("=")[0] == "--plugin":  # before a verb that the module itself may add
        plugin, words = _named(words)
        use_plugin(plugin)
    if words[:1] == ["help"] and find_command("help") is None:  # help, or help VERB
        words = [*words[1:2], "--help"] if words[1:] else []
    if not words:
        _top_parser().print_help()
        return 0
    if words[0].startswith("-"):
        _top_parser().parse_args(words[:1])  # prints the help or the version and exits, or refuses the word
    name, module = words[0], _command(words[0])
    verb = VERBS.get(name, Verb(name, "of a plugin"))
    parser = OneLineParser(
        prog=f"caffe-compat {name}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    if verb.builds:
        add_plugin(parser)
        add_in_place(parser)
    parser.add_argument("--no-python", action="store_true", help=f"run no Python layers (also: {NO_PYTHON}=1)")
    own = set_apart(_joined(words[1:]), "-m") if verb.is_verbatim else translate(words[1:], parser)
    arguments = parser.parse_args(own)
    if name in VERBS and not verb.is_verbatim:
        _refuse_streams(arguments)
    for plugin in arguments.plugin if verb.builds else ():
        use_plugin(plugin)
    with _python_layers(off=arguments.no_python), nullcontext() if verb.is_verbatim else followed():
        run = without_torch_if_it_does(module.run) if verb.only_reads else module.run
        status = run_in_place(run, arguments)
    sys.stdout.flush()
    return status


def _refuse_streams(arguments: argparse.Namespace) -> None:
    """CaffeCompatError where `-` stands among the arguments, by which other programs mean what is typed or printed."""
    for value in vars(arguments).values():
        if any(str(each) == "-" for each in (value if isinstance(value, list | tuple) else [value])):
            raise CaffeCompatError("-: is no name of a file or folder here; give one, or ./- for what is called -")


@contextmanager
def _python_layers(off: bool) -> Iterator[None]:
    """Within this block, and in the processes that it starts, Python layers are refused where `off`."""
    before = os.environ.get(NO_PYTHON)
    if off:
        os.environ[NO_PYTHON] = "1"
    try:
        yield
    finally:
        if off:
            os.environ.pop(NO_PYTHON)
            os.environ.update({} if before is None else {NO_PYTHON: before})


def _named(words: list[str]) -> tuple[str, list[str]]:
    """The module of the --plugin in front, and the words behind it."""
    _, equals, module = words[0].partition("=")
    rest = words[1:] if equals else words[2:]
    return (module if equals else "".join(words[1:2])), rest


def _joined(words: list[str]) -> list[str]:
    """`words` with each --plugin MODULE in front as one word, so that the first word without - is the program's."""
    first: list[str] = []
    while words and words[0].startswith("-"):
        if words[0] == "--plugin":
            plugin, words = _named(words)
            first.append(f"--plugin={plugin}")
        else:
            first.append(words[0])
            words = words[1:]
    return first + words


def _command(name: str) -> Any:
    """What runs the verb `name`: its module here, or what a plugin registers or has as entry point."""
    if name in VERBS:
        return importlib.import_module(f"{__name__}.{VERBS[name].module}")
    found = find_command(name)
    if found is None:
        known = [*VERBS, *plugin_commands()]
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ";"
        _top_parser().error(f"no verb '{name}'{hint} known: {', '.join(known)}")
    return found


def _top_parser() -> argparse.ArgumentParser:
    lines = {name: verb.summary for name, verb in VERBS.items()} | plugin_commands()
    width = max(map(len, lines))
    parser = OneLineParser(
        prog="caffe-compat",
        description="Read, run, train, shrink and write Caffe models in PyTorch, with Caffe's own numbers.",
        epilog="verbs:\n" + "\n".join(f"  {name:<{width}}  {summary}" for name, summary in lines.items()) + FILES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"caffe-compat {__version__}")
    parser.add_argument("verb", metavar="VERB", help="caffe-compat VERB --help says more")
    return parser


def one_line(error: Exception) -> str:
    """`error` as one line: an OSError as path and reason, any other as its message."""
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename is not None else ""
        return f"{where}{error.strerror}"
    return " ".join(words_of(error).split()) or type(error).__name__

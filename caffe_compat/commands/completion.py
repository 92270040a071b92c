"""Print what makes a shell complete verbs and options: bash, zsh or fish.

  caffe-compat completion bash > ~/.local/share/bash-completion/completions/caffe-compat
  source <(caffe-compat completion zsh)
  caffe-compat completion fish > ~/.config/fish/completions/caffe-compat.fish

Values that an option allows are offered behind it, the tools of `data` behind that; other words are completed as files.
"""

from __future__ import annotations

import argparse
import importlib

from caffe_compat.commands import VERBS
from caffe_compat.commands.in_place import add_in_place
from caffe_compat.commands.options import add_plugin

BASH = """\
_caffe_compat() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} verb=${{COMP_WORDS[1]}} options= words=
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "{verbs} help --help --version" -- "$word"))
        return
    fi
    case $verb in
{cases}
    esac
    case "$verb $before" in
{values}
    esac
    if [[ $word == -* ]]; then
        COMPREPLY=($(compgen -W "$options" -- "$word"))
    elif [ -n "$words" ]; then
        COMPREPLY=($(compgen -W "$words" -- "$word"))
    else
        local IFS=$'\\n'
        COMPREPLY=($(compgen -f -- "$word"))
    fi
}}
complete -o filenames -F _caffe_compat caffe-compat
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=tuple(SHELLS), help="whose completion to print")


def run(arguments: argparse.Namespace) -> int:
    print(SHELLS[arguments.shell](), end="")
    return 0


def parsers_of(verb: str) -> list[argparse.ArgumentParser]:
    """The parser of a verb with all options that it takes, and those of its tools."""
    parser = argparse.ArgumentParser(prog=verb)
    importlib.import_module(f"caffe_compat.commands.{VERBS[verb].module}").add_arguments(parser)
    if VERBS[verb].builds:
        add_plugin(parser)
        add_in_place(parser)
    parser.add_argument("--no-python", action="store_true")
    tools = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return [parser, *(each for action in tools for each in action.choices.values())]


def options_of(verb: str) -> list[str]:
    """The long options of a verb, those of the tools of `data` too."""
    found = [name for each in parsers_of(verb) for action in each._actions for name in action.option_strings]
    return sorted({option for option in found if option.startswith("--")})


def values_of(verb: str) -> dict[str, list[str]]:
    """What may stand behind an option, where that is one of a few words, and under "" behind the verb itself."""
    found: dict[str, list[str]] = {}
    for parser in parsers_of(verb):
        for action in parser._actions:
            for name in action.option_strings or [""]:
                if action.choices and (not name or name.startswith("--")):
                    found.setdefault(name, list(map(str, action.choices)))
    return found


def _bash() -> str:
    cases = "\n".join(f'        {verb}) options="{" ".join(options_of(verb))}" ;;' for verb in VERBS)
    values = [f'        "help help") words="{" ".join(VERBS)}" ;;']
    for verb in VERBS:
        for option, words in values_of(verb).items():
            values.append(f'        "{verb} {option or verb}") words="{" ".join(words)}" ;;')
    return BASH.format(verbs=" ".join(VERBS), cases=cases, values="\n".join(values))


def _zsh() -> str:
    return f"autoload -U +X bashcompinit && bashcompinit\n{_bash()}"


def _fish() -> str:
    lines = []
    for verb, told in VERBS.items():
        summary = told.summary.replace("'", "\\'")
        lines.append(f"complete -c caffe-compat -n __fish_use_subcommand -a {verb} -d '{summary}'")
        within, values = f"complete -c caffe-compat -n '__fish_seen_subcommand_from {verb}'", values_of(verb)
        for option in options_of(verb):
            words = f" -x -a '{' '.join(values[option])}'" if option in values else ""
            lines.append(f"{within} -l {option[2:]}{words}")
        if "" in values:
            lines.append(f"{within} -a '{' '.join(values[''])}'")
    return "\n".join(lines) + "\n"


SHELLS = {"bash": _bash, "zsh": _zsh, "fish": _fish}

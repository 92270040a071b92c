"""Print what makes a shell complete verbs and options: bash, zsh or fish.

  caffe-compat completion bash > ~/.local/share/bash-completion/completions/caffe-compat
  source <(caffe-compat completion zsh)
  caffe-compat completion fish > ~/.config/fish/completions/caffe-compat.fish

Words that are no options are completed as files.
"""

from __future__ import annotations

import argparse
import importlib

from caffe_compat.commands import VERBS

BASH = """\
_caffe_compat() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} verb=${{COMP_WORDS[1]}} options=
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "{verbs} --help --version" -- "$word"))
        return
    fi
    case $verb in
{cases}
    esac
    if [[ $word == -* ]]; then
        COMPREPLY=($(compgen -W "$options" -- "$word"))
    else
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


def options_of(verb: str) -> list[str]:
    """The long options of a verb, those of the tools of `data` too."""
    parser = argparse.ArgumentParser(prog=verb)
    importlib.import_module(f"caffe_compat.commands.{VERBS[verb].module}").add_arguments(parser)
    parsers = [parser]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            parsers += action.choices.values()
    found = [option for each in parsers for action in each._actions for option in action.option_strings]
    return sorted({option for option in found if option.startswith("--")})


def _bash() -> str:
    cases = "\n".join(f'        {verb}) options="{" ".join(options_of(verb))}" ;;' for verb in VERBS)
    return BASH.format(verbs=" ".join(VERBS), cases=cases)


def _zsh() -> str:
    return f"autoload -U +X bashcompinit && bashcompinit\n{_bash()}"


def _fish() -> str:
    lines = []
    for verb, told in VERBS.items():
        summary = told.summary.replace("'", "\\'")
        lines.append(f"complete -c caffe-compat -n __fish_use_subcommand -a {verb} -d '{summary}'")
        lines += [
            f"complete -c caffe-compat -n '__fish_seen_subcommand_from {verb}' -l {option[2:]}"
            for option in options_of(verb)
        ]
    return "\n".join(lines) + "\n"


SHELLS = {"bash": _bash, "zsh": _zsh, "fish": _fish}

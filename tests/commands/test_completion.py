"""`caffe-compat completion SHELL` prints what completes every verb and option."""

import shutil
import subprocess

import pytest

from caffe_compat.commands import VERBS, main
from caffe_compat.commands.completion import SHELLS, options_of


def completed(script, *words):
    """What bash offers for the last of `words`."""
    array = " ".join(f"'{word}'" for word in words)
    command = f"{script}\nCOMP_WORDS=(caffe-compat {array}); COMP_CWORD={len(words)}; _caffe_compat\n"
    done = subprocess.run(["bash", "-c", command + 'printf "%s\\n" "${COMPREPLY[@]}"'], capture_output=True, text=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_bash_completes_verbs_options_and_files(problem, capsys):
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    assert completed(script, "de") == ["deploy", "decompose"]
    assert completed(script, "solve", "--force-d") == ["--force-decay"]
    assert "--float-labels" in completed(script, "data", "imageset", "--fl")
    assert completed(script, "show", "net.pro") == ["net.prototxt"]
    problem.write("my net.prototxt", "")
    assert completed(script, "show", "my") == ["my net.prototxt"]
    assert sorted(completed(script, "data", "im")) == ["imagenet", "imageset"]
    assert completed(script, "completion", "") == ["bash", "zsh", "fish"]
    assert completed(script, "help", "exp") == ["export"]
    assert completed(script, "export", "--format", "") == ["onnx", "pt2", "torch"]
    assert completed(script, "show", "--plug") == ["--plugin"]


@pytest.mark.parametrize("shell", SHELLS)
def test_every_verb_and_option_is_there(shell, capsys):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for verb in VERBS:
        assert verb in script
        assert all(option[2:] in script for option in options_of(verb))

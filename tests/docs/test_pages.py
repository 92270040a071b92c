"""Pages of docs/: every block is run, every verb is shown, nothing is stale, every page can be reached."""

import importlib
import importlib.util
import re
import shlex
import subprocess
import sys

import pytest

from caffe_compat.commands import VERBS, OneLineParser, add_in_place, add_plugin, translate
from caffe_compat.commands.completion import options_of
from reproductions import tables, transcripts
from tests.conftest import ROOT

PAGES = {str(path.relative_to(transcripts.DOCS)): path.read_text(encoding="utf-8") for path in tables.pages()[1:]}
# of reproductions and of torchrun
OTHER_OPTIONS = {
    *("--version", "--list", "--smoke", "--record", "--check", "--pages", "--root", "--rehearse", "--max-restarts")
}
PLUGIN_WORDS = ("--help", "--version", "--plugin", "help")
# Blocks that no test runs, by how they begin: why.
NOT_RUN = {
    "caffe-compat deploy today.prototxt": "of a net that trains; tests/commands/test_export.py does it",
    "python3 -m venv": "installs; test_packaging.py installs into new environments",
    "python -m reproductions.quickstart": "tests/reproductions/test_quickstart.py runs it",
    "python -m reproductions.convnet.beside_fork": "needs the fork; tests/reproductions has a made-up one",
    "python -m reproductions.convnet.run": "hours, and CIFAR-10; tests/reproductions/test_steps.py does it in seconds",
    "python -m reproductions.gpu": "needs a GPU; tests/reproductions/gpu rehearses it",
    "export GLOO_SOCKET_IFNAME": "needs two machines; tests/faults/test_two_hosts.py has them as two namespaces",
}


def typed():
    """(page, command) of every line that the pages tell a reader to type."""
    for page, text in PAGES.items():
        for block in transcripts.blocks(text):
            if block.language == "console":
                yield from ((page, command) for command in transcripts.commands(block.text))


CALLS = [
    (page, part) for page, command in typed() for part in re.findall(r"(?:^|&& )(caffe-compat [^|&>]+)", command.words)
]


def test_no_page_was_edited_and_not_run(capsys):
    assert transcripts.main(["--check"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("path", tables.pages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_tables_are_what_their_script_makes(path):
    text = path.read_text(encoding="utf-8")
    assert tables.filled(text) == text
    assert text.count("<!-- ") == text.count(" -->")


def test_every_block_is_run_or_has_a_reason():
    for page, text in PAGES.items():
        for block in transcripts.blocks(text):
            if block.runs:
                assert page in transcripts.PAGES or page == "api.md", page
            else:
                assert any(block.text.startswith(start) for start in NOT_RUN), (page, block.text)
        assert text.count("\n```") == 2 * len(transcripts.blocks(text)), f"{page}: a block that is not closed"


def test_every_verb_is_shown_at_work():
    shown = {name for _, call in CALLS for name in shlex.split(call) if name in VERBS}
    assert {verb.module for verb in VERBS.values()} == {VERBS[name].module for name in shown}


@pytest.mark.parametrize(("page", "call"), CALLS)
def test_every_command_shown_is_one_that_its_verb_takes(page, call):
    words = re.sub(r" \d$", "", call.strip())
    _, *words = shlex.split(words)
    if words[0] == "--plugin":
        pytest.skip("its verb is a plugin's: the worked examples run it")
    verb = VERBS[words[0]]
    module = importlib.import_module(f"caffe_compat.commands.{verb.module}")
    parser = OneLineParser(allow_abbrev=False)
    module.add_arguments(parser)
    if verb.builds:
        add_plugin(parser)
        add_in_place(parser)
    if not verb.is_verbatim:
        parser.parse_args(translate(words[1:], parser))  # exits where a word is unknown


def spans():
    """(page, words) of the code within the sentences and tables of README, CONTRIBUTING and the site."""
    texts = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "CONTRIBUTING.md")} | PAGES
    for page, text in texts.items():
        for words in re.findall(r"`([^`\n]+)`", transcripts.BLOCK.sub("", text)):
            yield page, words.split()


def test_every_option_in_a_sentence_is_one_of_the_verb_that_is_named_with_it():
    known = {name: set(options_of(name)) | {"--help"} for name in VERBS}
    every = OTHER_OPTIONS.union(*known.values())
    unknown = []
    for page, words in spans():
        verb = words[1] if words[0] == "caffe-compat" and len(words) > 1 else words[0]
        options = [word.partition("=")[0] for word in words if word.startswith("--") and len(word) > 2]
        allowed = known[verb] if verb in VERBS else every
        if words[0] == "caffe-compat" and words[1:] and verb not in (*VERBS, "VERB", *PLUGIN_WORDS):
            unknown.append((page, " ".join(words)))
        elif not words[0].startswith(("python", "OMP_NUM_THREADS", "pip", "bash", "2to3", "GLOO_")):
            unknown += [(page, " ".join(words)) for option in options if option not in allowed]
    assert unknown == []


def test_every_page_is_in_the_navigation():
    named = re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert sorted(named) == sorted(PAGES)


def test_a_changed_block_is_stale_and_changed_words_are_not():
    text = PAGES["index.md"]
    assert not transcripts.is_stale(text)
    assert not transcripts.is_stale(text.replace("# Start", "# Beginning"))
    assert transcripts.is_stale(text.replace("max_iter: 500", "max_iter: 600"))
    assert transcripts.is_stale(text.replace("--keep 0.95", "--keep 0.9"))


def test_masks_hide_numbers_and_widths_alone():
    assert transcripts.masked("loss = 0.12  9 ms") == transcripts.masked("loss = 1.5e-3 10 ms")
    assert transcripts.masked("accuracy = 0.9") != transcripts.masked("loss = 0.9")
    assert transcripts.masked("conv1 9") == transcripts.masked("conv1       12")
    assert transcripts.masked("conv1 9") != transcripts.masked("conv2 9")
    logged = (
        "I1130 02:51:32.092617 21942 {}.py:270] Resuming from a",
        "I1130 02:51:32.1 2 resuming.py:7] Resuming from {}",
    )
    assert transcripts.masked(logged[0].format("solver")) == transcripts.masked(logged[1].format("a"))
    assert transcripts.masked(logged[0].format("solver")) != transcripts.masked(logged[1].format("b"))


def test_what_a_command_printed_is_kept_only_where_nothing_but_its_log_stamps_changed(tmp_path):
    page = (
        "```console\n$ printf 'I1201 07:00:00.5 9 a.py:2] loss = {}\\n'\nI1130 06:00:00.25  8 b.py:1] loss = 0.5\n```\n"
    )
    kept, new = (transcripts.Folder(tmp_path).written("a.md", page.format(loss)) for loss in ("0.5", "0.25"))
    assert "I1130 06:00:00.25  8 b.py:1] loss = 0.5\n" in kept
    assert "I1201 07:00:00.5 9 a.py:2] loss = 0.25\n```" in new and "I1130" not in new


@pytest.mark.slow
def test_commands_print_what_the_pages_say():
    for module in ("cv2", "sklearn", "lmdb", "onnx", "onnxruntime", "tensorboard", "matplotlib"):
        pytest.importorskip(module)
    changed = []
    for page, written, now in transcripts.run_pages():
        for old, new in zip(transcripts.blocks(written), transcripts.blocks(now), strict=True):
            calls = zip(transcripts.commands(old.text), transcripts.commands(new.text), strict=True)
            changed += [
                (page, was, now)
                for was, now in calls
                if transcripts.masked(was.output) != transcripts.masked(now.output)
            ]
    assert changed == []


@pytest.mark.slow
def test_the_site_builds_and_refuses_a_link_that_leads_nowhere(tmp_path):
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("the site needs the extra [docs]")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f"]
    done = subprocess.run([*command, str(ROOT / "mkdocs.yml"), "-d", str(tmp_path / "site")], timeout=300)
    assert done.returncode == 0 and (tmp_path / "site" / "differences" / "index.html").exists()
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("[nowhere](gone.md)\n")
    config = (ROOT / "mkdocs.yml").read_text().partition("nav:\n")[0].replace("extra_css: [tables.css]\n", "")
    (tmp_path / "mkdocs.yml").write_text(config)
    done = subprocess.run([*command, str(tmp_path / "mkdocs.yml")], capture_output=True, text=True, timeout=300)
    assert done.returncode != 0 and "gone.md" in done.stdout + done.stderr

"""No verb replaces a file that it was not told to, and none ever writes to what it reads."""

import os
from types import SimpleNamespace

import numpy as np
import pytest

import caffe_compat as cc
from caffe_compat.commands import main
from caffe_compat.commands.targets import check_targets, new_databases
from tests.conftest import golden

WRITING = {  # the words of a command, and the files that it writes, the first of them in place of {}
    "convert": ("convert w.caffemodel {}", "out.h5"),
    "convert, the net": ("convert w.caffemodel new.h5 --net-out {}", "out.prototxt"),
    "upgrade": ("upgrade net.prototxt {}", "out.prototxt"),
    "deploy": ("deploy net.prototxt --shape data=1,1,8,8 --out {}", "out.prototxt"),
    "deploy, the weights": ("deploy net.prototxt --shape data=1,1,8,8 --weights w.caffemodel --out-weights {}", "w2"),
    "show": ("show net.prototxt --html {}", "out.html"),
    "compare": ("compare net.prototxt --weights w.caffemodel --dump {}", "out.npz"),
    "log": ("log run.log --csv {}", "out.csv"),
    "log, Caffe's files": ("log run.log .", "run.log.test"),
    "groups": ("groups split net.prototxt w.caffemodel --parts conv1=2", "net.prototxt.split.prototxt"),
    "decompose": ("decompose net.prototxt w.caffemodel --ranks conv2=2", "net.prototxt.lowrank.prototxt"),
    "verify": ("verify d.pt d.cm --original d.pt --original-weights d.cm --out {}", "out.json"),
    "data mean": ("data mean db {}", "out.binaryproto"),
}
LOG = "I0223 14:55:42.870805  6406 solver.cpp:228] Iteration 0, loss = 2.5\n"


@pytest.fixture
def filled(problem):
    """The problem with weights, a log and a database."""
    net = cc.Net(cc.read_net("net.prototxt"))
    cc.write_net("w.caffemodel", cc.read_net("net.prototxt"), net.weights())
    deployed = cc.deploy(cc.read_model("net.prototxt", "w.caffemodel"), shapes={"data": (1, 1, 8, 8)})
    cc.write_model(deployed, "d.pt", "d.cm")
    problem.write("run.log", LOG)
    (problem.folder / "db").symlink_to(golden("formats", "db", "raw_lmdb"))
    return problem


def refused(capsys, words):
    capsys.readouterr()
    assert main(words) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("caffe-compat: ")
    return lines[-1]


@pytest.mark.parametrize("command", WRITING)
def test_a_file_that_exists_is_kept_unless_told(filled, capsys, command):
    words, name = WRITING[command][0].format(WRITING[command][1]).split(), WRITING[command][1]
    filled.write(name, "kept")
    assert f"{name}: exists and is kept; give --force-overwrite" in refused(capsys, words)
    assert (filled.folder / name).read_text() == "kept"
    assert main([*words, "--force-overwrite"]) == 0
    assert (filled.folder / name).read_bytes() != b"kept"


@pytest.mark.parametrize("command", [name for name, (words, _) in WRITING.items() if "{}" in words])
def test_a_folder_that_is_not_there_is_told_before_any_work(filled, capsys, command, monkeypatch):
    monkeypatch.setattr(cc, "read_model", lambda *_, **__: pytest.fail("work was begun"))
    for folder in ("gone", "run.log"):
        said = refused(capsys, WRITING[command][0].format(f"{folder}/x.h5").split())
        assert said == (f"caffe-compat: {folder}/x.h5: cannot be written: there is no folder {folder}; make it first")


def test_a_certificate_that_finds_no_room_leaves_nothing_of_what_it_is_about(filled, capsys, monkeypatch):
    def full(certificate, path):
        raise cc.WriteError(f"{path}: cannot be written: No space left on device")

    monkeypatch.setattr(cc.Certificate, "write", full)
    before = sorted(os.listdir())
    words = "decompose net.prototxt w.caffemodel --ranks conv2=2 --out small --certificate c.json"
    assert "c.json: cannot be written: No space left" in refused(capsys, words.split())
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize("link", ["itself", "another path", "a symbolic link", "a hard link"])
@pytest.mark.parametrize("words", ["convert w.caffemodel {}", "upgrade w.caffemodel {}"])
def test_what_is_read_is_never_written_to_whatever_it_is_called(filled, capsys, words, link):
    before = (filled.folder / "w.caffemodel").read_bytes()
    name = {"itself": "w.caffemodel", "another path": f"../{filled.folder.name}/w.caffemodel"}.get(link, "l.caffemodel")
    if link == "a symbolic link":
        (filled.folder / name).symlink_to("w.caffemodel")
    elif link == "a hard link":
        os.link("w.caffemodel", name)
    for more in ([], ["--force-overwrite"]):
        assert f"{name}: is what is read" in refused(capsys, [*words.format(name).split(), *more])
    assert (filled.folder / "w.caffemodel").read_bytes() == before


def test_the_net_that_weights_are_read_with_is_a_source_too(filled, capsys):
    words = "convert w.caffemodel out.h5 --net net.prototxt --net-out net.prototxt --force-overwrite"
    assert "net.prototxt: is what is read" in refused(capsys, words.split())
    assert not (filled.folder / "out.h5").exists()


def test_one_name_for_two_files_is_refused(filled, capsys):
    words = "deploy net.prototxt --shape data=1,1,8,8 --weights w.caffemodel --out x --out-weights ./x"
    assert "x: is to be written twice" in refused(capsys, words.split())


def test_folders_and_devices_are_never_replaced(filled):
    with pytest.raises(cc.WriteError, match="is a folder"):
        check_targets(["."], [], True)
    with pytest.raises(cc.WriteError, match="is no file that can be replaced"):
        check_targets(["/dev/null"], [], True)


def test_nothing_is_written_into_a_database_that_is_read(filled, capsys):
    assert "db/mean: lies inside db, which is read" in refused(capsys, ["data", "mean", "db", "db/mean"])


IMAGESET = ["data", "imageset", f"{golden('formats')}/images/", str(golden("formats", "list.txt")), "made"]


def test_a_database_that_exists_is_kept_unless_told(filled, capsys):
    assert main(IMAGESET) == 0
    assert "made: exists and is kept" in refused(capsys, IMAGESET)
    assert main([*IMAGESET, "--gray", "--force-overwrite"]) == 0
    assert main(["data", "info", "made"]) == 0
    assert "1x" in capsys.readouterr().out
    assert not (filled.folder / "made.replaced").exists()


def test_a_database_comes_back_where_its_successor_fails(filled, capsys):
    assert main(IMAGESET) == 0
    before = (filled.folder / "made" / "data.mdb").read_bytes()
    filled.write("bad.txt", "gone.png 3\n")
    assert "gone.png" in refused(capsys, ["data", "imageset", "./", "bad.txt", "made", "--force-overwrite"])
    assert (filled.folder / "made" / "data.mdb").read_bytes() == before


def test_a_folder_without_a_database_is_never_replaced(filled, capsys):
    (filled.folder / "made").mkdir()
    filled.write("made/thesis.txt", "years of work")
    assert "is no database that could be replaced" in refused(capsys, [*IMAGESET, "--force-overwrite"])
    assert (filled.folder / "made" / "thesis.txt").exists()


def test_what_a_killed_run_set_aside_is_told_of(filled):
    cc.write_lmdb(filled.folder / "made", [(b"0", b"x")])
    (filled.folder / "made.replaced").mkdir()
    told = pytest.raises(cc.WriteError, match=r"made\.replaced: is left of a run that was killed")
    with told, new_databases(["made"], [], True):
        raise AssertionError("never reached")


def test_extract_and_pad_keep_databases_too(filled, capsys):
    cc.write_lmdb(filled.folder / "made", [(b"0", b"x")])
    extract = ["data", "extract", "w.caffemodel", "net.prototxt", "conv1", "made", "1", "lmdb"]
    assert "made: exists and is kept" in refused(capsys, extract)
    assert main([*extract, "--force-overwrite"]) == 0
    assert "made: exists and is kept" in refused(capsys, ["data", "pad", "db", "made"])
    assert "db: is what is read" in refused(capsys, ["data", "pad", "db", "db", "--force-overwrite"])


def test_training_goes_on_over_its_own_snapshots_and_logs(problem, capsys):
    for _ in range(2):
        assert main(["solve", "solver.prototxt", "--max-iter", "10"]) == 0
    assert np.isfinite(cc.read_weights("small_iter_10.caffemodel")["conv1"][0]).all()


def test_a_dash_is_refused_by_every_verb_before_any_work(filled, capsys):
    for command, (words, _) in WRITING.items():
        if "{}" in words:
            assert refused(capsys, words.format("-").split()).startswith("caffe-compat: -: is no name of"), command
    for words in ("show -", "check net.prototxt -", "compare - net.prototxt", "log -", "data info -", "solve -"):
        assert refused(capsys, words.split()).startswith("caffe-compat: -: is no name of"), words
    assert not (filled.folder / "-").exists()
    assert main(["upgrade", "net.prototxt", "./-"]) == 0
    assert main(["show", "./-"]) == 0 and (filled.folder / "-").is_file()


@pytest.mark.parametrize("command", [name for name, (words, _) in WRITING.items() if "{}" in words])
def test_the_systems_name_of_an_open_file_is_never_replaced(filled, capsys, command):
    """As /dev/stdout with standard output in a file."""
    with open("log.txt", "wb") as file:
        name = f"/dev/fd/{file.fileno()}"
        line = refused(capsys, [*WRITING[command][0].format(name).split(), "--force-overwrite"])
        assert line == f"caffe-compat: {name}: is no file that can be replaced; name another file"
    assert not (filled.folder / "log.txt").read_bytes()


def test_a_pipe_is_refused_by_name_and_a_file_on_standard_input_is_read(filled, capsys):
    reader, writer = os.pipe()
    with open(reader, "rb"), open(writer, "wb"):
        for words in ("show", "check", "log", "compare net.prototxt"):
            line = refused(capsys, [*words.split(), f"/dev/fd/{reader}"])
            assert "is a FIFO; a regular file is wanted" in line, words
        assert "is no file that can be replaced" in refused(capsys, ["upgrade", "net.prototxt", f"/dev/fd/{writer}"])
    with open("net.prototxt", "rb") as file:
        assert main(["show", f"/dev/fd/{file.fileno()}"]) == 0


@pytest.mark.parametrize("command", WRITING)
def test_a_folder_that_takes_no_files_is_told_before_any_work(filled, capsys, command, monkeypatch):
    words, target = WRITING[command]
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # as for others than root, and on read-only disks
    monkeypatch.setattr(cc, "write_atomically", lambda path: pytest.fail("work was done"))
    before = sorted(os.listdir())
    assert "cannot be written: Permission denied; choose another folder" in refused(
        capsys, words.format(target).split()
    )
    assert sorted(os.listdir()) == before


def test_a_database_where_a_folder_takes_nothing_new_is_told_before_any_work(filled, capsys, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_flag=os.ST_RDONLY))
    assert "padded: cannot be written: Read-only file system" in refused(capsys, ["data", "pad", "db", "padded"])

"""Work tells who watches what it is at, step by step, and nobody where nobody watches."""

import pytest

from caffe_compat.progress import Work, doing, in_steps, watched_by


class Recorder:
    """Keeps what begins and ends."""

    def __init__(self) -> None:
        self.begun: list[Work] = []
        self.ended: list[Work] = []

    def begin(self, work: Work) -> None:
        self.begun.append(work)

    def end(self, work: Work) -> None:
        self.ended.append(work)


def test_steps_are_told_one_after_another():
    told = []
    with watched_by(recorder := Recorder()):
        for item in in_steps("counting", ["a", "b", "c"], str.upper):
            told.append((item, str(recorder.begun[0]), len(recorder.ended)))
    wanted = [("a", "counting: A, 1 of 3", 0), ("b", "counting: B, 2 of 3", 0), ("c", "counting: C, 3 of 3", 0)]
    assert told == wanted
    assert recorder.ended == recorder.begun


def test_steps_that_cannot_be_counted_are_told_by_name():
    with watched_by(recorder := Recorder()):
        told = [str(recorder.begun[0]) for _ in in_steps("reading", iter("ab"))]
    assert told == ["reading: a", "reading: b"]


def test_work_within_work_ends_first():
    with watched_by(recorder := Recorder()), doing("all"), doing("a part"):
        assert [str(work) for work in recorder.begun] == ["all", "a part"]
    assert [str(work) for work in recorder.ended] == ["a part", "all"]


@pytest.mark.parametrize("end", [RuntimeError, KeyboardInterrupt, None])
def test_work_that_is_given_up_ends(end):
    def broken():
        for _ in in_steps("counting", range(3)):
            if end is None:
                break
            raise end

    with watched_by(recorder := Recorder()):
        try:
            broken()
        except BaseException as error:
            assert type(error) is end
            del error
        with doing("more"):
            assert recorder.ended == recorder.begun[:1]


def test_nobody_watches_after_the_block():
    with watched_by(recorder := Recorder()):
        pass
    with doing("unseen"):
        assert list(in_steps("unseen", "ab")) == ["a", "b"]
    assert not recorder.begun

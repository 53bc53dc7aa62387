"""Which state an answer is of: one that was, the newest there is, whoever else is writing and whatever is not told yet."""

from collections.abc import Callable
from pathlib import Path
from threading import Event as Signal
from threading import Thread

import apsw
import pytest

from driftlog import Answer, Space
from driftlog._core.changes import Changes
from driftlog._sqlite.rows import Parameters, Row, fetch_all, fetch_one
from driftlog.space import lines
from driftlog.space.entries import prepare_events
from tests.todo_app import TodoAdded, TodoCompleted, TodoRemoved, TodoRenamed, todo_app

ALL = "SELECT * FROM todo ORDER BY text, id"


class Listener:
    """A subscriber whose calls are made when the test says so."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self.later: list[Callable[[], None]] = []
        self.told: list[list[str]] = []
        self.errors: list[Exception] = []
        space.subscribe(ALL, self._hear, call_soon=self.later.append, on_error=self.errors.append)
        self.call()
        space.append(TodoAdded(id="0", text="first"))
        self.call()
        self.told.clear()

    def _hear(self, answer: Answer) -> None:
        assert list(answer) == self.space.query(ALL)
        self.told.append([row.id for row in answer])

    def call(self) -> None:
        while self.later:
            self.later.pop(0)()
        # Even if another answer has put it right.
        assert self.errors == []


def many_changes_are_told_in_one(folder: Path) -> None:
    with todo_app().open(folder / "many.db") as space:
        listener = Listener(space)
        space.append(TodoAdded(id="1", text="b"))
        space.append(TodoAdded(id="2", text="a"))
        space.append(TodoRenamed(id="0", text="z"), TodoRemoved(id="1"))

        listener.call()

        assert listener.told == [["2", "0"]]


def what_is_committed_and_not_told_yet_is_in_the_answer(folder: Path) -> None:
    with todo_app().open(folder / "untold.db") as space:
        listener = Listener(space)
        space.append(TodoAdded(id="1", text="b"))
        # As between another thread's commit and its telling.
        with space._engine.reading() as store:
            store.append_alone(prepare_events(space._engine.program, [TodoAdded(id="2", text="a")]))

        listener.call()

        assert listener.told == [["2", "1", "0"]]


def what_another_process_wrote_is_in_the_answer(folder: Path) -> None:
    with todo_app().open(folder / "two.db") as space, todo_app().open(folder / "two.db") as other:
        listener = Listener(space)
        space.append(TodoAdded(id="1", text="b"))
        listener.call()
        space.append(TodoRenamed(id="1", text="c"))
        other.append(TodoAdded(id="2", text="a"))

        listener.call()
        other.append(TodoRenamed(id="2", text="d"))
        space.append(TodoRenamed(id="1", text="e"))
        listener.call()

        assert listener.told == [["1", "0"], ["2", "1", "0"], ["2", "1", "0"]]


def nobody_waits_for_a_writer_and_the_answer_is_whole(folder: Path) -> None:
    with todo_app().open(folder / "busy.db") as space:
        listener = Listener(space)
        is_writing, is_told = Signal(), Signal()

        def write() -> None:
            with space.transaction() as tx:
                tx.append(TodoAdded(id="2", text="a"))
                is_writing.set()
                assert is_told.wait(10)

        space.append(TodoAdded(id="1", text="b"))
        writer = Thread(target=write)
        writer.start()
        assert is_writing.wait(10)
        listener.call()
        is_told.set()
        writer.join()
        listener.call()

        assert listener.told == [["1", "0"], ["2", "1", "0"]]


def a_row_that_changed_three_times_is_counted_once(folder: Path) -> None:
    with todo_app().open(folder / "count.db") as space:
        space.append(TodoAdded(id="1", text="b"))
        told: list[int] = []
        space.subscribe("SELECT count(*) FROM todo WHERE done = 0", lambda answer: told.append(answer[0][0]))

        space.append(TodoAdded(id="2", text="b"))
        space.append(
            TodoCompleted(id="1"), TodoRemoved(id="1"), TodoAdded(id="1", text="c"), TodoAdded(id="3", text="d")
        )

        assert told == [1, 2, 3]


STORIES = [
    a_row_that_changed_three_times_is_counted_once,
    many_changes_are_told_in_one,
    what_is_committed_and_not_told_yet_is_in_the_answer,
    what_another_process_wrote_is_in_the_answer,
    nobody_waits_for_a_writer_and_the_answer_is_whole,
]


@pytest.mark.parametrize("story", STORIES)
def test_an_answer_is_of_a_state_that_was(story: Callable[[Path], None], tmp_path: Path) -> None:
    story(tmp_path)


def test_what_is_taken_is_due_before_another_thread_can_look(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with todo_app().open(tmp_path / "a.db") as space:
        listener = Listener(space)
        live = space._engine.live
        take, was_locked = live._take, []

        def taking() -> Changes | None:
            was_locked.append(live._lock.locked())
            return take()

        monkeypatch.setattr(live, "_take", taking)
        space.append(TodoAdded(id="1", text="b"))
        listener.call()

        # By who wrote, and by who was called.
        assert len(was_locked) >= 2
        assert all(was_locked)


def test_a_changed_row_of_a_long_answer_is_looked_up_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[str] = []
    looked_up: list[Row | None] = []

    def asking(connection: apsw.Connection, sql: str, parameters: Parameters) -> list[Row]:
        asked.append(sql)
        return fetch_all(connection, sql, parameters)

    def looking_up(connection: apsw.Connection, sql: str, parameters: Parameters) -> Row | None:
        looked_up.append(fetch_one(connection, sql, parameters))
        return looked_up[-1]

    with todo_app().open(tmp_path / "a.db") as space:
        listener = Listener(space)
        space.append(TodoAdded(id="1", text="b"))
        listener.call()
        monkeypatch.setattr(lines, "fetch_all", asking)
        monkeypatch.setattr(lines, "fetch_one", looking_up)

        space.append(TodoRenamed(id="0", text="a"))
        listener.call()

        assert listener.told[-1] == ["0", "1"]
        assert (asked, [row and row.id for row in looked_up]) == ([], ["0"])

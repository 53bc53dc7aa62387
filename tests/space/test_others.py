"""Other processes' writes: who is told, by which thread, and what is left of that thread afterwards.

Two spaces open on one file are two processes to each other: SQLite tells connections apart, not processes.
"""

import gc
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue
from threading import Event, Lock, Thread, current_thread
from threading import enumerate as threads

import pytest

from driftlog import Answer, EventRejected, Space
from driftlog._sqlite.wal_writes import Hints, NoHints, WalWrites
from driftlog.space.others import Found, Others
from tests.todo_app import TodoAdded, todo_app

ALL = "SELECT * FROM todo ORDER BY id"
SECONDS_MAX = 20


needs_inotify = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")


class OnlyHints(WalWrites):
    """Looks for nothing that there was no hint of."""

    patience_seconds = 3600.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.db"


@pytest.fixture
def ours(path: Path) -> Iterator[Space]:
    with todo_app().open(path, durability="relaxed") as space:
        yield space


@pytest.fixture
def theirs(ours: Space, path: Path) -> Iterator[Space]:
    with todo_app().open(path, durability="relaxed") as space:
        yield space


def watching() -> list[Thread]:
    return [thread for thread in threads() if thread.name == "driftlog-others"]


def ended(thread: Thread) -> bool:
    thread.join(SECONDS_MAX)
    return not thread.is_alive()


@pytest.mark.parametrize(
    "make_hints",
    [pytest.param(OnlyHints, marks=needs_inotify), lambda _: NoHints()],
    ids=["by a hint", "by looking now and then"],
)
def test_an_idle_space_is_told_of_another_s_append(
    ours: Space, theirs: Space, make_hints: Callable[[str], Hints]
) -> None:
    ours._engine.others.make_hints = make_hints
    told: Queue[tuple[int, str]] = Queue()
    ours.subscribe(ALL, lambda answer: told.put((len(answer), current_thread().name)))
    assert told.get_nowait() == (0, "MainThread")

    theirs.append(TodoAdded(id="1", text="a"))

    assert told.get(timeout=SECONDS_MAX) == (1, "driftlog-others")


def test_a_burst_of_another_s_appends_ends_with_the_newest_answer(ours: Space, theirs: Space) -> None:
    told: Queue[int] = Queue()
    ours.subscribe(ALL, lambda answer: told.put(len(answer)))

    for number in range(300):
        theirs.append(TodoAdded(id=str(number), text="a"))
    counts = [0]
    while counts[-1] < 300:
        counts.append(told.get(timeout=SECONDS_MAX))

    assert counts == sorted(counts)
    assert told.empty()


def test_another_s_append_that_a_refused_one_of_ours_found_is_told_by_the_next(ours: Space, theirs: Space) -> None:
    ours._engine.others.close()
    told: list[list[str]] = []
    ours.append(TodoAdded(id="2", text="b"))
    ours.subscribe("SELECT text FROM todo WHERE id = '1'", lambda answer: told.append([row.text for row in answer]))

    theirs.append(TodoAdded(id="1", text="a"))
    with pytest.raises(EventRejected):
        ours.append(TodoAdded(id="2", text="b"))
    ours.append(TodoAdded(id="3", text="c"))

    assert told == [[], ["a"]]


def test_what_this_space_writes_itself_is_not_taken_for_another_s(ours: Space, theirs: Space) -> None:
    ours._engine.others.close()
    ours.subscribe(ALL, lambda _: None)
    engine = ours._engine
    engine.look_for_others()

    ours.append(TodoAdded(id="1", text="a"))
    found = [engine.look_for_others(), engine.look_for_others()]
    theirs.append(TodoAdded(id="2", text="b"))
    found += [engine.look_for_others(), engine.look_for_others()]
    engine.deliver()
    found += [engine.look_for_others()]

    assert found == [Found.OWN, Found.NOTHING, Found.NEWS, Found.NEWS, Found.NOTHING]


def test_another_s_append_that_our_own_found_is_not_told_a_second_time(ours: Space, theirs: Space) -> None:
    ours._engine.others.close()
    ours.subscribe(ALL, lambda _: None)

    theirs.append(TodoAdded(id="1", text="a"))
    ours.append(TodoAdded(id="2", text="b"))

    assert ours._engine.look_for_others() is Found.OWN


def test_a_look_waits_for_nobody_who_uses_the_space(ours: Space) -> None:
    found: list[Found] = []
    with ours._engine.reading():
        looking = Thread(target=lambda: found.append(ours._engine.look_for_others()))
        looking.start()
        assert ended(looking)

    assert found == [Found.OWN]


def test_the_thread_begins_with_the_first_subscription_and_ends_after_the_last(
    ours: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driftlog.space.others.LINGER_SECONDS", 0)
    ours._engine.others.make_hints = lambda _: NoHints()
    assert watching() == []
    first, second = (ours.subscribe(ALL, lambda _: None) for _ in range(2))
    [thread] = watching()

    first.close()
    assert watching() == [thread]
    second.close()

    assert ended(thread)
    ours.subscribe(ALL, lambda _: None)
    assert len(watching()) == 1


@needs_inotify
def test_closing_a_space_leaves_no_thread_and_no_descriptor(path: Path) -> None:
    opened = Path("/proc/self/fd")
    before = len(list(opened.iterdir()))
    for _ in range(3):
        with todo_app().open(path) as space:
            space.subscribe(ALL, lambda _: None).close()
            space.subscribe(ALL, lambda _: None)
        assert watching() == []
    assert len(list(opened.iterdir())) == before


def test_a_space_in_memory_has_no_thread() -> None:
    with todo_app().open(":memory:") as space:
        space.subscribe(ALL, lambda _: None)
        assert watching() == []


def test_a_space_that_was_dropped_unclosed_is_let_go_of(path: Path) -> None:
    space = todo_app().open(path)
    space._engine.others.make_hints = lambda _: NoHints()
    space.subscribe(ALL, lambda _: None)
    [thread] = watching()

    del space
    for _ in range(SECONDS_MAX * 20):
        # Again, because a look may hold it just then.
        gc.collect()
        thread.join(0.05)
        if not thread.is_alive():
            break

    assert not thread.is_alive()


def test_a_callback_may_close_the_space_in_the_thread_that_watches(path: Path) -> None:
    ours, theirs = todo_app().open(path), todo_app().open(path)
    closed = Event()

    def close(answer: Answer) -> None:
        if answer:
            ours.close()
            closed.set()

    ours.subscribe(ALL, close)
    [thread] = watching()
    with theirs:
        theirs.append(TodoAdded(id="1", text="a"))

        assert closed.wait(SECONDS_MAX)
        assert ended(thread)


def test_closing_does_not_wait_for_a_callback_that_waits_for_the_closer(path: Path) -> None:
    ours, theirs = todo_app().open(path), todo_app().open(path)
    held, called = Lock(), Event()

    def callback(answer: Answer) -> None:
        if answer:
            called.set()
            with held:
                pass

    ours.subscribe(ALL, callback)
    [thread] = watching()
    with theirs, held:
        theirs.append(TodoAdded(id="1", text="a"))
        assert called.wait(SECONDS_MAX)
        ours.close()
    assert ended(thread)


def test_closing_within_a_transaction_does_not_wait_for_a_thread_that_wants_the_lock(path: Path) -> None:
    ours = todo_app().open(path)
    ours.subscribe(ALL, lambda _: None)
    with ours._engine.reading():
        ours._engine.close()
    assert watching() == []


def test_another_can_empty_the_wal_while_somebody_waits(ours: Space, theirs: Space) -> None:
    told: Queue[int] = Queue()
    ours.subscribe(ALL, lambda answer: told.put(len(answer)))
    theirs.append(TodoAdded(id="1", text="a"))
    while told.get(timeout=SECONDS_MAX) != 1:
        pass

    # SQL: fails with its first column 1 where anybody still reads what the WAL holds.
    [(is_busy, _, _)] = theirs._engine._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert is_busy == 0
    theirs.append(TodoAdded(id="2", text="b"))

    assert told.get(timeout=SECONDS_MAX) == 2


class Scripted:
    """Hints that the test gives, and a space that finds what the test says."""

    patience_seconds = 7.0

    def __init__(self, *found: Found | Exception) -> None:
        self._found = list(found)
        self.waited: list[float] = []
        self.told = 0
        self.is_over = Event()

    def wait(self, seconds: float) -> bool:
        self.waited.append(seconds)
        return len(self.waited) == 1

    def interrupt(self) -> None:
        pass

    def close(self) -> None:
        self.is_over.set()

    def look_for_others(self) -> Found:
        found = self._found.pop(0) if self._found else Found.CLOSED
        if isinstance(found, Exception):
            raise found
        return found

    def deliver(self) -> None:
        self.told += 1

    def play(self) -> None:
        others = Others(self, lambda: True, "", lambda _: self)
        others.begin()
        assert self.is_over.wait(SECONDS_MAX)


def test_after_a_hint_looks_follow_each_other_ever_slower() -> None:
    script = Scripted(*[Found.NOTHING] * 20)
    script.play()
    assert script.waited[:4] == [0, 0.0001, 0.0002, 0.0004]
    assert script.waited[-2:] == [7, 7]
    assert script.told == 0


def test_after_news_there_may_be_more() -> None:
    script = Scripted(*[Found.NOTHING] * 3, Found.NEWS, Found.NOTHING)
    script.play()
    assert script.waited == [0, 0.0001, 0.0002, 0.0004, 0.0001, 0.0002]
    assert script.told == 1


def test_what_a_look_meets_is_logged_once_and_the_next_one_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    script = Scripted(OSError("mine"), OSError("mine"), Found.NEWS, OSError("mine"))
    with caplog.at_level(logging.ERROR, "driftlog"):
        script.play()
    assert script.told == 1
    assert [record.exc_info is not None and str(record.exc_info[1]) for record in caplog.records] == ["mine", "mine"]


@needs_inotify
def test_hints_follow_the_name_to_another_file_and_end_when_interrupted(tmp_path: Path) -> None:
    wal = tmp_path / "a.db-wal"
    hints = WalWrites(str(wal))
    assert hints.patience_seconds < 1, "there is nothing to watch yet"
    for text in ("one", "another"):
        wal.unlink(missing_ok=True)
        wal.write_text(text)
        while hints.wait(0.001):
            pass
        assert hints.patience_seconds == 1
        with wal.open("a") as file:
            file.write("more")
        assert hints.wait(SECONDS_MAX)

    hints.interrupt()
    assert not hints.wait(SECONDS_MAX)
    hints.close()
    hints.interrupt()

"""Live queries on a bad day: what is interrupted, closed in the middle, refused late, or looks like something else."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread

import apsw
import pytest

from driftlog import Answer, App, Event, Row, Space, ViewTransaction
from driftlog._sqlite.rows import fetch_all
from driftlog._store.fold import Fold
from driftlog.errors import StorageError
from driftlog.space import lines
from driftlog.testing import fleet
from tests.todo_app import TodoAdded, TodoRemoved, todo_app

ALL = "SELECT id FROM todo ORDER BY id"


@pytest.fixture(params=["in memory", "in a file"])
def space(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Space]:
    with todo_app().open(":memory:" if request.param == "in memory" else tmp_path / "a.db") as space:
        yield space


def ids(told: list[list[object]]) -> Callable[[Answer], None]:
    return lambda answer: told.append([row.id for row in answer])


def test_who_subscribes_while_the_watch_over_nobody_ends_is_told_of_what_comes(
    space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[list[object]] = []
    live = space._engine.live
    space.subscribe(ALL, lambda _: None).close()
    threads: list[Thread] = []
    want = live._want

    def want_late(tables: frozenset[str]) -> bool:
        if not tables and not threads:
            threads.append(Thread(target=lambda: space.subscribe(ALL, ids(told))))
            threads[0].start()
            threads[0].join(0.2)  # it waits for the lock that is held here, or has subscribed where there is none
        return want(tables)

    monkeypatch.setattr(live, "_want", want_late)
    space.append(TodoAdded(id="1", text="a"))
    [thread] = threads
    thread.join()
    space.append(TodoAdded(id="2", text="b"))

    assert told[-1] == ["1", "2"]


@pytest.mark.parametrize("value", [1 << 70, object()])
def test_a_parameter_that_sqlite_cannot_take_is_refused_at_once_though_the_text_is_known(
    space: Space, value: object
) -> None:
    sql = "SELECT id FROM todo WHERE done = ? ORDER BY id"
    told: list[list[object]] = []
    space.subscribe(sql, ids(told), (0,))

    with pytest.raises((OverflowError, TypeError)):
        space.subscribe(sql, lambda _: None, (value,))  # type: ignore[arg-type]  # what is refused

    space.append(TodoAdded(id="1", text="a"))
    assert told == [[], ["1"]]


def test_bytes_that_may_change_later_are_taken_as_they_are(space: Space) -> None:
    given = bytearray(b"1")
    told: list[list[object]] = []
    space.subscribe("SELECT id FROM todo WHERE CAST(id AS BLOB) = ? ORDER BY id", ids(told), (given,))  # type: ignore[arg-type]  # as apsw takes it

    given[:] = b"2"
    space.append(TodoAdded(id="1", text="a"), TodoAdded(id="2", text="b"))

    assert told == [[], ["1"]]


def test_what_was_committed_and_then_interrupted_is_told(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[list[object]] = []
    space.append(TodoAdded(id="1", text="a"))
    space.subscribe(ALL, ids(told))

    def interrupt(_: Fold) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Fold, "commit", interrupt)
        with pytest.raises(KeyboardInterrupt):
            space.append(TodoAdded(id="2", text="b"))
    space.append(TodoAdded(id="3", text="c"))

    assert told[-1] == ["1", "2", "3"]


def test_a_callback_that_is_interrupted_keeps_nobody_elses_from_being_called(space: Space) -> None:
    calls: list[Callable[[], None]] = []
    told: list[list[object]] = []

    def interrupt(answer: Answer) -> None:
        if answer:
            raise KeyboardInterrupt

    space.subscribe(ALL, interrupt)
    space.subscribe(ALL, ids(told), call_soon=calls.append)
    calls.pop()()

    with pytest.raises(KeyboardInterrupt):
        space.append(TodoAdded(id="1", text="a"))
    calls.pop()()

    assert told == [[], ["1"]]


def test_who_was_to_be_called_after_an_interrupted_one_is_told_with_the_next_change(space: Space) -> None:
    told: list[Answer] = []

    def interrupt(answer: Answer) -> None:
        if len(answer) == 2:
            raise KeyboardInterrupt

    space.append(TodoAdded(id="1", text="a"))
    space.subscribe(ALL, interrupt)
    space.subscribe(ALL, told.append)

    with pytest.raises(KeyboardInterrupt):
        space.append(TodoAdded(id="2", text="b"))
    space.append(TodoRemoved(id="1"))

    first, second = told
    assert [row.id for row in second] == ["2"]
    assert second.difference.apply(first) == list(second)


def test_what_another_thread_writes_while_an_error_is_told_is_not_left_untold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[object] = []

    def fail_once(*_: object) -> list[Row]:
        monkeypatch.setattr(lines, "fetch_all", fetch_all)
        raise apsw.IOError("a disk that fails")

    with todo_app().open(tmp_path / "a.db") as space:

        def another_writes(error: Exception) -> None:
            assert isinstance(error, StorageError)
            other = Thread(target=lambda: space.append(TodoAdded(id="2", text="b")))
            other.start()
            other.join()

        space.subscribe(
            "SELECT DISTINCT max(id) FROM todo", lambda answer: told.append(answer[0][0]), on_error=another_writes
        )
        monkeypatch.setattr(lines, "fetch_all", fail_once)
        space.append(TodoAdded(id="1", text="a"))

    assert told == [None, "2"]


def test_a_call_soon_that_is_interrupted_is_asked_again(space: Space) -> None:
    calls: list[Callable[[], None]] = []
    interrupts: list[bool] = []
    told: list[list[object]] = []

    def interrupted_first(call: Callable[[], None]) -> None:
        if not interrupts:
            interrupts.append(True)
            raise KeyboardInterrupt
        calls.append(call)

    with pytest.raises(KeyboardInterrupt):
        space.subscribe(ALL, ids(told), call_soon=interrupted_first)
    space.append(TodoAdded(id="1", text="a"))
    calls.pop()()

    assert told == [["1"]]


@pytest.mark.parametrize("is_undone", [False, True])
def test_what_runs_within_an_open_transaction_of_its_thread_is_not_told_half_of_it(
    space: Space, *, is_undone: bool
) -> None:
    calls: list[Callable[[], None]] = []
    told: list[list[object]] = []
    space.subscribe(ALL, ids(told), call_soon=calls.append)
    calls.pop()()

    space.append(TodoAdded(id="1", text="a"))
    with suppress(RuntimeError), space.transaction() as tx:
        tx.append(TodoAdded(id="2", text="b"))
        calls.pop()()
        assert told[1:] in ([], [["1"]])
        tx.append(TodoAdded(id="3", text="c"))
        if is_undone:
            raise RuntimeError
    for call in calls:
        call()

    assert told[-1] == (["1"] if is_undone else ["1", "2", "3"])


def test_a_second_subscribers_first_answer_adds_all_and_removes_nothing(space: Space) -> None:
    calls: list[Callable[[], None]] = []
    second: list[Answer] = []
    space.append(TodoAdded(id="1", text="a"))
    space.subscribe(ALL, lambda _: None, call_soon=calls.append)
    calls.pop()()

    space.append(TodoRemoved(id="1"))
    space.subscribe(ALL, second.append, call_soon=calls.append)
    calls.pop()()

    assert [(list(one), one.difference.removed) for one in second] == [([], ())]


def test_a_callback_within_a_callback_leaves_the_outer_one_its_state(tmp_path: Path) -> None:
    seen: list[list[int]] = []
    with todo_app().open(tmp_path / "a.db") as space:

        def count() -> int:
            return int(space.query("SELECT count(*) AS n FROM todo")[0].n)

        def told(answer: Answer) -> None:
            if len(answer) != 1 or seen:
                return
            other = Thread(target=lambda: space.append(TodoAdded(id="2", text="b")))
            other.start()
            other.join()
            before = count()
            with space.subscribe("SELECT text FROM todo", lambda _: None, call_soon=lambda call: call()):
                seen.append([before, count()])

        space.subscribe(ALL, told)
        space.append(TodoAdded(id="1", text="a"))

    assert seen == [[1, 1]]


def test_whoever_closes_the_space_in_a_callback_ends_the_others_without_an_error() -> None:
    calls: list[Callable[[], None]] = []
    failed: list[Exception] = []

    async def ends() -> list[Answer]:
        with todo_app().open(":memory:") as space:
            answers = space.live("SELECT text FROM todo")
            first = await anext(answers)
            space.subscribe(ALL, lambda answer: space.close() if answer else None, call_soon=calls.append)
            space.subscribe("SELECT done FROM todo", lambda _: None, call_soon=calls.append, on_error=failed.append)
            calls.pop()()
            space.append(TodoAdded(id="1", text="a"))
            calls.pop()()
            return [first, *[answer async for answer in answers if answer is first]]

    assert [list(answer) for answer in asyncio.run(ends())] == [[]]
    assert failed == []


def test_a_device_that_is_closed_by_a_callback_on_a_verdict_has_received_all_the_same() -> None:
    ann, bob = fleet(todo_app(), 2)
    with ann, bob:
        for text, one in (("a", ann), ("b", bob)):
            one.append(TodoAdded(id="1", text=text))
            one.subscribe(ALL, lambda _: None)
            one.on_verdict(lambda _, one=one: one.close())  # type: ignore[misc]  # mypy infers no type for the default
        rest = list(ann.envelopes_for(bob.version_vector())), list(bob.envelopes_for(ann.version_vector()))

        receipts = bob.receive(rest[0]), ann.receive(rest[1])

        assert [receipt.applied for receipt in receipts] == [1, 1]


# --- what is told of ----------------------------------------------------------------------------------------------------


class Tagged(Event):
    name: str


class Untagged(Event):
    name: str


tags = App(
    "org.example.tags",
    tables="CREATE TABLE tag (name TEXT PRIMARY KEY) STRICT",
    local_tables="CREATE TABLE draft (id TEXT PRIMARY KEY) STRICT",
)


@tags.on(Tagged)
def tagged(tx: ViewTransaction, event: Tagged) -> None:
    tx.execute("INSERT INTO tag VALUES (?)", (event.name,))


@tags.on(Untagged)
def untagged(tx: ViewTransaction, event: Untagged) -> None:
    tx.execute("DELETE FROM tag WHERE name = ?", (event.name,))


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT name FROM tag WHERE 'x' IN tag ORDER BY name",
        "SELECT count(*) FROM tag WHERE 'x' IN tag",
        "SELECT name FROM tag WHERE name = 'y' AND 'x' IN tag",
    ],
)
def test_a_table_behind_in_without_parentheses_is_read_like_any_other(sql: str) -> None:
    told: list[Answer] = []
    with tags.open(":memory:") as space:
        space.append(Tagged(name="x"), Tagged(name="y"), Tagged(name="z"))
        space.subscribe(sql, told.append)

        space.append(Untagged(name="x"))

        assert list(told[-1]) == space.query(sql)


def test_a_deletion_of_all_rows_that_was_compiled_while_nobody_watched_is_told(tmp_path: Path) -> None:
    told: list[int] = []
    with tags.open(tmp_path / "a.db") as space:
        space.subscribe("SELECT id FROM draft", lambda _: None).close()
        space.execute_local("INSERT INTO draft VALUES ('a')")
        space.execute_local("DELETE FROM draft")
        space.execute_local("INSERT INTO draft VALUES ('a')")
        space.subscribe("SELECT id FROM draft", lambda answer: told.append(len(answer)))

        space.execute_local("DELETE FROM draft")

        assert told == [1, 0]


def test_what_nobody_wants_any_more_is_no_news(space: Space) -> None:
    """Else the thread that looks for others' writes would find some at every look."""
    watch = space._engine._store.watch
    watch.want(frozenset({"todo"}))
    watch.note_everything()
    watch.commit()
    assert watch.has_news()

    watch.want(frozenset())

    assert not watch.has_news()

"""Live queries: who is called, when, where, and what of it all is left afterwards."""

import asyncio
import gc
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sized
from pathlib import Path
from threading import Thread, get_ident

import apsw
import pytest

from driftlog import Added, Answer, Changed, Moved, Removed, Space, Subscription, Way, errors
from driftlog._sqlite.rows import Parameters, Row, fetch_all
from driftlog.space import lines
from driftlog.testing import exchange, fleet
from tests.todo_app import Clock, TodoAdded, TodoCompleted, TodoRemoved, TodoRenamed, todo_app

ALL = "SELECT * FROM todo ORDER BY text, id"


@pytest.fixture(params=["in memory", "in a file"])
def space(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Space]:
    with todo_app().open(":memory:" if request.param == "in memory" else tmp_path / "a.db") as space:
        yield space


def objects() -> Counter[type]:
    gc.collect()
    return Counter(map(type, gc.get_objects()))


def grown(before: Counter[type], after: Counter[type]) -> dict[type, int]:
    """Give how many there are more: of our own types to the last one, of Python's with room for what it keeps by itself."""
    return {
        kind: count - before[kind]
        for kind, count in after.items()
        if count - before[kind] > (0 if str(kind.__module__).startswith(("driftlog", "apsw")) else 50)
    }


def test_the_first_answer_is_told_at_once_and_the_next_as_differences(space: Space) -> None:
    space.append(TodoAdded(id="1", text="b"))
    told: list[Answer] = []

    space.subscribe(ALL, told.append)
    space.append(TodoAdded(id="2", text="c"))
    space.append(TodoRenamed(id="2", text="a"))
    space.append(TodoRemoved(id="1"))

    first, added, moved, removed = (answer.difference for answer in told)
    assert [(one.index, one.row.id) for one in first.added] == [(0, "1")]
    assert added.added == (Added(1, told[1][1]),)
    assert moved.changed == (Changed(0, told[1][1], told[2][0]),)
    assert len(moved.moved) == 1
    assert isinstance(moved.moved[0], Moved)
    assert removed.removed == (Removed(1, told[2][1]),)


@pytest.mark.parametrize("written", ["?", ":id"])
def test_parameters_are_those_of_the_call_whatever_becomes_of_them(space: Space, written: str) -> None:
    told: list[list[str]] = []
    given: list[str] | dict[str, str] = ["1"] if written == "?" else {"id": "1"}
    space.subscribe(
        f"SELECT id FROM todo WHERE id = {written} ORDER BY id",
        lambda answer: told.append([row.id for row in answer]),
        given,
    )

    given.clear()
    space.append(TodoAdded(id="1", text="a"), TodoAdded(id="2", text="b"))
    space.rebuild()

    assert told == [[], ["1"]]


def test_an_answer_that_is_the_same_calls_nobody(space: Space) -> None:
    told: list[Answer] = []
    space.append(TodoAdded(id="1", text="a"))
    space.subscribe("SELECT count(*) FROM todo WHERE done = 0", told.append)

    space.append(TodoRenamed(id="1", text="b"))
    space.append(TodoCompleted(id="1"), TodoAdded(id="2", text="c"))

    assert len(told) == 1


def test_a_thousand_live_queries_and_one_change_are_one_callback(space: Space) -> None:
    told: list[list[str]] = []
    for number in range(1000):
        space.subscribe(
            "SELECT * FROM todo WHERE id = ?", lambda answer: told.append([row.id for row in answer]), (str(number),)
        )
    told.clear()

    space.append(TodoAdded(id="500", text="a"))

    assert told == [["500"]]


def test_a_callback_reads_the_state_it_is_told_of_until_it_writes_itself(tmp_path: Path) -> None:
    seen: list[tuple[int, int, int]] = []
    with todo_app().open(tmp_path / "a.db") as space:

        def callback(answer: Answer) -> None:
            if len(answer) != 1:
                return
            other = Thread(target=space.append, args=(TodoAdded(id="2", text="b"),))
            other.start()
            other.join()
            before = space.query("SELECT count(*) FROM todo")[0][0]
            space.append(TodoAdded(id="3", text="c"))
            seen.append((len(answer), before, space.query("SELECT count(*) FROM todo")[0][0]))

        space.subscribe(ALL, callback)
        space.append(TodoAdded(id="1", text="a"))

    assert seen == [(1, 1, 3)]


def test_what_a_callback_writes_is_told_to_those_who_were_due_after_it(space: Space) -> None:
    told: list[list[str]] = []

    def add_another(answer: Answer) -> None:
        if len(answer) == 1:
            space.append(TodoAdded(id="2", text="b"))

    space.subscribe(ALL, add_another)
    space.subscribe("SELECT id FROM todo ORDER BY id", lambda answer: told.append([row.id for row in answer]))

    space.append(TodoAdded(id="1", text="a"))

    assert told[-1] == ["1", "2"]


def test_late_events_are_told_once_and_never_half_taken_back() -> None:
    ours, theirs = fleet(todo_app(), 2)
    with ours, theirs:
        theirs.append(TodoAdded(id="1", text="first"))
        ours.append(TodoAdded(id="2", text="a"))
        ours.append(TodoRenamed(id="2", text="b"))
        told: list[list[str]] = []
        ours.subscribe(ALL, lambda answer: told.append([row.text for row in answer]))

        exchange(ours, theirs)
        ours.rebuild()

        assert told == [["b"], ["b", "first"]]


def test_after_late_events_that_make_the_tables_anew_every_query_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, ours = fleet(todo_app(), 2, clocks=[Clock(1_000), Clock(2_000)])
    with ours, theirs:
        for number in range(20):
            theirs.append(TodoAdded(id=f"{number}", text="theirs"))
            ours.append(TodoAdded(id=f"{number}", text="ours"))
        told: list[int] = []
        ours.subscribe("SELECT * FROM todo WHERE text = 'ours'", lambda answer: told.append(len(answer)))
        ours.subscribe("SELECT * FROM todo WHERE text = 'nobody''s'", lambda answer: told.append(len(answer)))
        run: list[str] = []

        def asking(connection: apsw.Connection, sql: str, parameters: Parameters) -> list[Row]:
            run.append(sql)
            return fetch_all(connection, sql, parameters)

        monkeypatch.setattr(lines, "fetch_all", asking)

        receipt = ours.receive(theirs.envelopes_for(ours.version_vector()))

        assert receipt.way is Way.REBUILT
        # The second sees none of these rows; but that the tables' emptying reports each row hangs on how it is compiled.
        assert (told, len(run)) == ([20, 0, 0], 2)


def test_a_rebuild_that_mends_the_tables_is_told(space: Space) -> None:
    with space._engine.writing() as store:
        store.connection.execute("INSERT INTO todo VALUES ('1', 'behind the back', 0)")
    told: list[int] = []
    space.subscribe(ALL, lambda answer: told.append(len(answer)))

    space.rebuild()

    assert told == [1, 0]


def test_call_soon_chooses_the_thread_and_gets_one_call_for_many_changes(space: Space) -> None:
    later: list[Callable[[], None]] = []
    told: list[tuple[int, int]] = []
    space.subscribe(ALL, lambda answer: told.append((len(answer), get_ident())), call_soon=later.append)
    for number in range(5):
        space.append(TodoAdded(id=str(number), text="a"))
    assert (told, len(later)) == ([], 1)

    window = Thread(target=later[0])
    window.start()
    window.join()

    assert [count for count, _ in told] == [5]
    assert told[0][1] != get_ident()


def test_what_a_callback_raises_reaches_the_hook_or_the_log_and_ends_nothing(
    space: Space, caplog: pytest.LogCaptureFixture
) -> None:
    caught: list[Exception] = []
    told: list[int] = []

    def broken(answer: Answer) -> None:
        raise ValueError("mine")

    space.subscribe(ALL, broken, on_error=caught.append)
    space.subscribe(ALL, broken)
    space.subscribe(ALL, lambda answer: told.append(len(answer)))
    caplog.clear()
    with caplog.at_level(logging.ERROR, "driftlog"):
        space.append(TodoAdded(id="1", text="a"))

    assert [str(error) for error in caught] == ["mine", "mine"]
    assert len(caplog.records) == 1
    assert told == [0, 1]


def test_a_query_that_fails_on_some_rows_says_so_and_the_others_go_on(space: Space) -> None:
    caught: list[Exception] = []
    told: list[int] = []
    space.subscribe("SELECT abs(9223372036854775807 + length(text)) FROM todo", print, on_error=caught.append)
    space.subscribe("SELECT sum(9223372036854775807) FROM todo", lambda _: None, on_error=caught.append)
    space.subscribe(ALL, lambda answer: told.append(len(answer)))

    space.append(TodoAdded(id="1", text="a"))
    space.append(TodoAdded(id="2", text="a"))

    assert len(caught) == 1
    assert told == [0, 1, 2]


@pytest.mark.parametrize("sql", ["DELETE FROM todo", "SELECT random()", "SELECT 1; SELECT 2", "PRAGMA user_version"])
def test_what_writes_or_cannot_be_compared_is_refused(space: Space, sql: str) -> None:
    with pytest.raises(errors.ForbiddenSQL):
        space.subscribe(sql, print)


def test_closed_subscriptions_are_told_nothing_and_leave_nothing(space: Space) -> None:
    told: list[Answer] = []
    live = space._engine.live
    # In a file each of them opens it anew, since nobody else is subscribed.
    rounds = 10_000 if space._engine.path == ":memory:" else 300

    def subscribe_and_close(count: int) -> None:
        for number in range(count):
            space.subscribe("SELECT * FROM todo WHERE id = ?", told.append, (str(number),)).close()
            told.clear()

    subscribe_and_close(10)
    before = objects()
    subscribe_and_close(rounds)

    assert grown(before, objects()) == {}
    assert (live._watched, live._reads, live._lines, live._index.tables()) == ({}, {}, {}, frozenset())
    space.append(TodoAdded(id="1", text="a"))
    assert told == []
    assert not space._engine._store.watch.is_on


def test_closed_subscriptions_leave_nothing_beside_one_that_stays(space: Space) -> None:
    told: list[Answer] = []
    live = space._engine.live
    space.subscribe("SELECT * FROM todo WHERE done = 0 AND text = 'a'", lambda _: None)
    [line] = live._lines.values()

    def sizes() -> list[int]:
        table = live._index._tables["todo"]
        found: list[Sized] = [live._watched, live._reads, live._always, live._texts]
        found += [table.reads_by_query, table.seeing_all, *table.by_value.values(), line._due]
        return [*map(len, found), line.queries, live._count]

    def subscribe_and_close(count: int) -> None:
        for number in range(count):
            first = space.subscribe("SELECT * FROM todo WHERE id = ?", told.append, (str(number % 7),))
            with space.subscribe("SELECT count(*) FROM todo", told.append):
                first.close()
            told.clear()

    subscribe_and_close(10)
    sizes_before, before = sizes(), objects()
    subscribe_and_close(2_000)

    assert grown(before, objects()) == {}
    assert sizes() == sizes_before


def test_a_callback_may_close_itself_and_others(space: Space) -> None:
    told: list[str] = []
    subscriptions: list[Subscription] = []

    def close_all(answer: Answer) -> None:
        told.append("first")
        if answer:
            for subscription in subscriptions:
                subscription.close()

    subscriptions.append(space.subscribe(ALL, close_all))
    subscriptions.append(space.subscribe(ALL, lambda _: told.append("second")))
    space.append(TodoAdded(id="1", text="a"))
    space.append(TodoAdded(id="2", text="a"))

    assert told == ["first", "second", "first"]


def test_subscribing_within_a_transaction_is_an_error_that_says_what_to_do(space: Space) -> None:
    with space.transaction(), pytest.raises(errors.DriftlogError, match="do it after"):
        space.subscribe(ALL, print)


def test_an_async_reader_that_is_slow_gets_the_newest_and_the_difference_to_what_it_had(space: Space) -> None:
    async def read() -> list[tuple[int, int]]:
        got: list[tuple[int, int]] = []
        async for answer in space.live(ALL):
            got.append((len(answer), len(answer.difference.added)))
            if len(answer) == 0:
                for number in range(3):
                    await space.aappend(TodoAdded(id=str(number), text="a"))
                    await asyncio.sleep(0)
            elif len(answer) == 3:
                await space.aclose()
        return got

    got = asyncio.run(read())

    assert got[0] == (0, 0)
    assert sum(added for _, added in got) == 3
    assert got[-1][0] == 3


def test_another_process_s_changes_are_told_with_the_next_write_of_this_one_at_the_latest(tmp_path: Path) -> None:
    with todo_app().open(tmp_path / "a.db") as ours, todo_app().open(tmp_path / "a.db") as theirs:
        ours._engine.others.close()
        told: list[int] = []
        ours.subscribe(ALL, lambda answer: told.append(len(answer)))

        theirs.append(TodoAdded(id="1", text="a"))
        ours.append(TodoAdded(id="2", text="b"))

        assert told == [0, 2]

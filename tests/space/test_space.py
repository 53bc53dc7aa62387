"""What an app does with a space: append, read, decide, look back, invite."""

from pathlib import Path

import pytest

from driftlog import EventRejected, State, VersionVector, Way
from driftlog.errors import DriftlogError, ForbiddenSQL
from driftlog.testing import exchange, fleet
from tests.todo_app import Clock, TodoAdded, TodoCompleted, TodoRemoved, TodoRenamed, todo_app


def test_what_was_appended_is_in_the_tables_when_append_returns() -> None:
    with todo_app().open(":memory:") as space:
        first, second = space.append(TodoAdded(id="1", text="milk"), TodoCompleted(id="1"))

        [row] = space.query("SELECT * FROM todo WHERE done = ?", (1,))

        assert first < second
        assert (row.id, row["text"], row[2]) == ("1", "milk", 1)


def test_a_rejected_event_takes_the_whole_append_with_it() -> None:
    with todo_app().open(":memory:") as space:
        with pytest.raises(EventRejected, match="TodoCompleted was rejected: no such todo") as caught:
            space.append(TodoAdded(id="1", text="milk"), TodoCompleted(id="2"))

        assert caught.value.reason == "no such todo"
        assert space.query("SELECT * FROM todo") == []
        assert list(space.log()) == []


def test_a_transaction_reads_what_it_appended_and_an_error_undoes_it() -> None:
    with todo_app().open(":memory:") as space:
        with space.transaction() as tx:
            tx.append(TodoAdded(id="1", text="milk"))
            count = tx.one("SELECT count(*) AS n FROM todo")
            assert count is not None
            assert count.n == 1
        twice = [TodoAdded(id="2", text="bread")] * 2
        with pytest.raises(EventRejected), space.transaction() as tx:
            [tx.append(event) for event in twice]

        assert [row.id for row in space.query("SELECT id FROM todo")] == ["1"]


def test_a_rejection_within_a_transaction_can_be_caught_and_costs_only_its_own_append() -> None:
    with todo_app().open(":memory:") as space:
        with space.transaction() as tx:
            tx.append(TodoAdded(id="1", text="milk"))
            with pytest.raises(EventRejected, match="UNIQUE"):
                tx.append(TodoAdded(id="2", text="bread"), TodoAdded(id="1", text="again"))
            tx.append(TodoCompleted(id="1"))

        assert space.query("SELECT id, done FROM todo") == [("1", 1)]


def test_stamps_increase_across_a_rolled_back_append() -> None:
    with todo_app().open(":memory:", clock=Clock()) as space:
        [before] = space.append(TodoAdded(id="1", text="milk"))
        with pytest.raises(EventRejected):
            space.append(TodoAdded(id="1", text="milk"))
        [after] = space.append(TodoAdded(id="2", text="milk"))

        assert after.hlc == before.hlc + 1


def test_the_view_cannot_be_changed_behind_the_logs_back() -> None:
    with todo_app().open(":memory:") as space, space.transaction() as tx:
        for statement in ("DELETE FROM todo", "COMMIT", "PRAGMA user_version = 7", "SELECT 1; SELECT 2"):
            with pytest.raises(ForbiddenSQL, match="append an event"):
                tx.query(statement)
        with pytest.raises(ForbiddenSQL, match="append an event"):
            tx.query("WITH x AS (SELECT 1) INSERT INTO todo VALUES ('a', 'a', 0)")


def test_a_transaction_is_of_no_use_after_its_block() -> None:
    with todo_app().open(":memory:") as space:
        with space.transaction() as tx:
            pass
        with pytest.raises(DriftlogError, match="is over"):
            tx.append(TodoAdded(id="1", text="milk"))
        with pytest.raises(DriftlogError, match="is over"):
            tx.query("SELECT 1")


def test_the_log_is_read_between_two_timestamps_both_left_out() -> None:
    with todo_app().open(":memory:") as space:
        stamps = [space.append(TodoAdded(id=str(n), text="x"))[0] for n in range(2_500)]

        between = [entry.timestamp for entry in space.log(after=stamps[3], before=stamps[2_400])]

        assert between == stamps[4:2_400]
        assert [entry.event for entry in space.log(before=stamps[1])] == [TodoAdded(id="0", text="x")]


def test_a_late_event_takes_its_place_and_the_past_is_judged_again() -> None:
    early, late = Clock(1_000), Clock(2_000)
    a, b = fleet(todo_app(), 2, clocks=[early, late])
    b.append(TodoAdded(id="1", text="beer"))
    b.append(TodoRenamed(id="1", text="stout"))
    a.append(TodoAdded(id="1", text="milk"))

    exchange(a, b)

    for space in (a, b):
        assert space.query("SELECT text FROM todo") == [("stout",)]
        states = [(entry.state, entry.reason) for entry in space.log()]
        assert states == [
            (State.APPLIED, None),
            (State.REJECTED, "UNIQUE constraint failed: todo.id"),
            (State.APPLIED, None),
        ]
        assert space.query("SELECT name, reason FROM driftlog_rejected") == [
            ("TodoAdded", "UNIQUE constraint failed: todo.id")
        ]
        assert space.status().rejected == 1


def test_late_events_that_touch_nothing_of_later_ones_replay_nothing() -> None:
    a, b = fleet(todo_app(), 2, clocks=[Clock(1_000), Clock(2_000)])
    for n in range(50):
        a.append(TodoAdded(id=f"a{n}", text="x"))
        b.append(TodoAdded(id=f"b{n}", text="x"))

    receipt = b.receive(a.envelopes_for(b.version_vector()))

    assert (receipt.applied, receipt.replayed, receipt.way) == (50, 0, Way.IN_PLACE)


def test_a_received_batch_costs_one_rebase_however_many_of_its_events_are_late() -> None:
    a, b = fleet(todo_app(), 2, clocks=[Clock(1_000), Clock(2_000)])
    for n in range(50):
        # The same rows on both sides: each of the earlier ones makes one of the later ones a duplicate.
        a.append(TodoAdded(id=f"{n}", text="from a"))
        b.append(TodoAdded(id=f"{n}", text="from b"))

    receipt = b.receive(a.envelopes_for(b.version_vector()))

    assert (receipt.applied, receipt.replayed, receipt.way) == (50, 50, Way.REBUILT)
    assert b.status().rejected == 50
    assert {row.text for row in b.query("SELECT text FROM todo")} == {"from a"}


def test_a_late_event_takes_only_what_depends_on_it_along() -> None:
    a, b = fleet(todo_app(), 2, clocks=[Clock(1_000), Clock(2_000)])
    for n in range(50):
        b.append(TodoAdded(id=f"{n}", text="from b"))
    b.append(TodoCompleted(id="7"))
    a.append(TodoAdded(id="7", text="from a"))

    receipt = b.receive(a.envelopes_for(b.version_vector()))

    assert (receipt.applied, receipt.replayed, receipt.way) == (1, 2, Way.CLOSURE)
    assert b.query("SELECT text, done FROM todo WHERE id = '7'") == [("from a", 1)]


def test_what_is_undone_for_one_of_a_batch_counts_once_against_what_a_weave_may_undo() -> None:
    base, early, late = fleet(todo_app(), 3, clocks=[Clock(1_000), Clock(2_000), Clock(3_000)])
    base.append(TodoAdded(id="a", text="x"), TodoAdded(id="b", text="x"))
    base.append(*[TodoAdded(id=f"{number}", text="x") for number in range(100)])
    for space in (early, late):
        space.receive(base.envelopes_for(space.version_vector()))
    late.append(*[TodoRenamed(id="a", text=f"{number}") for number in range(50)])
    late.append(*[TodoRenamed(id="b", text=f"{number}") for number in range(40)])
    late.append(*[TodoAdded(id=f"late {number}", text="x") for number in range(210)])
    early.append(TodoRenamed(id="a", text="early"), TodoRenamed(id="b", text="early"))

    receipt = late.receive(early.envelopes_for(late.version_vector()))

    # 90 of 300 are less than a third.
    assert (receipt.applied, receipt.replayed, receipt.way) == (2, 90, Way.CLOSURE)


def test_a_repeated_envelope_changes_nothing() -> None:
    a, b = fleet(todo_app(), 2)
    a.append(TodoAdded(id="1", text="milk"))
    envelopes = list(a.envelopes_for(VersionVector()))

    first = b.receive(envelopes + envelopes)
    second = b.receive(envelopes)

    assert (first.envelopes, first.applied) == (1, 1)
    assert (second.envelopes, second.applied, second.replayed) == (0, 0, 0)


def test_what_is_missing_is_sent_and_nothing_else() -> None:
    a, b = fleet(todo_app(), 2)
    for n in range(5):
        a.append(TodoAdded(id=str(n), text="x"))
        a.seal()
    envelopes = list(a.envelopes_for(b.version_vector()))
    b.receive(envelopes[:3])

    assert list(a.envelopes_for(b.version_vector())) == envelopes[3:]
    assert list(b.envelopes_for(a.version_vector())) == []


def test_an_envelope_waits_for_its_predecessor() -> None:
    a, b = fleet(todo_app(), 2)
    for n in range(3):
        a.append(TodoAdded(id=str(n), text="x"))
        a.seal()
    first, second, third = a.envelopes_for(VersionVector())

    assert b.receive([third, second]).waiting == 2
    assert b.query("SELECT * FROM todo") == []
    assert b.status().waiting_envelopes == 2
    assert b.receive([first]).applied == 3
    assert b.status().waiting_envelopes == 0
    assert b.digest() == a.digest()


def test_a_device_can_pass_on_what_it_received_from_another() -> None:
    a, b, c = fleet(todo_app(), 3)
    a.append(TodoAdded(id="1", text="milk"))
    exchange(a, b)
    exchange(b, c)

    assert c.digest() == a.digest()
    assert c.version_vector() == a.version_vector()


def test_rebuild_gives_the_same_view_and_tells_how_far_it_is() -> None:
    with todo_app().open(":memory:") as space:
        for n in range(0, 2_500, 100):
            space.append(*[TodoAdded(id=str(m), text="x") for m in range(n, n + 100)])
        space.append(TodoRemoved(id="7"))
        before = space.digest()
        seen: list[tuple[int, int]] = []

        assert space.rebuild(lambda done, in_all: seen.append((done, in_all))) == 2_501
        assert seen == [(0, 2_501), (1_000, 2_501), (2_000, 2_501), (2_501, 2_501)]
        assert space.digest() == before


def test_a_rebuild_that_is_stopped_leaves_the_old_view() -> None:
    with todo_app().open(":memory:") as space:
        space.append(*[TodoAdded(id=str(n), text="x") for n in range(1_000)])
        before = space.digest()

        def stop(_: int, __: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            space.rebuild(stop)
        assert space.digest() == before


def test_a_space_is_there_again_after_closing(tmp_path: Path) -> None:
    path = tmp_path / "todos.db"
    with todo_app().open(path) as space:
        [stamp] = space.append(TodoAdded(id="1", text="milk"))
        digest, device = space.digest(), space.device
    with todo_app().open(path) as space:
        assert (space.digest(), space.device) == (digest, device)
        assert space.append(TodoCompleted(id="1"))[0] > stamp


async def use_as_coroutines(path: Path) -> None:
    async with todo_app().open(path) as space:
        await space.aappend(TodoAdded(id="1", text="milk"))
        assert await space.aquery("SELECT id FROM todo") == [("1",)]


def test_the_awaitable_forms_do_the_same(tmp_path: Path) -> None:
    import asyncio

    asyncio.run(use_as_coroutines(tmp_path / "todos.db"))


def test_a_file_that_is_there_is_opened_without_a_draw(tmp_path: Path) -> None:
    app = todo_app()
    app.open(tmp_path / "a.db").close()

    def entropy(count: int) -> bytes:
        raise AssertionError(f"{count} bytes were drawn")

    app.open(tmp_path / "a.db", entropy=entropy).close()


def test_for_whom_lacks_nothing_no_envelope_is_looked_at() -> None:
    one, other = fleet(todo_app(), 2)
    for space in (one, other):
        space.append(TodoAdded(id=space.device.hex(), text=space.device.hex()))
    exchange(one, other)
    asked: list[str] = []

    def note(_: object, sql: str, __: object) -> bool:
        asked.append(sql)
        return True

    with one._engine.reading() as store:
        store.connection.exec_trace = note
        missing = list(store.chains.missing_from(other.version_vector()))

    assert not missing
    assert len(asked) == 1

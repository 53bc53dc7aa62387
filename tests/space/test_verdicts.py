"""Callbacks on verdicts: told after the commit, in order, once, to whoever still listens."""

import logging
from collections.abc import Iterator
from pathlib import Path
from threading import Event as Signal
from threading import Thread

import pytest

from driftlog import EventRejected, Space, State, Timestamp, Verdict
from driftlog._core.limits import HOLD_MS
from driftlog._store.store import Store
from tests.space.test_rejected import APP, Fleet
from tests.todo_app import TodoAdded, TodoCompleted, TodoRemoved

ACCEPTED, REJECTED = State.APPLIED, State.REJECTED


class Told(list[tuple[Timestamp, State | None, State]]):
    """What a callback was told."""

    def __call__(self, verdict: Verdict) -> None:
        assert verdict.state is verdict.entry.state
        self.append((verdict.entry.timestamp, verdict.before, verdict.state))


@pytest.fixture
def two() -> Iterator[Fleet]:
    spaces = Fleet(APP, 2)
    yield spaces
    for space in spaces:
        space.close()


def conflict(two: Fleet, id_: str = "1") -> Timestamp:
    """Let the first device's event be rejected as soon as it hears of the second's."""
    two.says(1, TodoAdded(id_, "milk"))
    return two.says(0, TodoAdded(id_, "bread"))


def take(into: Space, of: Space) -> None:
    into.receive(list(of.envelopes_for(into.version_vector())))


def test_an_own_event_that_becomes_rejected_and_is_accepted_again_is_told_both_times(two: Fleet) -> None:
    told = Told()
    two[0].on_verdict(told)
    added = two.says(1, TodoAdded("1", "milk"))
    late = two.clocks[1].now_ms
    loser = two.says(0, TodoAdded("1", "bread"))

    take(two[0], two[1])
    assert told == [(loser, ACCEPTED, REJECTED)]

    with APP.join(":memory:", two[1].invite(), clock=lambda: late) as third:
        take(third, two[1])
        [removed] = third.append(TodoRemoved("1"))
        assert added < removed < loser
        take(two[0], third)
    assert told == [(loser, ACCEPTED, REJECTED), (loser, REJECTED, ACCEPTED)]

    take(two[0], two[1])
    assert len(told) == 2, "nothing new, nothing told"


def test_other_devices_events_are_told_only_to_who_asks(two: Fleet) -> None:
    own, every = Told(), Told()
    two[1].on_verdict(own)
    two[1].on_verdict(every, of_all_devices=True)
    loser = conflict(two)

    take(two[1], two[0])

    assert own == []
    assert every == [(loser, None, REJECTED)]


def test_an_event_with_its_reason_is_told(two: Fleet) -> None:
    verdicts: list[Verdict] = []
    two[0].on_verdict(verdicts.append)
    conflict(two)

    take(two[0], two[1])

    [verdict] = verdicts
    assert verdict.entry.event == TodoAdded("1", "bread")
    assert verdict.entry.reason == "UNIQUE constraint failed: todo.id"


def test_what_one_batch_changed_is_told_in_the_logs_order(two: Fleet) -> None:
    told = Told()
    two[0].on_verdict(told)
    losers = [conflict(two, str(number)) for number in range(5)]

    take(two[0], two[1])

    assert told == [(loser, ACCEPTED, REJECTED) for loser in losers]


def test_a_callback_is_called_after_the_commit_and_may_use_the_space_like_anyone(two: Fleet) -> None:
    seen: list[object] = []

    def answer(verdict: Verdict) -> None:
        seen.append(two[0].query("SELECT reason FROM driftlog_rejected")[0].reason)
        assert not two[0]._engine._connection.in_transaction
        # From another thread, because this one could take its own lock again.
        other = Thread(target=lambda: seen.append(two[0].append(TodoAdded("instead", "bread"))))
        other.start()
        other.join(timeout=20)
        seen.append(two[0].append(TodoCompleted("1"))[0].device == two[0].device)

    two[0].on_verdict(answer)
    conflict(two)

    take(two[0], two[1])

    assert seen[0] == "UNIQUE constraint failed: todo.id"
    assert seen[2] is True
    assert two[0].query("SELECT text FROM todo ORDER BY id") == [("milk",), ("bread",)]


def test_what_a_callback_brings_about_is_told_after_it_has_returned(two: Fleet) -> None:
    order: list[str] = []
    first = conflict(two, "1")
    two[1].seal()
    then = list(two[1].envelopes_for(two[0].version_vector()))
    conflict(two, "2")

    def listener(verdict: Verdict) -> None:
        order.append(f"begins {'first' if verdict.entry.timestamp == first else 'second'}")
        if verdict.entry.timestamp == first:
            take(two[0], two[1])
        order.append("ends")

    two[0].on_verdict(listener)
    two[0].receive(then)

    assert order == ["begins first", "ends", "begins second", "ends"]


def test_while_one_thread_tells_another_that_writes_does_not_wait_and_nothing_is_lost(two: Fleet) -> None:
    told, is_in, may_go = Told(), Signal(), Signal()
    first = conflict(two, "1")
    two[1].seal()
    then = list(two[1].envelopes_for(two[0].version_vector()))
    second = conflict(two, "2")

    def slow(verdict: Verdict) -> None:
        told(verdict)
        is_in.set()
        assert may_go.wait(20)

    two[0].on_verdict(slow)
    telling = Thread(target=lambda: two[0].receive(then))
    telling.start()
    assert is_in.wait(20)
    take(two[0], two[1])
    assert [at for at, _, _ in told] == [first]
    may_go.set()
    telling.join(20)

    assert [at for at, _, _ in told] == [first, second]


def test_removing_a_callback_removes_it_alone_and_at_once(two: Fleet) -> None:
    told = Told()
    remove_first, remove_second = two[0].on_verdict(told), two[0].on_verdict(told)
    remove_first()
    remove_first()
    loser = conflict(two)

    take(two[0], two[1])
    assert told == [(loser, ACCEPTED, REJECTED)]

    remove_second()
    conflict(two, "2")
    take(two[0], two[1])
    assert len(told) == 1


def test_a_callback_that_an_earlier_one_removed_is_not_called_any_more(two: Fleet) -> None:
    told = Told()
    two[0].on_verdict(lambda _: remove())
    remove = two[0].on_verdict(told)
    conflict(two)

    take(two[0], two[1])

    assert told == []


def test_what_a_callback_raises_is_logged_and_the_others_are_told(two: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    def broken(verdict: Verdict) -> None:
        raise LookupError("a callback's own fault")

    told = Told()
    two[0].on_verdict(broken)
    two[0].on_verdict(told)
    loser = conflict(two)

    with caplog.at_level(logging.ERROR, "driftlog"):
        take(two[0], two[1])

    assert told == [(loser, ACCEPTED, REJECTED)]
    [record] = caplog.records
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], LookupError)
    assert str(loser) in record.getMessage()


def test_an_interrupted_callback_leaves_the_rest_to_whoever_writes_next(two: Fleet) -> None:
    told = Told()

    def interrupted(verdict: Verdict) -> None:
        told(verdict)
        if len(told) == 1:
            raise KeyboardInterrupt

    two[0].on_verdict(interrupted)
    losers = [conflict(two, "1"), conflict(two, "2")]

    with pytest.raises(KeyboardInterrupt):
        take(two[0], two[1])
    two[0].append(TodoAdded("3", "goes on"))

    assert [at for at, _, _ in told] == losers


def test_what_is_rolled_back_is_never_told(two: Fleet) -> None:
    told = Told()
    two[0].on_verdict(told)
    loser = conflict(two)
    opened = two[0]._engine.exchange.open_all(two[1].envelopes_for(two[0].version_vector()))

    def receive_and_fail(store: Store) -> None:
        store.receive(opened)
        raise LookupError

    with pytest.raises(LookupError), two[0]._engine.writing() as store:
        receive_and_fail(store)
    with two[0]._engine.writing() as store, pytest.raises(LookupError), store.savepoint():
        receive_and_fail(store)
    two[0].append(TodoAdded("2", "something else"))
    assert told == []

    take(two[0], two[1])
    assert told == [(loser, ACCEPTED, REJECTED)]


def test_held_events_that_come_in_with_an_append_are_told(two: Fleet) -> None:
    told = Told()
    two[0].on_verdict(told, of_all_devices=True)
    two.clocks[1].now_ms += HOLD_MS * 2
    held = two.says(1, TodoAdded("1", "from the future"))
    take(two[0], two[1])
    told.clear()

    two.clocks[0].now_ms += HOLD_MS * 2
    two[0].append(TodoAdded("2", "now"))
    assert told == [(held, State.HELD, ACCEPTED)]


def test_own_events_that_another_device_undoes_and_redoes_are_told(two: Fleet) -> None:
    told = Told()
    two[0].on_verdict(told)
    added = two.says(0, TodoAdded("1", "milk"))
    take(two[1], two[0])

    undone = two[1].undo(added)
    assert undone is not None
    take(two[0], two[1])
    assert told == [(added, ACCEPTED, State.RETRACTED)]

    two[0].redo(added)
    assert told[1:] == [(added, State.RETRACTED, ACCEPTED)]


def test_an_append_that_is_refused_is_not_told(two: Fleet) -> None:
    told = Told()
    two[0].on_verdict(told, of_all_devices=True)
    two.says(0, TodoAdded("1", "milk"))

    with pytest.raises(EventRejected):
        two[0].append(TodoAdded("1", "bread"))

    assert told == []


def test_opening_with_another_version_of_the_app_tells_nobody(tmp_path: Path) -> None:
    with APP.open(tmp_path / "todos.db") as space:
        space.append(TodoAdded("1", "milk"))
    changed = type(APP)(APP.name, tables="CREATE TABLE todo (id TEXT PRIMARY KEY) STRICT")

    @changed.on(TodoAdded)
    def todo_added(tx: object, event: TodoAdded) -> None:
        raise LookupError

    told = Told()
    with changed.open(tmp_path / "todos.db") as space:
        assert space.status().rejected == 1
        space.on_verdict(told)
        changed_again = space.rebuild()
        assert changed_again == 1
    assert told == []


def test_a_closed_space_tells_nobody_any_more(two: Fleet) -> None:
    told = Told()

    def closing(verdict: Verdict) -> None:
        told(verdict)
        two[0].close()

    two[0].on_verdict(closing)
    conflict(two, "1")
    conflict(two, "2")

    take(two[0], two[1])

    assert len(told) == 1

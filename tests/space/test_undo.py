"""Undo and redo are events: they sync, arrive late, are overtaken, and the fold skips what they leave undone."""

from pathlib import Path

import pytest

from driftlog import Space, State, Timestamp, VersionVector, Way
from driftlog.errors import InvalidEvent
from driftlog.testing import exchange, fleet
from tests.todo_app import Clock, TodoAdded, TodoCompleted, TodoRenamed, todo_app


@pytest.fixture
def pair() -> tuple[Space, Space]:
    a, b = fleet(todo_app(), 2, clocks=[Clock(1_000), Clock(2_000)])
    return a, b


def texts(space: Space) -> list[str]:
    return [row.text for row in space.query("SELECT text FROM todo ORDER BY id")]


def states(space: Space) -> list[State]:
    return [entry.state for entry in space.log()]


def test_what_is_undone_is_as_if_it_had_never_been_and_what_depended_on_it_is_judged_anew() -> None:
    with todo_app().open(":memory:") as space:
        added, _ = space.append(TodoAdded(id="1", text="milk"), TodoCompleted(id="1"))
        space.append(TodoAdded(id="2", text="bread"))

        assert space.undo(added) is not None

        assert texts(space) == ["bread"]
        assert states(space) == [State.RETRACTED, State.REJECTED, State.APPLIED, State.APPLIED]
        assert space.status().rejected == 1


def test_a_redo_puts_events_back_in_their_old_places() -> None:
    with todo_app().open(":memory:") as space:
        added, completed = space.append(TodoAdded(id="1", text="milk"), TodoCompleted(id="1"))
        before = space.digest()
        space.undo(added, completed)

        space.redo(added, completed)

        assert space.digest() == before
        assert states(space)[:2] == [State.APPLIED, State.APPLIED]


def test_to_undo_an_undo_is_to_redo_and_to_redo_it_is_to_undo() -> None:
    with todo_app().open(":memory:") as space:
        [added] = space.append(TodoAdded(id="1", text="milk"))
        undone = space.undo(added)
        assert undone is not None

        assert space.redo(undone) is not None
        assert texts(space) == ["milk"]
        assert space.undo(undone) is not None
        assert texts(space) == []


def test_an_undo_of_what_is_undone_appends_nothing() -> None:
    with todo_app().open(":memory:") as space:
        [added] = space.append(TodoAdded(id="1", text="milk"))
        assert space.redo(added) is None
        space.undo(added)

        assert space.undo(added) is None
        assert len(list(space.log())) == 2


def test_an_undo_of_anothers_event_syncs_and_only_what_depends_on_it_is_replayed(pair: tuple[Space, Space]) -> None:
    a, b = pair
    [added] = a.append(TodoAdded(id="1", text="milk"))
    a.append(*[TodoAdded(id=f"x{n}", text="x") for n in range(50)])
    exchange(a, b)
    b.append(TodoRenamed(id="1", text="oat milk"))
    b.undo(added)

    receipt = a.receive(b.envelopes_for(a.version_vector()))

    # The rename came and went with what it renamed: one event replayed, the undone one itself.
    assert receipt.way is Way.CLOSURE
    assert receipt.replayed <= 2
    assert a.digest() == b.digest()
    assert states(a) == states(b)


def test_an_undo_that_arrives_before_the_event_it_undoes_waits_for_it() -> None:
    a, b, c = fleet(todo_app(), 3, clocks=[Clock(1_000), Clock(2_000), Clock(3_000)])
    [added] = a.append(TodoAdded(id="1", text="milk"))
    exchange(a, b)
    b.undo(added)
    own = list(b.envelopes_for(a.version_vector()))
    c.receive(own)
    assert states(c) == [State.APPLIED]

    c.receive(a.envelopes_for(VersionVector()))

    assert states(c) == [State.RETRACTED, State.APPLIED]
    assert texts(c) == []


def test_of_concurrent_undo_and_redo_the_later_stamp_counts_on_every_device(pair: tuple[Space, Space]) -> None:
    a, b = pair
    [added] = a.append(TodoAdded(id="1", text="milk"))
    a.undo(added)
    exchange(a, b)
    a.redo(added)
    b.redo(added)
    b.undo(added)

    exchange(a, b)

    assert a.digest() == b.digest()
    assert texts(a) == texts(b) == []


def test_what_is_undone_stays_so_through_a_rebuild_and_a_restart(tmp_path: Path) -> None:
    with todo_app().open(tmp_path / "todos.db") as space:
        added, _ = space.append(TodoAdded(id="1", text="milk"), TodoAdded(id="2", text="bread"))
        space.undo(added)
        space.rebuild()
        assert texts(space) == ["bread"]

    with todo_app().open(tmp_path / "todos.db") as space:
        space.append(TodoAdded(id="3", text="eggs"))
        assert texts(space) == ["bread", "eggs"]
        space.redo(added)
        assert texts(space) == ["milk", "bread", "eggs"]


def test_a_timestamp_that_is_not_in_the_log_is_refused_and_nothing_is_undone() -> None:
    with todo_app().open(":memory:") as space, todo_app().open(":memory:") as other:
        [added] = space.append(TodoAdded(id="1", text="milk"))
        [strange] = other.append(TodoAdded(id="1", text="milk"))

        with pytest.raises(InvalidEvent, match=r"there is no event .* in the log; give a timestamp"):
            space.undo(added, strange)

        assert texts(space) == ["milk"]


def test_more_events_than_one_undo_names_are_refused_with_the_number() -> None:
    with todo_app().open(":memory:") as space:
        timestamps: list[Timestamp] = []
        for start in range(0, 1_100, 100):
            timestamps += space.append(*[TodoAdded(id=f"{n}", text="x") for n in range(start, start + 100)])

        with pytest.raises(
            InvalidEvent, match=r"1100 events are meant \(limit 1000\); undo or redo them in several calls"
        ):
            space.undo(*timestamps)

        assert space.undo(*timestamps[:1_000]) is not None
        assert len(texts(space)) == 100


def test_an_undo_fails_whole_when_the_transaction_does(
    pair: tuple[Space, Space], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, _ = pair
    [added] = a.append(TodoAdded(id="1", text="milk"))

    def broken() -> None:
        raise OSError("no")

    with monkeypatch.context() as patch:
        patch.setattr(a._engine._store, "commit", broken)
        with pytest.raises(OSError, match="no"):
            a.undo(added)

    assert texts(a) == ["milk"]
    a.append(TodoCompleted(id="1"))
    a.undo(added)
    assert texts(a) == []
    assert states(a) == [State.RETRACTED, State.REJECTED, State.APPLIED]

"""What is remembered of the log's end has a bound, however it is reached."""

import gc
from itertools import chain

import pytest

from driftlog._store import tail
from driftlog._store.log import BEFORE_ALL
from driftlog.testing import fleet
from tests.todo_app import Clock, TodoAdded, TodoRenamed, todo_app


def test_appending_after_a_late_event_lets_go_of_the_index_at_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "TAIL_EVENTS_MAX", 10)
    early, late = fleet(todo_app(), 2, clocks=[lambda: 1_000, lambda: 2_000])
    early.append(TodoAdded(id="early", text="milk"))
    late.append(TodoAdded(id="late", text="bread"))
    early.seal()
    late.receive(early.envelopes_for(late.version_vector()))
    kept = late._engine._store._fold.tail
    assert kept._index is not None

    for number in range(9):
        late.append(TodoAdded(id=f"late {number}", text="eggs"))
        assert kept._index is None or len(kept._index) <= 10

    assert kept._index is None
    late.close()
    early.close()


def test_what_waits_to_be_entered_is_bounded_by_the_size_of_the_rows_that_it_holds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tail, "WAITING_BYTES_MAX", 10_000)
    early, late, other = fleet(todo_app(), 3, clocks=[Clock(1_000), Clock(2_000), Clock(3_000)])
    with early, late, other:
        early.append(TodoAdded(id="early", text="milk"))
        late.append(TodoAdded(id="late", text="x" * 3_000))
        late.receive(early.envelopes_for(late.version_vector()))
        other.receive(late.envelopes_for(other.version_vector()))
        kept = late._engine._store._fold.tail

        waiting = []
        for number in range(20):
            other.append(TodoRenamed(id="late", text="x" * 3_000 + str(number)))
            late.receive(other.envelopes_for(late.version_vector()))
            waiting.append(sum(len(undo or b"") for _, undo, _ in kept._waiting.values()))

        assert 3_000 < max(waiting) <= 10_000
        assert len(kept._index or ()) > 10


def test_an_index_that_was_let_go_of_halfway_leaves_nothing_to_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    early, late, other = fleet(todo_app(), 3, clocks=[Clock(1_000), Clock(2_000), Clock(3_000)])
    with early, late, other:
        early.append(TodoAdded(id="early", text="milk"))
        late.append(TodoAdded(id="late", text="bread"))
        late.receive(early.envelopes_for(late.version_vector()))
        kept = late._engine._store._fold.tail
        other.append(TodoAdded(id="other", text="eggs"))
        late.receive(other.envelopes_for(late.version_vector()))
        [waiting] = kept._waiting.values()

        def interrupted() -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(kept, "_clear_waiting", interrupted)
            with pytest.raises(KeyboardInterrupt):
                kept.forget()
        assert list(kept._waiting.values()) == [waiting]

        kept.covering(kept._log.last_placed() or BEFORE_ALL)
        assert not kept._waiting


def test_pythons_collector_takes_no_notice_of_what_the_index_holds() -> None:
    early, late = fleet(todo_app(), 2, clocks=[lambda: 1_000, lambda: 2_000])
    early.append(TodoAdded(id="early", text="milk"))
    late.append(*[TodoAdded(id=f"late {number}", text="bread") for number in range(10)])
    early.seal()
    late.receive(early.envelopes_for(late.version_vector()))
    index = late._engine._store._fold.tail._index
    assert index is not None
    assert len(index) == 11

    # Cells are in tuples in tuples: each collection lets go of those of which it has seen through the contents.
    for _ in range(4):
        gc.collect()

    held = chain(index._touch_by_event, index._touch_by_event.values(), index._writers, index._writers.values())
    assert [one for one in held if gc.is_tracked(one)] == []
    late.close()
    early.close()

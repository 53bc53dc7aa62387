"""What is remembered of the log's end has a bound, however it is reached."""

import pytest

from driftlog._store import tail
from driftlog.testing import fleet
from tests.todo_app import TodoAdded, todo_app


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

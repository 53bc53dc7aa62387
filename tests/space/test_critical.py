"""A critical event of a type that the app does not know: nothing is appended beside it, all else goes on (P32)."""

import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from driftlog import App, Event, Space, State, VersionVector, ViewTransaction
from driftlog._core.limits import HOLD_MS
from driftlog._store.critical import AWAITED_TYPES_MAX
from driftlog.errors import EventRejected, NeedsUpgrade
from driftlog.testing import exchange
from tests.todo_app import TABLES, Clock, TodoAdded, TodoRenamed, todo_app

EVERYTHING = VersionVector()


class LimitLowered(Event, name="limit.lowered", version=3, critical=True):
    limit: int


class LimitMentioned(Event, name="limit.lowered", version=3):
    """The same type, as an app version saw it that did not think it critical."""

    limit: int


class Misread(LimitLowered, name="limit.lowered", version=3, critical=True):
    limit: str  # type: ignore[assignment]  # what another version of the app made of it


class TodoCapped(Event, critical=True):
    id: str


def knowing(*event_types: type[LimitLowered | LimitMentioned]) -> App:
    """Give the app as it knows limits: it cuts off all that is more than the limit."""
    app = todo_app()

    def limited(tx: ViewTransaction, event: LimitLowered | LimitMentioned) -> None:
        tx.execute("DELETE FROM todo WHERE CAST(id AS INTEGER) > ?", (event.limit,))

    for event_type in event_types:
        app.on(event_type)(limited)
    return app


NEW = knowing(LimitLowered)


@pytest.fixture
def devices(tmp_path: Path) -> Iterator[tuple[Space, Space]]:
    """A device with the new app that has lowered the limit, and one with the old app that has received it."""
    with NEW.open(":memory:") as new, todo_app().join(tmp_path / "old.db", new.invite()) as old:
        old.append(TodoAdded(id="1", text="milk"), TodoAdded(id="2", text="bread"))
        exchange(new, old)
        new.append(LimitLowered(limit=1))
        exchange(new, old)
        yield new, old


def test_appending_is_refused_with_the_types_name_and_what_to_do(devices: tuple[Space, Space]) -> None:
    _, old = devices
    events = old.status().events

    with pytest.raises(
        NeedsUpgrade, match=r"'limit\.lowered' version 3.*nothing was appended, update the app"
    ) as caught:
        old.append(TodoAdded(id="3", text="eggs"))

    assert caught.value.event_types == (("limit.lowered", 3),)
    assert caught.value.app_name == "org.example.todos"
    assert old.status().events == events


def test_it_is_refused_again_after_it_was_refused_once(devices: tuple[Space, Space]) -> None:
    _, old = devices
    for _ in range(2):
        with pytest.raises(NeedsUpgrade):
            old.append(TodoAdded(id="3", text="eggs"))


def test_a_transaction_may_read_and_not_append(devices: tuple[Space, Space]) -> None:
    _, old = devices
    with old.transaction() as tx:
        assert tx.query("SELECT id FROM todo ORDER BY id") == [("1",), ("2",)]
        with pytest.raises(NeedsUpgrade):
            tx.append(TodoAdded(id="3", text="eggs"))
        with pytest.raises(NeedsUpgrade):
            tx.append(TodoAdded(id="3", text="eggs"))


def test_the_status_names_what_the_device_waits_for_and_the_log_keeps_it_as_unknown(
    devices: tuple[Space, Space],
) -> None:
    new, old = devices
    status = old.status()
    assert status.needs_upgrade == (("limit.lowered", 3),)
    assert (status.unknown, status.is_read_only) == (1, False)
    [entry] = [entry for entry in old.log() if entry.state is State.UNKNOWN]
    assert (entry.name, entry.version, entry.event) == ("limit.lowered", 3, None)
    assert new.status().needs_upgrade == ()


def test_syncing_goes_on_in_both_directions(devices: tuple[Space, Space]) -> None:
    new, old = devices
    new.append(TodoRenamed(id="1", text="oat milk"))
    exchange(new, old)

    with NEW.join(":memory:", old.invite()) as third:
        third.receive(old.envelopes_for(EVERYTHING))
        assert old.query("SELECT id, text FROM todo ORDER BY id") == [("1", "oat milk"), ("2", "bread")]
        assert third.digest() == new.digest()
        assert third.query("SELECT id FROM todo") == [("1",)]


def test_what_was_pending_before_is_still_sealed_and_sent(tmp_path: Path) -> None:
    with NEW.open(":memory:") as new, todo_app().join(tmp_path / "old.db", new.invite()) as old:
        new.append(LimitLowered(limit=1))
        old.append(TodoAdded(id="1", text="milk"))
        old.receive(new.envelopes_for(EVERYTHING))

        assert old.seal() == 1
        exchange(new, old)
        assert new.query("SELECT id FROM todo") == [("1",)]


def test_after_the_update_the_view_is_a_fresh_replay_and_appending_works_again(
    devices: tuple[Space, Space], tmp_path: Path
) -> None:
    new, old = devices
    old.close()

    with NEW.open(tmp_path / "old.db") as updated:
        assert updated.status().needs_upgrade == ()
        assert updated.digest() == new.digest()
        updated.append(TodoAdded(id="3", text="eggs"))
        exchange(new, updated)
        assert updated.digest() == new.digest()
        assert updated.query("SELECT id FROM todo ORDER BY id") == [("1",), ("3",)]


def test_a_restarted_old_app_still_refuses(devices: tuple[Space, Space], tmp_path: Path) -> None:
    devices[1].close()
    with todo_app().open(tmp_path / "old.db") as again, pytest.raises(NeedsUpgrade):
        again.append(TodoAdded(id="3", text="eggs"))


def test_another_process_of_the_old_app_refuses_what_the_first_has_received(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with NEW.open(":memory:") as new, todo_app().join(path, new.invite()) as old, todo_app().open(path) as second:
        second.append(TodoAdded(id="1", text="milk"))
        new.append(LimitLowered(limit=1))
        old.receive(new.envelopes_for(EVERYTHING))

        assert second.status().needs_upgrade == (("limit.lowered", 3),)
        with pytest.raises(NeedsUpgrade):
            second.append(TodoAdded(id="2", text="bread"))


def test_an_app_that_was_put_back_to_its_old_version_appends_nothing_to_what_the_new_one_wrote(tmp_path: Path) -> None:
    path = tmp_path / "todos.db"
    with NEW.open(path) as space:
        space.append(LimitLowered(limit=1))
    with todo_app().open(path) as space, pytest.raises(NeedsUpgrade):
        space.append(TodoAdded(id="1", text="milk"))
    with NEW.open(path) as space:
        space.append(TodoAdded(id="1", text="milk"))


def test_an_unknown_event_that_is_not_critical_stops_nobody(tmp_path: Path) -> None:
    with knowing(LimitMentioned).open(":memory:") as new, todo_app().join(":memory:", new.invite()) as old:
        new.append(LimitMentioned(limit=1))
        exchange(new, old)
        old.append(TodoAdded(id="1", text="milk"))
        assert (old.status().unknown, old.status().needs_upgrade) == (1, ())


@pytest.mark.parametrize(("theirs", "ours"), [(LimitLowered, LimitMentioned), (LimitMentioned, LimitLowered)])
def test_who_knows_a_type_knows_it_with_the_mark_and_without(
    theirs: type[LimitLowered | LimitMentioned], ours: type[LimitLowered | LimitMentioned]
) -> None:
    with knowing(theirs).open(":memory:") as a, knowing(ours).join(":memory:", a.invite()) as b:
        a.append(TodoAdded(id="2", text="bread"))
        a.append(theirs(limit=1))
        exchange(a, b)
        b.append(ours(limit=0))
        exchange(a, b)
        assert a.digest() == b.digest()
        assert [entry.event for entry in b.log()] == [TodoAdded(id="2", text="bread"), ours(limit=1), ours(limit=0)]
        assert [entry.version for entry in a.log()] == [1, 3, 3]


def test_making_a_type_critical_rebuilds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with knowing(LimitMentioned).open(tmp_path / "a.db") as space:
        space.append(LimitMentioned(limit=1))

    def unexpected(*_: object) -> int:
        raise AssertionError("the tables would be the same")

    monkeypatch.setattr("driftlog._store.store.Store.rebuild", unexpected)
    with knowing(LimitLowered).open(tmp_path / "a.db") as space:
        space.append(LimitLowered(limit=1))


def test_a_held_critical_event_stops_nobody_before_its_time() -> None:
    clock, ahead = Clock(), Clock()
    ahead.now_ms += HOLD_MS + 1
    with NEW.open(":memory:", clock=ahead) as new, todo_app().join(":memory:", new.invite(), clock=clock) as old:
        new.append(LimitLowered(limit=1))
        exchange(new, old)
        old.append(TodoAdded(id="1", text="milk"))
        assert (old.status().held, old.status().needs_upgrade) == (1, ())

        clock.now_ms += 1
        with pytest.raises(NeedsUpgrade):
            old.append(TodoAdded(id="2", text="bread"))


def test_a_rejected_event_is_listed_with_its_version_and_without_the_mark() -> None:
    with NEW.open(":memory:") as a, knowing(Misread).join(":memory:", a.invite()) as b:
        b.append(Misread(limit="one"))
        exchange(a, b)
        [row] = a.query("SELECT name, version FROM driftlog_rejected")
        assert row == ("limit.lowered", 3)
        assert a.status().needs_upgrade == ()


def test_a_critical_event_that_would_be_rejected_where_it_is_made_stops_nobody() -> None:
    app = todo_app()

    @app.on(TodoCapped)
    def todo_capped(tx: ViewTransaction, event: TodoCapped) -> None:
        tx.execute("INSERT INTO todo (id, text) VALUES (?, NULL)", (event.id,))

    with app.open(":memory:") as space:
        with pytest.raises(EventRejected, match="NOT NULL"):
            space.append(TodoCapped(id="1"))
        space.append(TodoAdded(id="1", text="milk"))


def test_of_two_critical_events_with_one_stamp_both_types_are_named() -> None:
    other = todo_app()
    other.on(TodoCapped)(lambda tx, event: tx.execute("DELETE FROM todo WHERE id > ?", (event.id,)))
    clock = Clock()
    with (
        NEW.open(":memory:", clock=clock) as a,
        other.join(":memory:", a.invite(), clock=clock) as b,
        todo_app().join(":memory:", a.invite(), clock=clock) as old,
    ):
        assert a.append(LimitLowered(limit=1))[0].hlc == b.append(TodoCapped(id="1"))[0].hlc
        old.receive([*a.envelopes_for(EVERYTHING), *b.envelopes_for(EVERYTHING)])
        assert old.status().needs_upgrade == (("TodoCapped", 1), ("limit.lowered", 3))


def test_of_any_number_of_types_that_nobody_knows_some_are_named() -> None:
    inventive = App("org.example.todos", tables=TABLES)
    made = []
    for number in range(AWAITED_TYPES_MAX + 4):
        event_type = types.new_class(f"Invented{number:02}", (Event,), {"critical": True})
        inventive.on(event_type)(lambda tx, _: tx.execute("DELETE FROM todo"))
        made += [event_type(), event_type()]

    with inventive.open(":memory:") as new, todo_app().join(":memory:", new.invite()) as old:
        new.append(*made)
        exchange(new, old)
        named = old.status().needs_upgrade
        assert named == tuple((f"Invented{number:02}", 1) for number in range(AWAITED_TYPES_MAX))

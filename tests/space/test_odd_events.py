"""Events of honest and hostile members that cannot be taken as they are: held, void, poisonous, unknown.

None of them stops anything: each has its state, alike on every device, and what comes with them is applied.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from driftlog import App, Event, Space, State, VersionVector, ViewTransaction, reject
from driftlog._core.limits import HOLD_MS
from driftlog.errors import AppChanged
from driftlog.testing import exchange, fleet
from tests.todo_app import TABLES, Clock, TodoAdded, TodoRenamed, todo_app
from tests.vectors.formats import Author, Entry, write_batch, write_envelope
from tests.vectors.msgpack import pack

NOW_MS = 1_800_000_000_000
DAY_MS = 24 * 60 * 60 * 1_000

EVERYTHING = VersionVector()


def states(space: Space) -> list[tuple[str, State]]:
    return [(entry.name, entry.state) for entry in space.log()]


# --- held ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def clocks() -> list[Clock]:
    return [Clock(NOW_MS), Clock(NOW_MS + 2 * DAY_MS)]


@pytest.fixture
def devices(clocks: list[Clock]) -> Iterator[list[Space]]:
    """A device whose clock is right, and one two days ahead, which has written an event."""
    devices = fleet(todo_app(), 2, clocks=clocks)
    devices[1].append(TodoAdded(id="1", text="from the day after tomorrow"))
    yield devices
    for device in devices:
        device.close()


def test_an_event_from_the_day_after_tomorrow_is_held_and_its_device_is_named(devices: list[Space]) -> None:
    right, ahead = devices

    receipt = right.receive(ahead.envelopes_for(EVERYTHING))

    assert (receipt.envelopes, receipt.applied, receipt.held) == (1, 0, 1)
    assert right.query("SELECT * FROM todo") == []
    assert states(right) == [("TodoAdded", State.HELD)]
    assert right.status().held == 1
    assert [device.device for device in right.status().devices if device.held] == [ahead.device]


def test_a_held_event_moves_no_clock_and_blocks_nobody(devices: list[Space], clocks: list[Clock]) -> None:
    right, ahead = devices
    right.receive(ahead.envelopes_for(EVERYTHING))

    [stamp] = right.append(TodoAdded(id="2", text="today"))

    assert stamp.hlc >> 16 == NOW_MS
    assert right.query("SELECT id FROM todo") == [("2",)]


def test_a_held_event_is_passed_on_and_takes_its_place_when_its_time_comes(
    devices: list[Space], clocks: list[Clock]
) -> None:
    right, ahead = devices
    exchange(right, ahead)
    clocks[0].now_ms = NOW_MS + 2 * DAY_MS - HOLD_MS - 1
    right.append(TodoAdded(id="2", text="a day before"))
    assert right.status().held == 1

    clocks[0].now_ms += 1
    right.append(TodoAdded(id="3", text="at the hour"))

    assert right.status().held == 0
    assert [row.id for row in right.query("SELECT id FROM todo ORDER BY id")] == ["1", "2", "3"]
    exchange(right, ahead)
    assert right.digest() == ahead.digest()


def test_a_device_that_got_its_clock_right_again_is_heard_again_though_its_next_stamps_are_still_ahead(
    devices: list[Space], clocks: list[Clock]
) -> None:
    right, ahead = devices
    clocks[1].now_ms = NOW_MS
    ahead.append(TodoAdded(id="2", text="the clock was put right"))
    exchange(right, ahead)
    assert right.status().held == 2

    clocks[0].now_ms = clocks[1].now_ms = NOW_MS + 2 * DAY_MS
    right.append(TodoAdded(id="3", text="two days later"))
    exchange(right, ahead)

    assert right.status().held == 0
    assert right.digest() == ahead.digest()


def test_what_is_held_survives_closing_and_is_not_lost_by_a_rebuild(
    devices: list[Space], clocks: list[Clock], tmp_path: Path
) -> None:
    _, ahead = devices
    with todo_app().join(tmp_path / "c.db", ahead.invite(), clock=clocks[0]) as space:
        space.receive(ahead.envelopes_for(EVERYTHING))
        assert space.rebuild() == 0
    with todo_app().open(tmp_path / "c.db", clock=clocks[0]) as space:
        assert states(space) == [("TodoAdded", State.HELD)]
        clocks[0].now_ms += 2 * DAY_MS
        space.append(TodoAdded(id="2", text="later"))
        assert space.digest() != ahead.digest()
        exchange(space, ahead)
        assert space.digest() == ahead.digest()


# --- void ------------------------------------------------------------------------------------------------------------


class Member:
    """A member who writes envelopes by hand, with whatever stamps it likes."""

    def __init__(self, space: Space, seed: int = 1) -> None:
        keys = space._engine.keys
        self._author = Author.of_seed(bytes([seed]) * 32, keys.space, keys.epoch_key)
        self._number = 0
        self._head = bytes(32)

    def write(self, *events: tuple[int, Event]) -> bytes:
        """Seal events at the given milliseconds, as the next envelope of the chain."""
        entries = [
            Entry(at_ms << 16, at_ms, type(event).event_name, type(event).event_version, pack(fields(event)))
            for at_ms, event in events
        ]
        self._number += 1
        raw, self._head = write_envelope(self._author, self._number, self._head, write_batch(entries))
        return raw


def fields(event: Event) -> dict[str, object]:
    return {name: getattr(event, name) for name in event.__struct_fields__}


def test_events_dated_behind_their_devices_own_chain_are_void_on_every_device_whatever_arrives_first() -> None:
    a, b, c = fleet(todo_app(), 3, clocks=[Clock(NOW_MS)] * 3)
    member = Member(a)
    first = member.write((NOW_MS, TodoAdded(id="1", text="first")))
    back_dated = member.write(
        (NOW_MS - 5_000, TodoAdded(id="2", text="yesterday's truth")), (NOW_MS + 1, TodoAdded(id="3", text="honest"))
    )
    equal = member.write((NOW_MS + 1, TodoAdded(id="4", text="the same stamp again")))

    assert a.receive([first, back_dated, equal]).void == 2
    assert b.receive([equal, back_dated]).waiting == 2
    assert b.receive([first]).void == 2
    for raw in (first, back_dated, equal):
        c.receive([raw])

    for space in (a, b, c):
        assert [row.id for row in space.query("SELECT id FROM todo ORDER BY id")] == ["1", "3"]
        assert (space.status().void, space.status().events) == (2, 2)
        assert space.digest() == a.digest()
        assert list(space.envelopes_for(EVERYTHING)) == [first, back_dated, equal]


# --- poison ----------------------------------------------------------------------------------------------------------


class Divided(Event):
    by: int


def poisoned_app() -> App:
    app = App("org.example.todos", tables=f"{TABLES}; CREATE TABLE share (n INTEGER PRIMARY KEY) STRICT")

    @app.on(TodoAdded)
    def todo_added(tx: ViewTransaction, event: TodoAdded) -> None:
        tx.execute("INSERT INTO todo (id, text) VALUES (?, ?)", (event.id, event.text))

    @app.on(Divided)
    def divided(tx: ViewTransaction, event: Divided) -> None:
        tx.execute("INSERT INTO share (n) VALUES (-1)")
        if event.by == 13:
            reject("thirteen is nobody's number")
        tx.execute("UPDATE share SET n = ? WHERE n = -1", (100 // event.by,))

    return app


POISON = "poisoned_app.<locals>.divided raised ZeroDivisionError"


def test_a_poison_event_is_rejected_alike_everywhere_and_delays_nobody(caplog: pytest.LogCaptureFixture) -> None:
    a, b = fleet(poisoned_app(), 2, clocks=[Clock(NOW_MS)] * 2)
    raw = Member(a).write(
        (NOW_MS, TodoAdded(id="1", text="before")),
        (NOW_MS + 1, Divided(by=0)),
        (NOW_MS + 2, Divided(by=13)),
        (NOW_MS + 3, Divided(by=5)),
        (NOW_MS + 4, TodoAdded(id="2", text="after")),
    )

    b.append(TodoAdded(id="3", text="meanwhile"))
    receipts = [space.receive([raw]) for space in (a, b)]
    exchange(a, b)

    assert [receipt.applied for receipt in receipts] == [5, 5]
    for space in (a, b):
        assert space.query("SELECT name, reason FROM driftlog_rejected ORDER BY hlc") == [
            ("Divided", POISON),
            ("Divided", "thirteen is nobody's number"),
        ]
        assert space.query("SELECT n FROM share") == [(20,)]
        assert [row.id for row in space.query("SELECT id FROM todo ORDER BY id")] == ["1", "2", "3"]
        assert space.digest() == a.digest()
    # Its traceback is for the app's author, in the log of the program; on record is only what all devices can agree on.
    assert "ZeroDivisionError" in caplog.text


def test_a_space_with_a_poison_event_opens_rebuilds_and_goes_on(tmp_path: Path) -> None:
    with poisoned_app().open(tmp_path / "a.db", clock=Clock(NOW_MS)) as space:
        space.receive([Member(space).write((NOW_MS, Divided(by=0)), (NOW_MS + 1, Divided(by=50)))])

    with poisoned_app().open(tmp_path / "a.db", clock=Clock(NOW_MS)) as space:
        assert space.rebuild() == 2
        assert space.query("SELECT n FROM share") == [(2,)]
        assert space.status().rejected == 1
        space.append(Divided(by=10))
        assert space.query("SELECT n FROM share") == [(2,), (10,)]


class Misfit(Event, name="TodoAdded"):
    """Bears the name of an event, and has other fields."""

    id: int


def test_an_event_whose_fields_do_not_fit_its_type_is_rejected() -> None:
    a, b = fleet(todo_app(), 2, clocks=[Clock(NOW_MS)] * 2)
    raw = Member(a).write((NOW_MS, Misfit(id=5)), (NOW_MS + 1, TodoAdded(id="1", text="after")))

    for space in (a, b):
        space.receive([raw])
        [rejected] = space.query("SELECT reason FROM driftlog_rejected")
        assert rejected.reason == "the payload does not fit TodoAdded version 1"
        assert space.query("SELECT id FROM todo") == [("1",)]
        assert [entry.event for entry in space.log()] == [None, TodoAdded(id="1", text="after")]


# --- unknown ---------------------------------------------------------------------------------------------------------


class TodoMoved(Event):
    id: str
    to: str


def upgraded() -> App:
    """Give the next version of the app: the same tables, one event type more."""
    app = todo_app()

    @app.on(TodoMoved)
    def todo_moved(tx: ViewTransaction, event: TodoMoved) -> None:
        tx.execute("UPDATE todo SET text = text || ' in ' || ? WHERE id = ?", (event.to, event.id))

    return app


def test_events_of_unknown_type_are_kept_passed_on_and_take_their_place_after_the_upgrade(tmp_path: Path) -> None:
    with upgraded().open(":memory:", clock=Clock(1_000)) as newer:
        newer.append(TodoAdded(id="1", text="milk"))
        newer.append(TodoMoved(id="1", to="the fridge"))
        newer.append(TodoRenamed(id="1", text="oat milk"))
        newer.append(TodoMoved(id="1", to="the cellar"))

        with todo_app().join(tmp_path / "old.db", newer.invite()) as older:
            older.receive(newer.envelopes_for(EVERYTHING))
            assert older.query("SELECT text FROM todo") == [("oat milk",)]
            assert older.status().unknown == 2
            assert [entry.event for entry in older.log() if entry.state is State.UNKNOWN] == [None, None]
            with upgraded().join(":memory:", older.invite()) as third:
                third.receive(older.envelopes_for(EVERYTHING))
                assert third.digest() == newer.digest()

        with upgraded().open(tmp_path / "old.db") as no_longer_old:
            assert no_longer_old.query("SELECT text FROM todo") == [("oat milk in the cellar",)]
            assert no_longer_old.digest() == newer.digest()
            assert no_longer_old.status().unknown == 0


def test_an_app_that_was_put_back_to_its_old_version_keeps_what_the_new_one_wrote(tmp_path: Path) -> None:
    path = tmp_path / "todos.db"
    with upgraded().open(path) as space:
        space.append(TodoAdded(id="1", text="milk"), TodoMoved(id="1", to="the fridge"))
        digest = space.digest()
    with todo_app().open(path) as space:
        assert space.query("SELECT text FROM todo") == [("milk",)]
        assert space.status().unknown == 1
    with upgraded().open(path) as space:
        assert space.digest() == digest


def test_an_older_version_of_the_app_that_is_still_running_writes_nothing_into_the_newer_ones_tables(
    tmp_path: Path,
) -> None:
    path = tmp_path / "todos.db"
    with upgraded().open(":memory:") as elsewhere, todo_app().join(path, elsewhere.invite()) as older:
        elsewhere.append(TodoAdded(id="1", text="milk"), TodoMoved(id="1", to="the fridge"))
        with upgraded().open(path) as newer:
            with pytest.raises(AppChanged, match=r"another version of the app.*; restart this one with that version"):
                older.receive(elsewhere.envelopes_for(EVERYTHING))
            with pytest.raises(AppChanged):
                older.append(TodoAdded(id="2", text="bread"))

            newer.receive(elsewhere.envelopes_for(EVERYTHING))
            assert newer.digest() == elsewhere.digest()

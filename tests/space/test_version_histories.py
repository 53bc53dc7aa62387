"""Three versions of an app on three devices, updated whenever: in the end all show what a fresh replay shows (P32).

The judge folds the log in order with its own arithmetic, from what the test itself appended.
"""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftlog import App, Event, EventRejected, Space, State, Timestamp, ViewTransaction, reject
from driftlog.errors import NeedsUpgrade
from driftlog.testing import exchange
from tests.core.drawing import cases
from tests.todo_app import Clock

TABLES = "CREATE TABLE total (id TEXT PRIMARY KEY, cents INTEGER NOT NULL) STRICT"
FREE = "nothing is free"

Fields = dict[str, Any]


class PaidUnits(Event, name="paid"):
    id: str
    units: int


class PaidCents(Event, name="paid", version=2):
    id: str
    cents: int


class Paid(Event, name="paid", version=3, critical=True):
    id: str
    amount: dict[str, int]


def to_cents(fields: Fields) -> Fields:
    if fields["units"] == 0:
        reject(FREE)
    return {"id": fields["id"], "cents": 100 * fields["units"]}


def to_amount(fields: Fields) -> Fields:
    return {"id": fields["id"], "amount": {"cents": fields["cents"]}}


def add(tx: ViewTransaction, id_: str, cents: int) -> None:
    """Depend on what came before: doubled, so that the order shows."""
    if cents == 0:
        reject(FREE)
    row = tx.one("SELECT cents FROM total WHERE id = ?", (id_,))
    total = cents if row is None else 2 * row.cents % 1_000_003 + cents
    tx.execute("INSERT INTO total VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET cents = excluded.cents", (id_, total))


def app_of(version: int) -> App:
    app = App("org.example.paid", tables=TABLES)
    match version:
        case 1:
            app.on(PaidUnits)(lambda tx, event: add(tx, event.id, 100 * event.units))
        case 2:
            app.on(PaidCents)(lambda tx, event: add(tx, event.id, event.cents))
            app.upgrade(PaidCents, from_version=1)(to_cents)
        case _:
            app.on(Paid)(lambda tx, event: add(tx, event.id, event.amount["cents"]))
            app.upgrade(Paid, from_version=1)(to_cents)
            app.upgrade(Paid, from_version=2)(to_amount)
    return app


def event_of(version: int, id_: str, units: int) -> Event:
    match version:
        case 1:
            return PaidUnits(id=id_, units=units)
        case 2:
            return PaidCents(id=id_, cents=100 * units)
        case _:
            return Paid(id=id_, amount={"cents": 100 * units})


class Fact(NamedTuple):
    at: Timestamp
    version: int
    id: str
    cents: int


def folded(facts: list[Fact], known: int) -> tuple[dict[str, int], list[State]]:
    """Say what a device shows whose app knows versions up to `known`, and holds these events."""
    totals: dict[str, int] = {}
    states = []
    for fact in sorted(facts):
        if fact.version > known:
            states.append(State.UNKNOWN)
        elif fact.cents == 0:
            states.append(State.REJECTED)
        else:
            states.append(State.APPLIED)
            totals[fact.id] = 2 * totals[fact.id] % 1_000_003 + fact.cents if fact.id in totals else fact.cents
    return totals, states


class World:
    """Three devices in files, and what was appended on them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.clock = Clock()
        self.versions = [1, 1, 1]
        self.facts: dict[Timestamp, Fact] = {}
        first = app_of(1).open(folder / "0.db", clock=self.clock, durability="relaxed")
        link = first.invite()
        joined = [app_of(1).join(folder / f"{n}.db", link, clock=self.clock, durability="relaxed") for n in (1, 2)]
        self.spaces = [first, *joined]

    def held_by(self, space: Space) -> list[Fact]:
        return [self.facts[entry.timestamp] for entry in space.log()]

    def append(self, device: int, id_: str, units: int) -> None:
        space, version = self.spaces[device], self.versions[device]
        is_refused = any(fact.version == 3 > version for fact in self.held_by(space))
        assert space.status().needs_upgrade == ((("paid", 3),) if is_refused else ())
        try:
            [at] = space.append(event_of(version, id_, units))
        except NeedsUpgrade:
            assert is_refused
        except EventRejected:
            assert not is_refused
            assert units == 0
        else:
            assert not is_refused
            self.facts[at] = Fact(at, version, id_, 100 * units)
        self.clock.now_ms += units

    def update(self, device: int) -> None:
        self.versions[device] = min(3, self.versions[device] + 1)
        self.spaces[device].close()
        app = app_of(self.versions[device])
        self.spaces[device] = app.open(self._folder / f"{device}.db", clock=self.clock, durability="relaxed")

    def check(self) -> None:
        for space, version in zip(self.spaces, self.versions, strict=True):
            totals, states = folded(self.held_by(space), version)
            assert {row.id: row.cents for row in space.query("SELECT id, cents FROM total")} == totals
            assert [entry.state for entry in space.log()] == states


devices = st.integers(0, 2)
steps = st.one_of(
    st.builds(lambda *drawn: lambda world: world.append(*drawn), devices, st.sampled_from("ab"), st.integers(0, 5)),
    st.builds(lambda a, b: lambda world: exchange(world.spaces[a], world.spaces[b]), devices, devices),
    st.builds(lambda device: lambda world: world.update(device), devices),
)


@pytest.mark.slow
@cases(20)
@given(st.lists(steps, min_size=6, max_size=25))
def test_devices_that_were_updated_at_any_time_show_what_a_fresh_replay_shows(
    history: list[Callable[[World], None]],
) -> None:
    with TemporaryDirectory() as folder:
        world = World(Path(folder))
        for step in history:
            step(world)
            world.check()
        for a, b in ((0, 1), (1, 2), (0, 1)):
            exchange(world.spaces[a], world.spaces[b])
        world.check()
        for device in (0, 0, 1, 1, 2, 2):
            world.update(device)

        with app_of(3).join(":memory:", world.spaces[0].invite(), clock=world.clock) as fresh:
            exchange(fresh, world.spaces[0])
            for space in world.spaces:
                assert space.digest() == fresh.digest()
                assert list(space.log()) == list(fresh.log())
        assert {fact.at for fact in world.held_by(world.spaces[0])} == world.facts.keys()
        world.check()
        for space in world.spaces:
            space.append(event_of(3, "c", 1))
            space.close()

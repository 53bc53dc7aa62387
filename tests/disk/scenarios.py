"""What a device does while the power may go: each scenario is short, so that every operation of it can be cut after."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from driftlog import Event, EventRejected, Space
from driftlog._core.ids import Birthday, Position
from driftlog._core.version_vector import Head
from driftlog._sqlite.wal import move_wal_when_long
from driftlog.space.replica import SpaceReplica
from tests.disk.world import Acting, Confirmed, Done, DoneWith, Kept, Received, Scenario, World, acting_app, device_app
from tests.todo_app import TABLES, TodoAdded, TodoCompleted, TodoRemoved, TodoRenamed

URL = "ws://relay.test"
BIRTHDAY = Birthday(b"b" * 16)
DAY_MS = 86_400_000
WAL_PAGES = 8
"""Between two moves of the WAL into the database, where a scenario is about them."""


def added(id_: object, size: int = 60) -> TodoAdded:
    return TodoAdded(id=f"{id_}", text="x" * size)


def founding(world: World) -> None:
    with world.opened() as space:
        world.append(space, added(1))


def joining(world: World) -> None:
    with world.app.open(":memory:", clock=world.clock, entropy=world.rng.randbytes) as other:
        other.append(added("theirs"))
        with world.joined(other.invite()) as space:
            world.take(space, other)
            world.append(space, added(1))
            world.give(space, other)


def appending(world: World) -> None:
    with world.opened() as space:
        for number in range(8):
            world.append(space, added(number))


def appending_many_at_once(world: World) -> None:
    with world.opened() as space:
        world.append(space, *[added(number) for number in range(40)])
        world.append(space, *[TodoRenamed(id=f"{number}", text="y") for number in range(40)])


def appending_large_ones(world: World) -> None:
    with world.opened() as space:
        for number in range(4):
            world.append(space, added(number, 9_000))


def appending_in_groups(world: World) -> None:
    with world.opened() as space, ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: world.append(space, added(number)), range(12)))


def deciding(world: World) -> None:
    with world.opened() as space:
        world.append(space, added(0))
        for number in range(1, 4):
            with space.transaction() as tx:
                assert tx.one("SELECT 1 FROM todo WHERE id = ?", (f"{number - 1}",))
                at = [*tx.append(added(number)), *tx.append(TodoCompleted(id=f"{number - 1}"))]
            world.note_appended(at)


def being_refused(world: World) -> None:
    with world.opened() as space:
        for number in range(3):
            world.append(space, added(number))
            with suppress(EventRejected):
                space.append(added(f"{number}-not"), TodoCompleted(id="nobody"))


def receiving_in_order(world: World) -> None:
    with world.opened() as space, world.other(space, world.clock.now_ms + 5_000) as other:
        for number in range(3):
            world.append(space, added(f"mine-{number}"))
            other.append(added(f"theirs-{number}"), TodoCompleted(id=f"theirs-{number}"))
            world.take(space, other)


def receiving_late(world: World) -> None:
    """Everything is behind what is there, and touches it: the log is taken back to the beginning."""
    with world.opened() as space, world.other(space, 1_000) as other:
        other.append(added(0))
        world.take(space, other)
        for number in range(6):
            world.append(space, TodoRenamed(id="0", text=f"{number}"))
        other.append(*[TodoRenamed(id="0", text=f"late-{number}") for number in range(3)])
        world.take(space, other)
        world.give(space, other)


def receiving_late_what_few_depend_on(world: World) -> None:
    """Most of what is there stands aside: a closure is undone and made anew, the rest stays."""
    with world.opened() as space, world.other(space, 1_000) as other:
        other.append(*[added(number) for number in range(20)])
        world.take(space, other)
        for number in range(20):
            world.append(space, TodoCompleted(id=f"{number}"))
        other.append(TodoRemoved(id="3"), TodoRenamed(id="4", text="late"))
        world.take(space, other)


def receiving_with_a_gap(world: World) -> None:
    with world.opened() as space, world.other(space) as other:
        envelopes = []
        for number in range(3):
            other.append(added(number))
            envelopes.append(list(other.envelopes_for(space.version_vector()))[-1])
        for index in (2, 1, 0):
            space.receive([envelopes[index]])
            world.disk.mark(Received((envelopes[index],)))
        world.append(space, TodoCompleted(id="2"))


def rebuilding(world: World) -> None:
    with world.opened() as space:
        world.append(space, *[added(number) for number in range(20)])
        space.rebuild()
        world.append(space, added(20))


def updating_the_app(world: World) -> None:
    newer = device_app(TABLES.replace("done INTEGER", "is_starred INTEGER NOT NULL DEFAULT 0, done INTEGER"))
    with world.opened() as space:
        world.append(space, *[added(number) for number in range(10)])
    with world.opened(newer) as space:
        world.append(space, added(10))
    with world.opened() as space:
        world.append(space, added(11))


def sealing(world: World) -> None:
    with world.opened() as space, world.other(space) as other:
        for number in range(4):
            world.append(space, added(number), added(f"{number}-too"))
            space.seal()
            world.give(space, other)


def acting(world: World) -> None:
    """What hangs on settled events is done in the world outside, and marked as done."""
    with world.opened(acting_app(lambda entry: world.disk.mark(Done(entry.timestamp)))) as space:
        for number in range(4):
            world.append(space, added(number), added(f"{number}-too"))
            world.disk.mark(Acting())
            space.run_effects()
            world.disk.mark(DoneWith())


def keeping_drafts(world: World) -> None:
    with world.opened() as space:
        for number in range(5):
            world.append(space, added(number))
            space.execute_local("INSERT INTO draft VALUES (?, ?)", (f"{number}", "half a thought"))
            world.disk.mark(Kept(f"{number}", "half a thought"))
        space.rebuild()


def undoing(world: World) -> None:
    with world.opened() as space, world.other(space) as other:
        stamps = [at for number in range(5) for at in world.append(space, added(number))]
        world.note_appended([space.undo(stamps[1])])
        world.note_appended([space.undo(stamps[2], stamps[3])])
        world.note_appended([space.redo(stamps[1])])
        world.give(space, other)


def holding(world: World) -> None:
    with world.opened() as space, world.other(space, world.clock.now_ms + 3 * DAY_MS) as other:
        world.append(space, added(0))
        other.append(added("ahead"), added("ahead-too"))
        world.take(space, other)
        world.append(space, added(1))
        world.clock.now_ms += 3 * DAY_MS
        world.append(space, added(2))


def reading_a_relay(world: World) -> None:
    """Events and cursor in one transaction, page by page, and what the relay confirms of what was made here."""
    with world.opened() as space, world.other(space) as other:
        replica = SpaceReplica(space._engine, lambda *_: None)
        for number in range(3):
            other.append(added(f"theirs-{number}"))
            page = list(other.envelopes_for(space.version_vector()))
            replica.apply(URL, BIRTHDAY, page, Position(number + 1))
            world.disk.mark(Received(tuple(page)))
            world.append(space, added(f"mine-{number}"))
            world.give(space, other)
            head = space.version_vector()[space._engine.keys.device_key][0]
            replica.confirm(URL, BIRTHDAY, Head(*head), is_all=True)
            world.disk.mark(Confirmed(head.batch_seq))


def moving_the_wal(world: World) -> None:
    """The WAL goes into the database every few appends, and begins anew."""
    with world.opened() as space, world.other(space) as other:
        space._engine._connection.pragma("wal_autocheckpoint", WAL_PAGES)
        for number in range(16):
            world.append(space, added(number, 900))
        world.give(space, other)


def closing_and_opening(world: World) -> None:
    for number in range(3):
        with world.opened() as space:
            world.append(space, added(number))


def relaxed(world: World) -> None:
    """Nothing is synced but what others are given."""
    with world.opened(durability="relaxed") as space, world.other(space) as other:
        move_wal_when_long(space._engine._connection, 4 * WAL_PAGES)
        for number in range(12):
            world.append(space, added(number, 300))
            if number % 4 == 2:
                world.give(space, other)


def acknowledging(world: World) -> None:
    with world.opened() as space, world.other(space, world.clock.now_ms + 1_000) as other:
        for number in range(3):
            other.append(added(number))
            world.take(space, other)
            world.note_appended([space.acknowledge()])
            world.give(space, other)
            world.take(space, other)


def meeting_oneself(world: World) -> None:
    """A device is given its own envelopes again, some of which are in its file already."""
    with world.opened() as space, world.other(space) as other:
        for number in range(3):
            world.append(space, added(number))
            world.give(space, other)
            space.receive(other.envelopes_for(type(space.version_vector())()))
            world.append(space, added(f"{number}-after"))


def appending_to_all_kinds(world: World) -> None:
    """A little of everything, with the WAL moved meanwhile."""
    with world.opened() as space, world.other(space, 1_000) as other:
        space._engine._connection.pragma("wal_autocheckpoint", WAL_PAGES)
        _everything(world, space, other)


def _everything(world: World, space: Space, other: Space) -> None:
    for number in range(4):
        events: list[Event] = [added(number, 500), TodoRenamed(id=f"{number}", text="new")]
        stamps = world.append(space, *events)
        other.append(added(f"late-{number}", 200))
        world.take(space, other)
        world.note_appended([space.undo(stamps[1])])
        world.give(space, other)


SCENARIOS: tuple[Scenario, ...] = (
    founding,
    joining,
    appending,
    appending_many_at_once,
    appending_large_ones,
    appending_in_groups,
    deciding,
    being_refused,
    receiving_in_order,
    receiving_late,
    receiving_late_what_few_depend_on,
    receiving_with_a_gap,
    rebuilding,
    updating_the_app,
    sealing,
    acting,
    keeping_drafts,
    undoing,
    holding,
    reading_a_relay,
    moving_the_wal,
    closing_and_opening,
    relaxed,
    acknowledging,
    meeting_oneself,
    appending_to_all_kinds,
)

"""A device that works until it is killed: `<path> <seed> [<relay's address>]`, and says what it was acknowledged.

`event <hlc> <device> <hash>` once an event is in the log, `sealed <number>` once an envelope is, `confirmed <number>` once
a relay is known to hold it. What it does is drawn: it appends, decides, seals, rebuilds, and takes in late events.
"""

import random
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import count

from driftlog import EventRejected, Space, Sync, Timestamp
from tests.crash.processes import order, say
from tests.todo_app import TodoAdded, TodoCompleted, TodoRenamed, todo_app

APP = todo_app()
SYNC_SECONDS_MAX = 30

CLOCK_MS = 1_700_000_000_000
"""A clock that stands still. Stamps then come from what the file knows of the last one, and one that was forgotten would be
given again."""

WAL_PAGES = 12
"""SQLite moves the WAL into the database every few appends, so that some are killed in the middle of that."""


def main() -> None:
    """Work for ever."""
    path, seed, *urls = order()
    rng = random.Random(int(seed))
    with APP.open(path, durability=rng.choice(("full", "relaxed")), clock=lambda: CLOCK_MS) as space:
        say("open")
        space._engine._connection.pragma("wal_autocheckpoint", WAL_PAGES)
        work(space, rng, space.sync(*urls) if urls else None)


def work(space: Space, rng: random.Random, sync: Sync | None) -> None:
    """Do one thing after the other."""
    # An older device, whose events come before all that is here and make the view be rewound.
    other = APP.join(":memory:", space.invite(), clock=lambda: 1)
    ids = (f"{rng.getrandbits(64):016x}-{number}" for number in count())
    things: dict[Callable[[], None], int] = {
        lambda: append(space, [added(next(ids))]): 60,
        lambda: append(space, [added(next(ids)) for _ in range(30)]): 6,
        lambda: decide(space, next(ids)): 12,
        lambda: be_refused(space, next(ids)): 6,
        lambda: seal(space): 8,
        lambda: take_in(space, other, [added(next(ids)) for _ in range(3)]): 6,
        lambda: rebuild(space): 2,
    }
    if sync is not None:
        things[lambda: confirm(space, sync)] = 25
    while True:
        [thing] = rng.choices(list(things), list(things.values()))
        thing()


def added(id_: str) -> TodoAdded:
    return TodoAdded(id=id_, text="x" * 200)


def append(space: Space, events: list[TodoAdded]) -> None:
    acknowledge(space.append(*events))


def decide(space: Space, id_: str) -> None:
    with space.transaction() as tx:
        stamps = tx.append(added(id_))
        last = tx.one("SELECT id FROM todo ORDER BY id LIMIT 1")
        assert last is not None
        stamps += tx.append(TodoRenamed(id=last.id, text=id_), TodoCompleted(id=id_))
    # Only now: what stands in the block is not there before its end.
    acknowledge(stamps)


def be_refused(space: Space, id_: str) -> None:
    with suppress(EventRejected):
        space.append(added(id_), TodoCompleted(id="nobody"))


def seal(space: Space) -> None:
    space.seal()
    say("sealed", next(device.envelopes for device in space.status().devices if device.is_self))


def take_in(space: Space, other: Space, events: list[TodoAdded]) -> None:
    stamps = other.append(*events)
    space.receive(other.envelopes_for(space.version_vector()))
    acknowledge(stamps)


def confirm(space: Space, sync: Sync) -> None:
    assert sync.wait(SYNC_SECONDS_MAX)
    [relay] = space.status().relays
    say("confirmed", relay.confirmed_envelopes)


def acknowledge(stamps: Iterable[Timestamp]) -> None:
    for stamp in stamps:
        say("event", stamp.hlc, stamp.device.hex(), stamp.event_hash.hex())


def rebuild(space: Space) -> None:
    space.rebuild()
    say("rebuilt")


if __name__ == "__main__":
    main()

"""The judge's side of time travel: a device's past, at any place, is the naive fold of what has its place up to there."""

from collections.abc import Iterable

from driftlog import Timestamp
from driftlog._core.clock import Hlc
from driftlog._core.ids import DeviceKey, EventHash
from tests.machines import Machine
from tests.oracle import KNOWN, KNOWN_LATELY, Place, fold
from tests.programs import TABLES, Variant


def timestamp(place: Place) -> Timestamp:
    """Give an oracle's place as the engine writes it."""
    hlc, device, event_hash = place
    return Timestamp(Hlc(hlc), DeviceKey(device), EventHash(event_hash))


def compare_past(machine: Machine, variant: Variant, places: Iterable[Place]) -> None:
    """Hold the device's past at each of these places to the oracle's, and its end to the present."""
    machine.settle()
    facts, placed = machine.witness.facts, machine.witness.placed
    known = KNOWN_LATELY if machine.is_new else KNOWN
    for place in places:
        then = {fact: entry for fact, entry in facts.items() if fact <= place}
        # What was undone since is in no past: the log, as it is known now, skips it.
        verdict = fold(variant, then, placed & then.keys(), known, machine.witness.undone())
        with machine.space.at(timestamp(place)) as past:
            for table in TABLES:
                rows = [tuple(row) for row in past.query(f"SELECT * FROM {table}")]
                assert len(rows) == len(verdict.tables[table])
                assert set(rows) == set(verdict.tables[table].values()), f"table {table} was not so at {place}"
            if not placed or place >= max(placed):
                assert past.digest() == machine.space.digest()

"""What the log must hold, read from envelopes alone: which events count, which are undone, and whose keys have forked.

Written again from the decisions, and shares with the engine only what parses: that every device agrees with a fresh one says
nothing of a rule that both have wrong. What an event does to the tables is not in it.
"""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from driftlog._core.batch import Batch
from driftlog._core.clock import Timestamp
from driftlog._core.envelope import Envelope
from driftlog._core.event import Record, place
from driftlog._core.ids import NO_ENVELOPE, DeviceKey, EnvelopeHash
from driftlog._core.retraction import UNDONE, is_control, named_by
from driftlog._store.log import State


class Model(NamedTuple):
    """What envelopes come to."""

    records: dict[Timestamp, Record]
    """Every event that counts: not void, and with all envelopes before its own."""
    retracted: set[Timestamp]
    forked: set[DeviceKey]
    """Whose envelopes parted: two with one number."""

    def broken(self, states: dict[Timestamp, State], known_types: Collection[tuple[str, int]]) -> str | None:
        """Say how a log, given as its events' states, is not what it must be; None if it is."""
        for what, events in (
            ("lacks", self.records.keys() - states.keys()),
            ("holds", states.keys() - self.records.keys()),
        ):
            if events:
                return f"{what} {len(events)} events against the envelopes: {', '.join(map(str, sorted(events)[:5]))}"
        for at, record in self.records.items():
            if is_control(record):
                continue
            if (states[at] is State.RETRACTED) != (at in self.retracted):
                return f"calls {at} {states[at]}, against its undos and redos"
            is_unknown = (record.name, record.marked_version) not in known_types
            if states[at] is not State.RETRACTED and (states[at] is State.UNKNOWN) != is_unknown:
                return f"calls {at}, a {record.name}, {states[at]}"
        return None


def model_of(opened: Iterable[tuple[Envelope, Batch]]) -> Model:
    """Read envelopes."""
    last_by_hash: dict[EnvelopeHash, int] = {NO_ENVELOPE: 0}
    hash_by_place: dict[tuple[DeviceKey, int], EnvelopeHash] = {}
    records: dict[Timestamp, Record] = {}
    forked: set[DeviceKey] = set()
    # By number, so that what an envelope continues has been read before it.
    for envelope, batch in sorted(opened, key=lambda pair: (pair[0].header.batch_seq, pair[0].hash)):
        header = envelope.header
        last = last_by_hash.get(header.previous)
        if last is None:
            continue
        if hash_by_place.setdefault((header.device, header.batch_seq), envelope.hash) != envelope.hash:
            forked.add(header.device)
        last_by_hash[envelope.hash] = max(last, *(record.hlc for record in batch.records))
        for record in batch.records:
            if record.hlc > last:
                records[place(header.space, header.device, record)] = record
    return Model(records, _retracted(records), forked)


def _retracted(records: dict[Timestamp, Record]) -> set[Timestamp]:
    """The last undo or redo that names an event decides, if it comes after the event."""
    found: dict[Timestamp, bool] = {}
    for at in sorted(records, reverse=True):
        for event in named_by(records[at]) or ():
            if event < at:
                found.setdefault(event, records[at].name == UNDONE)
    return {event for event, is_undone in found.items() if is_undone}

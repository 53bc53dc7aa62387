"""One replay of a log from nothing, and what each event of it came to.

The log is put into a space in memory and folded there by the code that every device runs. What an event came to is its
verdict and the rows it changed, as they are afterwards: with the tables empty at first, two replays whose events come to
the same have the same tables after every event. The rows are found backwards from the last ones, by the undo data.

Left out: under which circumstances (`circumstances`), and how two replays are compared (`determinism`).
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from driftlog._core.clock import COUNTER_BITS, Hlc, Timestamp
from driftlog._core.event import Event, Record, place
from driftlog._core.ids import KEY_BYTES, DeviceKey, SpaceId
from driftlog._sqlite.connection import connect
from driftlog._sqlite.storage_errors import storage_errors
from driftlog._sqlite.tables import Table
from driftlog._store import schema
from driftlog._store.log import Log, State
from driftlog._store.meta import Meta
from driftlog._store.store import Store
from driftlog.errors import OtherApp
from driftlog.space.app import App
from driftlog.space.connecting import MEMORY
from driftlog.space.entries import prepare_events
from driftlog.space.space import Space

START_MS: Final = 1_700_000_000_000
"""The stamp and wall time of the first of given events; any would do that is the same in every run."""

STEP_MS: Final = 1_000


class Placed(NamedTuple):
    """An event in its place."""

    timestamp: Timestamp
    record: Record


class RowChange(msgspec.Struct, frozen=True, array_like=True):
    """A row that an event changed. Values are SQLite's: `Any`, because msgspec cannot tell text and bytes of a union."""

    table: str
    key: tuple[Any, ...]
    row: tuple[Any, ...] | None
    """The row afterwards; None where it is gone."""


class Effect(msgspec.Struct, frozen=True, array_like=True):
    """What an event came to."""

    state: str
    reason: str | None
    changes: tuple[RowChange, ...]


Effects = list[bytes]
"""An encoded `Effect` for each event: equal bytes, equal effect."""

_encode = msgspec.msgpack.Encoder().encode
decode_effect: Final = msgspec.msgpack.Decoder(Effect).decode


def events_placed(app: App, events: Iterable[Event]) -> list[Placed]:
    """Give events the places they would have on a device that made them a second apart. Raises `InvalidEvent`."""
    placed = []
    for index, (event, payload) in enumerate(prepare_events(app._program(), list(events))):
        wall_ms = START_MS + index * STEP_MS
        record = Record(Hlc(wall_ms << COUNTER_BITS), wall_ms, event.event_name, event.event_version, payload)
        placed.append(Placed(place(SpaceId(bytes(KEY_BYTES)), DeviceKey(bytes(KEY_BYTES)), record), record))
    return placed


def space_placed(app: App, space: Space | str | Path) -> list[Placed]:
    """Give the log of an open space, or of the file at a path, which is only read. Held events are among them."""
    if isinstance(space, Space):
        with space._engine.reading() as store:
            _check_app(app, space._engine.program.name, repr(space))
            return _placed(store.log)
    with storage_errors(str(space)):
        connection = connect(
            space, is_read_only=True, may_be_immutable=True, identify=lambda opened: schema.identify(opened, space)
        )
        try:
            _check_app(app, (Meta(connection).get("app") or b"").decode(), str(space))
            return _placed(Log(connection))
        finally:
            connection.close()


def _placed(log: Log) -> list[Placed]:
    return [Placed(entry.timestamp, entry.record) for entry in log.entries()]


def _check_app(app: App, name: str, where: str) -> None:
    if name != app.name:
        raise OtherApp(f"{where} belongs to the app {name!r}, this is {app.name!r}; check it with that app")


def replay(app: App, log: Sequence[Placed], *, is_reversed: bool) -> Effects:
    """Replay a log from nothing; `is_reversed` lets SQLite give unordered rows the other way round."""
    # Clock and keys of the space have no part in a replay, so they are constant.
    with app.open(MEMORY, clock=lambda: START_MS, entropy=bytes) as space, space._engine.writing() as store:
        store.connection.pragma("reverse_unordered_selects", is_reversed)
        for at, record in log:
            store.log.insert(at, record, State.UNKNOWN)
        store.rebuild()
        return _effects(store, app._program().tables.tables)


def _effects(store: Store, tables: Sequence[Table]) -> Effects:
    now = {
        (table.index, _encode(_key(table, row))): row
        for table in tables
        for row in store.connection.execute(table.select_all_sql)
    }
    effects: Effects = []
    for entry in reversed(list(store.log.entries())):
        changes: dict[tuple[int, bytes], RowChange] = {}
        for (index, key), image in store.view.images(entry.undo).items():
            table = tables[index]
            values = key if isinstance(key, tuple) else (key,)
            row_id = (index, _encode(values))
            before = None if image is None else tuple([image[column] for column in table.stored])
            after = now.pop(row_id, None)
            if before is not None:
                now[row_id] = before
            # A row that was written as it was is no difference between devices.
            if _encode(before) != _encode(after):
                changes[row_id] = RowChange(table.name, values, after)
        in_order = tuple([changes[row_id] for row_id in sorted(changes)])
        effects.append(_encode(Effect(entry.state.value, entry.reason, in_order)))
    assert not now, "taken back to the first event, the tables are empty"
    effects.reverse()
    return effects


def _key(table: Table, stored_row: Sequence[Any]) -> tuple[Any, ...]:
    return tuple([stored_row[table.stored.index(column)] for column in table.key])

"""How two devices differ, told to a person: which events, verdict or rows, since which event, and who made what.

Events are numbered as in the log that both hold. Left out is why they differ: nobody can see that in what they hold.
"""

from collections.abc import Mapping
from itertools import islice
from typing import Final, NamedTuple

from driftlog._core.clock import Timestamp
from driftlog._core.ids import DeviceKey, short
from driftlog._sqlite.rows import Row, SqlValue
from driftlog._sqlite.sqltext import quote
from driftlog._sqlite.tables import Table
from driftlog.space.app import App
from driftlog.space.space import Space
from driftlog.space.status import LogEntry

ROWS_SHOWN_MAX: Final = 5
"""Of the rows that differ between two devices; more only repeat what is wrong."""

EVENTS_SHOWN_MAX: Final = 5
"""Of the events that changed such a row: the last ones made it what it is."""

PASTS_COMPARED_MAX: Final = 200
"""Events after which the tables of two devices are compared, to say since when they differ. Each copies them twice."""

VALUE_CHARS_MAX: Final = 60
"""Of a value. A longer one is shown from shortly before the place where the two differ."""

NameByDevice = Mapping[DeviceKey, str]


class Named(NamedTuple):
    """A device as the reader knows it."""

    name: str
    space: Space


class Differing(NamedTuple):
    """A row that is not the same on two devices. It is None where there is none."""

    table: Table
    key: tuple[SqlValue, ...]
    here: Row | None
    there: Row | None


def difference_of(app: App, here: Named, there: Named, names: NameByDevice) -> str | None:
    """Say how two devices differ: in the events they hold, in a verdict, or in rows. `names` names the log's authors."""
    logs = [{entry.timestamp: entry for entry in space.log()} for _, space in (here, there)]
    for lacking, other, (own, full) in ((here, there, logs), (there, here, reversed(logs))):
        missing = [entry for at, entry in full.items() if at not in own]
        if missing:
            common = [entry for at, entry in full.items() if at in own]
            last = f"the last that both hold is {told(common[-1], names)}" if common else "they have none in common"
            first = told(missing[0], names)
            return (
                f"{lacking.name} lacks {counted(len(missing), 'event')} of {other.name}'s, the first is {first}; {last}"
            )
    entries = list(logs[0].values())
    for number, entry in enumerate(entries, 1):
        verdicts = verdict(entry), verdict(logs[1][entry.timestamp])
        if verdicts[0] != verdicts[1]:
            before = "; all before it are judged alike" if number > 1 else ""
            verdicts_told = f"is {verdicts[0]} at {here.name}, and {verdicts[1]} at {there.name}"
            return f"event {number}, {told(entry, names)}, {verdicts_told}{before}"
    differing = rows_differing(app, here.space, there.space)
    if not differing:
        return None
    numbers = {entry.timestamp: number for number, entry in enumerate(entries, 1)}
    lines = [
        f"{_row_told(row, here.name, there.name)}{_made_by(row, here.space, numbers)}"
        for row in differing[:ROWS_SHOWN_MAX]
    ]
    if len(differing) > ROWS_SHOWN_MAX:
        lines.append(f"and {counted(len(differing) - ROWS_SHOWN_MAX, 'row')} more")
    return "\n".join(line for line in (*lines, _since(entries, here, there, names)) if line)


def rows_differing(app: App, one: Space, other: Space) -> list[Differing]:
    """Give the rows that are not the same on two devices, in the order of tables and keys."""
    found: list[Differing] = []
    for table in app._program().tables.tables:
        here, there = (_row_by_key(space, table) for space in (one, other))
        rows = [Differing(table, key, here.get(key), there.get(key)) for key in sorted(here | there, key=repr)]
        # Their text, because 1 and 1.0 and True are equal in Python, and not in a digest.
        found += [row for row in rows if repr(row.here) != repr(row.there)]
    return found


def told(entry: LogEntry, names: NameByDevice) -> str:
    """Say what an event is, and whose."""
    device = entry.timestamp.device
    return f"{entry.event or entry.name} by {names.get(device) or short(device)}"


def verdict(entry: LogEntry) -> str:
    """Say what became of an event."""
    return entry.state.value if entry.reason is None else f"{entry.state.value} ({entry.reason})"


def counted(count: int, what: str) -> str:
    """Say how many."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def _row_by_key(space: Space, table: Table) -> dict[tuple[SqlValue, ...], Row]:
    rows = space.query(f"SELECT * FROM {quote(table.name)}")
    return {tuple(row[table.columns[column]] for column in table.key): row for row in rows}


def _row_told(row: Differing, here: str, there: str) -> str:
    columns = [column for column in row.table.columns if _differs(row, column)]
    key = _values([row.table.columns[column] for column in row.table.key], row.here or row.there, None)
    a, b = (
        f"is not there at {name}" if one is None else f"has {_values(columns, one, other)} at {name}"
        for name, one, other in ((here, row.here, row.there), (there, row.there, row.here))
    )
    return f"in table {row.table.name}, row {key} {a}, and {b if row.here is None else b.removeprefix('has ')}"


def _differs(row: Differing, column: str) -> bool:
    return row.here is None or row.there is None or repr(row.here[column]) != repr(row.there[column])


def _values(columns: list[str], row: Row | None, other: Row | None) -> str:
    assert row is not None, "a row that differs is somewhere"
    return ", ".join(f"{name}={_value(row[name], None if other is None else other[name])}" for name in columns)


def _value(value: object, other: object) -> str:
    text = repr(value)
    if len(text) <= VALUE_CHARS_MAX:
        return text
    same = next((at for at, (a, b) in enumerate(zip(text, repr(other), strict=False)) if a != b), 0)
    begin = max(0, same - VALUE_CHARS_MAX // 4)
    end = begin + VALUE_CHARS_MAX
    return f"{'…' if begin else ''}{text[begin:end]}{'…' if end < len(text) else ''} ({len(text)} characters)"


def _made_by(row: Differing, space: Space, numbers: Mapping[Timestamp, int]) -> str:
    changed = [numbers[entry.timestamp] for entry in space.why(row.table.name, row.key) if entry.timestamp in numbers]
    if not changed:
        return "; no event changed it"
    dots = "…, " if len(changed) > EVENTS_SHOWN_MAX else ""
    shown = ", ".join(map(str, changed[-EVENTS_SHOWN_MAX:]))
    return f"; changed by event{'' if len(changed) == 1 else 's'} {dots}{shown}"


def _since(entries: list[LogEntry], here: Named, there: Named, names: NameByDevice) -> str:
    """Say after which event the tables are first not the same, by what each device would show had it ended there."""
    for number, entry in islice(enumerate(entries, 1), PASTS_COMPARED_MAX):
        with here.space.at(entry.timestamp) as one, there.space.at(entry.timestamp) as other:
            if one.digest() != other.digest():
                before = f"they are alike up to event {number - 1}, and differ" if number > 1 else "they differ"
                return f"{before} from event {number} on, {told(entry, names)}"
    return ""

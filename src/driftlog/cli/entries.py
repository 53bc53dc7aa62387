"""Log entries as commands show them: an object for programs, a line for people."""

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import msgspec

from driftlog._core.clock import hlc_ms
from driftlog._core.event import Event
from driftlog._store.log import State
from driftlog.cli.output import console, printable
from driftlog.space.status import LogEntry

if TYPE_CHECKING:
    from rich.text import Text

_STYLES: Final = {State.APPLIED: "", State.REJECTED: "red", State.HELD: "yellow", State.UNKNOWN: "yellow"}


def entry_json(entry: LogEntry) -> dict[str, object]:
    """Give an entry as JSON holds it; bytes are left for `print_json`."""
    at = entry.timestamp
    return {
        "timestamp": {"hlc": at.hlc, "device": at.device, "event_hash": at.event_hash, "text": str(at)},
        "wall_ms": entry.wall_ms,
        "name": entry.name,
        "version": entry.version,
        "event": None if entry.event is None else _fields(entry.event),
        "state": entry.state.value,
        "reason": entry.reason,
    }


def draw_entries(entries: Iterable[LogEntry]) -> None:
    """Print a line for each entry."""
    out = console()
    for entry in entries:
        out.print(_line(entry))


def _fields(event: Event) -> object:
    return msgspec.to_builtins(event, builtin_types=(bytes,))


def _line(entry: LogEntry) -> "Text":
    from rich.text import Text

    seconds = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(hlc_ms(entry.timestamp.hlc) / 1000))
    event = f"{entry.name} (version {entry.version})" if entry.event is None else _call(entry.name, entry.event)
    line = Text.assemble((str(entry.timestamp), "dim"), "  ", (seconds, "dim"), "  ", event)
    if entry.state is not State.APPLIED:
        line.append(
            f"  {entry.state.value}{f': {printable(entry.reason)}' if entry.reason else ''}", _STYLES[entry.state]
        )
    return line


def _call(name: str, event: Event) -> str:
    fields = ", ".join(f"{field}={getattr(event, field)!r}" for field in event.__struct_fields__)
    return f"{name}({fields})"

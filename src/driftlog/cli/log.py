"""`driftlog log`: the events of a space in their total order, and what became of each."""

import argparse
import re
import time
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final

import msgspec

from driftlog._core.clock import COUNTER_BITS, Hlc, Timestamp, hlc_ms
from driftlog._core.event import Event
from driftlog._core.ids import DeviceKey, EventHash
from driftlog._core.limits import HLC_MAX
from driftlog._store.log import State
from driftlog.cli.arguments import Subparsers, add_command, add_space, existing, positive
from driftlog.cli.loading import load_app
from driftlog.cli.output import console, note, print_json, printable
from driftlog.space.status import LogEntry

if TYPE_CHECKING:
    from rich.text import Text

LIMIT: Final = 100

LAST_BYTES: Final = b"\xff" * 32
"""Sorts after every device and every event hash."""

_STAMP: Final = re.compile(r"(\d{1,19})(?:\.(\d{1,5}))?(?:@([0-9a-f]{2,64}))?", re.ASCII)

_STYLES: Final = {State.APPLIED: "", State.REJECTED: "red", State.HELD: "yellow", State.UNKNOWN: "yellow"}


def add(commands: Subparsers) -> None:
    """Add the command."""
    parser = add_command(
        commands, "log", run, "Print the log in its total order: stamp, device, event, what became of it."
    )
    add_space(parser)
    parser.add_argument(
        "--limit", type=positive, default=LIMIT, metavar="N", help=f"at most N events (default {LIMIT})"
    )
    parser.add_argument(
        "--after", type=stamp, metavar="HLC", help="only events after this stamp, written as this command prints it"
    )


def run(options: argparse.Namespace) -> int:
    """Print the log."""
    limit: int = options.limit
    with load_app(options.app).open(existing(options.path)) as space:
        entries = list(islice(space.log(after=options.after), limit + 1))
    entries, is_more = entries[:limit], len(entries) > limit
    if options.json:
        next_ = str(entries[-1].timestamp) if is_more else None
        print_json({"entries": [_json(entry) for entry in entries], "next": next_})
        return 0
    _draw(entries)
    if is_more:
        note(f"there is more: --after {entries[-1].timestamp}")
    return 0


def stamp(text: str) -> Timestamp:
    """Read a stamp as argparse's `type`: `ms.counter@device` as the log prints it, `ms.counter`, or the whole integer.

    What is left out stands for the last there could be, so that nothing with that stamp comes again.
    """
    match = _STAMP.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a stamp; give one as `driftlog log` prints it")
    number, counter, device = match.groups()
    hlc = int(number) if counter is None else (int(number) << COUNTER_BITS) + int(counter)
    if hlc > HLC_MAX or len(device or "") % 2:
        raise argparse.ArgumentTypeError(f"{text!r} is not a stamp; give one as `driftlog log` prints it")
    known = bytes.fromhex(device or "")
    return Timestamp(Hlc(hlc), DeviceKey(known + LAST_BYTES[len(known) :]), EventHash(LAST_BYTES))


def _json(entry: LogEntry) -> dict[str, object]:
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


def _fields(event: Event) -> object:
    return msgspec.to_builtins(event, builtin_types=(bytes,))


def _draw(entries: Sequence[LogEntry]) -> None:
    out = console()
    for entry in entries:
        out.print(_line(entry))


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

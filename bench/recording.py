"""What it costs to record undo and touch data, beside the same engine with nothing recorded.

The other side is no engine that anybody could use: a late event would find nothing to take back. It has no preupdate hook,
notes nothing that is read, and writes NULL where the log keeps undo data.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import apsw

from bench.devices import Device, MakeEvent, cpu_rate_of, founded, unrelated
from bench.rounds import Figure, compare
from driftlog._sqlite.rows import Parameters
from driftlog._store.access import Access
from driftlog._store.recording import Recorder
from driftlog._store.view import View

TURNS: Final = 15
EVENTS: Final = 2_000

OVERHEAD_MAX: Final[dict[int, float]] = {1: 0.15, 100: 0.25}
"""By events a transaction: what recording may add to an append without it."""


def measure(directory: Path) -> Iterator[Figure]:
    """Measure both, about five seconds."""
    for group, overhead_max in OVERHEAD_MAX.items():
        place = directory / f"recording-{group}"
        place.mkdir()
        with founded(place / "recording.db") as recording, founded(place / "silent.db") as silent:
            _silence(silent.store.view)
            figure = _compared(recording, silent, group)
        ratio_min = 1 / (1 + overhead_max)
        yield replace(figure, goal=f"≥ {ratio_min:.2f} of it", is_goal_met=figure.ratio.median >= ratio_min)


def _compared(recording: Device, silent: Device, group: int) -> Figure:
    # The same ids on both sides: each has a file of its own.
    mine, theirs = unrelated(), unrelated()
    return compare(
        f"append, {group} a transaction, undo and touch recorded",
        lambda: _append(recording, mine, group),
        lambda: _append(silent, theirs, group),
        turns=TURNS,
        floor_is="nothing recorded",
    )


def _append(device: Device, make: MakeEvent, group: int) -> float:
    groups = [device.prepare(make, group) for _ in range(EVENTS // group)]
    return cpu_rate_of(lambda: sum(len(device.store.append_alone(prepared)) for prepared in groups))


def _silence(view: View) -> None:
    recorder = _Silent(view._tables)
    view._recorder = view._transaction._recorder = recorder
    # The one attribute of the connection that matters is passed over; a proxy costs the rest nothing here.
    view._connection = _Unhooked(view._connection)  # type: ignore[assignment]  # it stands in for one


class _Silent(Recorder):
    def begin(self) -> None:
        pass

    def note(self, access: Access, parameters: Parameters, changes_before: int) -> None:
        pass

    def finish(self) -> tuple[bytes | None, bytes | None]:
        return None, None


class _Unhooked:
    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def preupdate_hook(self, hook: object) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

"""Whether a log comes to the same tables on every device: it is replayed as other devices might, and compared.

This finds materializers that look at more than `tx` and their event. It proves nothing of what the events given do not
make a materializer do; give it logs that go everywhere, a property test's or a copy of a real one.
"""

import os
import sys
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from driftlog._core.clock import Timestamp
from driftlog._core.event import Event
from driftlog.cli.loading import load_app
from driftlog.errors import DriftlogError
from driftlog.space.app import App
from driftlog.space.space import Space
from driftlog.testing.circumstances import (
    IN_PROCESS,
    NEW_PROCESS,
    PLAIN,
    PLAIN_PROCESS,
    THIS_PROCESS,
    Circumstance,
    replays_here,
)
from driftlog.testing.replay import Effect, Effects, Placed, RowChange, decode_effect, events_placed, space_placed
from driftlog.testing.replay_process import INSIDE, limit_seconds, replays_in_process

SHOWN_CHARS_MAX: Final = 300
"""Of a row or reason in a message; a longer one is cut, and whole in the exception's `expected` and `found`."""


class Nondeterministic(DriftlogError):
    """A materializer came to something else under another circumstance: devices that run it would not agree.

    `index` counts from 0 in the log. `table` and `key` name the first row that differs, `expected` and `found` are that row
    in the plain replay and in the other, None where there is none. Where the verdicts differ, `table` is None, and they are
    the state with its reason.
    """

    def __init__(
        self, log: Sequence[Placed], index: int, circumstance: Circumstance, plain: Effect, other: Effect
    ) -> None:
        self.index = index
        self.timestamp: Timestamp = log[index].timestamp
        self.event_name = log[index].record.name
        self.circumstance = circumstance.words
        self.table: str | None = None
        self.key: tuple[object, ...] | None = None
        self.expected: tuple[object, ...] | None
        self.found: tuple[object, ...] | None
        if (plain.state, plain.reason) != (other.state, other.reason):
            self.expected, self.found = (plain.state, plain.reason), (other.state, other.reason)
            difference = f"it is {_verdict(other)}, not {_verdict(plain)}"
        else:
            here, there = _first_difference(plain, other)
            change = here or there
            assert change is not None, "effects that differ in no verdict differ in a row"
            self.table, self.key = change.table, change.key
            self.expected, self.found = _row(here), _row(there)
            difference = f"in table {change.table}, row {_shown(change.key)} is {_said(there)}, not {_said(here)}"
        super().__init__(
            f"event {index + 1} of {len(log)}, {self.event_name} at {self.timestamp}, does not come to the same "
            f"{circumstance.words}: {difference}. Usual causes: {circumstance.causes}"
        )


def check_determinism(
    app: App | str,
    *,
    events: Iterable[Event] = (),
    spaces: Iterable[Space | str | Path] = (),
    timeout_seconds: float | None = None,
) -> None:
    """Replay logs under different circumstances, and raise `Nondeterministic` for the first event that differs.

    `events` are one log; each of `spaces`, open or a file's path, is another, and is only read. The circumstances, in the
    order in which they are tried: again in the same process, rows without ORDER BY the other way round, another clock and
    other randomness, four hash seeds, another time zone, locale and working directory, and this process against a new one.

    New processes import the app: give it by name, as to `driftlog log`, or as an object that a module holds at its top
    level. Of an app made in a function, only what one process can have is checked, and a `UserWarning` says so. Nothing ends
    a materializer there that does not end by itself; a new process is ended after a minute and 10 ms an event, or
    `timeout_seconds`, with a `DriftlogError`. Takes some seconds, and memory for what all events of a log changed.
    """
    if os.environ.get(INSIDE):
        raise DriftlogError(
            "check_determinism was called while a new process imports the app for it; call it in a test, or under "
            "`if __name__ == '__main__':`"
        )
    declared = load_app(app) if isinstance(app, str) else app
    names = [_absolute(app)] if isinstance(app, str) else _names(app)
    logs = [log for log in [events_placed(declared, events)] if log]
    for space in spaces:
        log = space_placed(declared, space)
        if not log:
            raise ValueError(f"{space} holds no events, so nothing would be checked; give a space with events")
        logs.append(log)
    if not logs:
        raise ValueError("no events were given, so nothing would be checked; give events=[...] or spaces=[...]")
    if not names:
        warnings.warn(
            f"app {declared.name!r} is at no module's top level, so no new process can import it: hash seeds, time zone, "
            "locale and working directory were not checked; declare it in a module, or name it as 'module:attribute'",
            stacklevel=2,
        )
    for log in logs:
        if names:
            _check_in_processes(
                declared, names, log, limit_seconds(log) if timeout_seconds is None else timeout_seconds
            )
        else:
            _check_here(log, replays_here(declared, log, IN_PROCESS))


def _check_here(log: Sequence[Placed], replays: Sequence[Effects]) -> None:
    plain, *others = replays
    for circumstance, effects in zip(IN_PROCESS[1:], others, strict=True):
        _compare(log, circumstance, plain, effects)


def _check_in_processes(app: App, names: Sequence[str], log: Sequence[Placed], seconds_max: float) -> None:
    with TemporaryDirectory(prefix="driftlog-") as held, ThreadPoolExecutor(os.cpu_count()) as pool:

        def start(index: int) -> list[Effects]:
            directory = Path(held, str(index))
            directory.mkdir()
            return replays_in_process(
                app,
                names,
                log,
                (PLAIN_PROCESS, *NEW_PROCESS)[index],
                directory=directory,
                is_plain=index == 0,
                seconds_max=seconds_max,
            )

        # First alone: what it finds or fails with, the others would too.
        replays = start(0)
        _check_here(log, replays)
        for circumstance, [effects] in zip(NEW_PROCESS, pool.map(start, range(1, len(NEW_PROCESS) + 1)), strict=True):
            _compare(log, circumstance, replays[0], effects)
    [effects] = replays_here(app, log, (PLAIN,))
    _compare(log, THIS_PROCESS, replays[0], effects)


def _compare(log: Sequence[Placed], circumstance: Circumstance, plain: Effects, other: Effects) -> None:
    for index, (here, there) in enumerate(zip(plain, other, strict=True)):
        if here != there:
            raise Nondeterministic(log, index, circumstance, decode_effect(here), decode_effect(there))


def _absolute(name: str) -> str:
    """Give a name that means the same in another directory. A module is found on the path, which is handed on."""
    where, _, attribute = name.rpartition(":")
    return f"{Path(where).absolute()}:{attribute}" if where.endswith(".py") else name


def _names(app: App) -> list[str]:
    """Give names by which a new process may find an app; none if it is at no module's top level."""
    modules = {handler.__module__ for handler in (each.handler for each in app._program().materializers.values())}
    # The handlers' modules first: others may only have imported it.
    for name in [*sorted(modules), *list(sys.modules)]:
        module = sys.modules.get(name)
        for attribute, value in list(getattr(module, "__dict__", {}).items()):
            if value is app:
                file = getattr(module, "__file__", None)
                by_file = [f"{file}:{attribute}"] if file and file.endswith(".py") else []
                return by_file if name == "__main__" else [f"{name}:{attribute}", *by_file]
    return []


def _first_difference(plain: Effect, other: Effect) -> tuple[RowChange | None, RowChange | None]:
    here = {(change.table, repr(change.key)): change for change in plain.changes}
    there = {(change.table, repr(change.key)): change for change in other.changes}
    for row_id in {**here, **there}:
        # As text: to Python 1 and 1.0 and True are equal, in a table they are not.
        if repr(here.get(row_id)) != repr(there.get(row_id)):
            return here.get(row_id), there.get(row_id)
    return None, None


def _row(change: RowChange | None) -> tuple[object, ...] | None:
    return None if change is None else change.row


def _said(change: RowChange | None) -> str:
    if change is None:
        return "left as it was"
    return "deleted" if change.row is None else _shown(change.row)


def _verdict(effect: Effect) -> str:
    return effect.state if effect.reason is None else f"{effect.state} ({_shown(effect.reason)})"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CHARS_MAX else f"{text[:SHOWN_CHARS_MAX]}…"

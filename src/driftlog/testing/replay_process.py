"""A replay in a new process, whose hash seed, time zone, locale and directory are its own. Both ends of it.

The process finds the app as the command line does, by `module:attribute` or `file.py:attribute`. What it is to do and what
came of it are files in a directory that both know, so that nothing an app prints can come between.
"""

import locale
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from driftlog.cli.arguments import UsageError
from driftlog.cli.loading import load_app
from driftlog.errors import DriftlogError
from driftlog.space.app import App
from driftlog.testing.circumstances import IN_PROCESS, PLAIN, NewProcess, replays_here
from driftlog.testing.replay import Effects, Placed

INSIDE: Final = "DRIFTLOG_REPLAY_PROCESS"
"""Set in the environment of a replay process: one must not start others."""

PROCESS_SECONDS: Final = 60.0
"""For an interpreter to start and import the app on a machine that is busy; on an idle one it is half a second."""
EVENT_SECONDS: Final = 0.01
"""A thousand times what an event costs, over the replays of one process: beyond it a handler is stuck."""

ERROR_LINES_MAX: Final = 20
"""Of what the process said last: a traceback's end names what was raised and where."""

_MAIN: Final = "from driftlog.testing.replay_process import main; main()"


class _Request(msgspec.Struct, frozen=True):
    names: tuple[str, ...]
    """Names of the app, the first that can be imported counts."""
    identity: str
    log: list[Placed]
    locales: tuple[str, ...]
    is_plain: bool
    """Do all that one process can; the other processes do one replay."""


class _Outcome(msgspec.Struct, frozen=True):
    replays: list[Effects | None]
    """None for one that came to the same as the first."""


def identity(app: App) -> str:
    """Say what is declared, to tell whether the app that another process imports is the same."""
    program = app._program()
    handlers = sorted((*key, materializer.name) for key, materializer in program.materializers.items())
    return f"{program.name} {program.tables.fingerprint.hex()} {handlers}"


def limit_seconds(log: Sequence[Placed]) -> float:
    """Give how long a process may take."""
    return PROCESS_SECONDS + EVENT_SECONDS * len(log)


def replays_in_process(
    app: App,
    names: Sequence[str],
    log: Sequence[Placed],
    circumstance: NewProcess,
    *,
    directory: Path,
    is_plain: bool,
    seconds_max: float,
) -> list[Effects]:
    """Replay in a new process: under all that one process can have if `is_plain`, or once. `directory` is an empty one.

    Raises `DriftlogError` if it finds no app or another one, if it fails, or if it takes longer than `seconds_max`.
    """
    elsewhere = directory / "elsewhere"
    elsewhere.mkdir()
    request = _Request(tuple(names), identity(app), list(log), circumstance.locales, is_plain)
    (directory / "request").write_bytes(msgspec.msgpack.encode(request))
    paths = [str(Path(entry).absolute()) for entry in sys.path]
    environment = {**os.environ, **circumstance.variables, INSIDE: "1", "PYTHONPATH": os.pathsep.join(paths)}
    words = circumstance.words or "in a new process"
    with (directory / "said").open("wb") as said:
        try:
            ended = subprocess.run(  # noqa: S603 - this very interpreter, with a text of ours
                [sys.executable, "-P", "-c", _MAIN, str(directory)],
                cwd=elsewhere if circumstance.is_elsewhere else None,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                timeout=seconds_max,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise DriftlogError(
                f"the replay of {len(log)} events {words} was ended after {seconds_max:g} s: importing {names[0]} or one of "
                "its materializers does not come to an end there, or the machine is too busy; try it with fewer events, or "
                "give a larger timeout_seconds"
            ) from None
    if ended.returncode != 0:
        lines = (directory / "said").read_text(errors="replace").splitlines()[-ERROR_LINES_MAX:]
        raise DriftlogError(
            f"the replay {words} failed with exit code {ended.returncode}; mend what it says:\n" + "\n".join(lines)
        )
    outcome = msgspec.msgpack.decode((directory / "outcome").read_bytes(), type=_Outcome)
    first = outcome.replays[0]
    assert first is not None, "the first is always told"
    return [first if effects is None else effects for effects in outcome.replays]


def main() -> None:
    """Do what is asked in the directory that the command line names."""
    directory = Path(sys.argv[1])
    request = msgspec.msgpack.decode((directory / "request").read_bytes(), type=_Request)
    _set_locale(request.locales)
    app = _found(request.names)
    if identity(app) != request.identity:
        raise DriftlogError(
            f"{request.names[0]} declares something else in a new process ({identity(app)}) than in the one that asked "
            f"({request.identity}); declare the app and all its materializers when the module is imported"
        )
    first, *others = replays_here(app, request.log, IN_PROCESS if request.is_plain else (PLAIN,))
    told = [None if effects == first else effects for effects in others]
    (directory / "outcome").write_bytes(msgspec.msgpack.encode(_Outcome([first, *told])))


def _set_locale(names: Sequence[str]) -> None:
    for name in names:
        try:
            locale.setlocale(locale.LC_ALL, name)
        except locale.Error:
            continue  # it is not installed here
        # For what the app may set itself, from the environment.
        os.environ["LC_ALL"] = name
        return
    # The variable alone differs then, for the app to read or to fail with.


def _found(names: Sequence[str]) -> App:
    *first, last = names
    for name in first:
        try:
            return load_app(name)
        except UsageError:
            continue  # a module that only its test runner can import is found by its file
    return load_app(last)

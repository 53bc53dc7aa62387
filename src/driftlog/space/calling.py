"""How the app is called back: in this thread or where its own `call_soon` takes it, and what becomes of what it raises.

Nothing that an app's code raises reaches whoever wrote, or keeps others from being called. Interrupts do, as everywhere.
"""

import logging
from collections.abc import Callable
from threading import Lock
from typing import TypeVar

from driftlog._sqlite.sqltext import excerpt
from driftlog.space.answer import CallSoon, OnError

_log = logging.getLogger("driftlog")

_Told = TypeVar("_Told")


class Caller:
    """Has something run whenever it is asked to: here, or where `call_soon` takes it, once for however many times before."""

    def __init__(self, call_soon: CallSoon | None, run: Callable[[], None], consequence: str) -> None:
        self._call_soon = call_soon
        self._run = run
        self._consequence = consequence
        """Of a `call_soon` that raises, for the log."""
        self._lock = Lock()
        self._is_asked = False

    def call(self) -> None:
        """Run it, or have it run."""
        if self._call_soon is None:
            self._run()
            return
        with self._lock:
            if self._is_asked:
                return
            self._is_asked = True
        try:
            self._call_soon(self._called)
        except BaseException as error:
            # Interrupts, too: whoever is taken for asked is never asked again.
            with self._lock:
                self._is_asked = False
            if not isinstance(error, Exception):
                raise
            _log.exception("%r raised; %s", self._call_soon, self._consequence)

    def _called(self) -> None:
        # Before it runs: what changes from here on may be missed by it, and asks again.
        with self._lock:
            self._is_asked = False
        self._run()


def call_back(callback: Callable[[_Told], object], told: _Told, on_error: OnError | None, circumstance: str) -> None:
    """Tell a callback something; what it raises goes to its hook, or to the log, with what it was about."""
    try:
        callback(told)
    except Exception as error:  # noqa: BLE001 - a callback is the app's code, and raises what it likes
        if on_error is None:
            _log.exception("%r raised on %s", callback, circumstance)
        else:
            call_hook(on_error, error)


def call_hook(on_error: OnError, error: Exception) -> None:
    """Tell a hook of an error; what it raises itself goes to the log."""
    try:
        on_error(error)
    except Exception:  # noqa: BLE001 - likewise
        _log.exception("%r raised on %s; mend the hook", on_error, excerpt(repr(error)))

"""Telling an app what has changed: its callbacks, called in order, after the commit and without any lock of the space.

Whoever has written delivers; if another thread is delivering already, that one delivers this too, so the order of commits is
kept and nobody waits for an app's callback. A callback may therefore use the space like anyone: what it writes is delivered
after it has returned. What a callback raises is logged by the logger `driftlog`, with its traceback, and ends nothing.
"""

import logging
from collections.abc import Callable
from threading import Lock
from typing import NamedTuple

from driftlog._core.clock import Timestamp
from driftlog._core.ids import DeviceKey
from driftlog._store.program import Program
from driftlog._store.results import Verdict as Found
from driftlog._store.verdicts import Verdicts
from driftlog.space.entries import log_entry
from driftlog.space.settling import Settling
from driftlog.space.status import Verdict

_log = logging.getLogger("driftlog")

OnVerdict = Callable[[Verdict], None]


class _Listener(NamedTuple):
    callback: OnVerdict
    is_for_all: bool


class Telling:
    """The callbacks of one open space."""

    def __init__(
        self, verdicts: Verdicts, program: Program, device: DeviceKey, settled: Callable[[], Timestamp | None]
    ) -> None:
        self.settling = Settling(settled)
        self._verdicts = verdicts
        self._program = program
        self._device = device
        self._delivering = Lock()
        self._is_look_due = False
        self._adding = Lock()
        # In the order they were added. Each by a key of its own: one function may be added twice, and removed once.
        self._listener_by_key: dict[object, _Listener] = {}

    def add(self, callback: OnVerdict, *, is_for_all: bool) -> Callable[[], None]:
        """Add a callback for verdicts, and give the function that removes it."""
        key = object()
        with self._adding:
            self._listener_by_key[key] = _Listener(callback, is_for_all)

        def remove() -> None:
            with self._adding:
                self._listener_by_key.pop(key, None)

        return remove

    def deliver(self) -> None:
        """Tell what was committed and not told yet. Called without the write lock, by whoever may have changed something."""
        self._is_look_due = self.settling.is_anybody_waiting()
        # Asked again after letting go: what was committed in between found this thread still at it, and left it to us.
        while self._is_news() and self._delivering.acquire(blocking=False):
            try:
                while (found := self._verdicts.take()) is not None:
                    self._tell(found)
                if self._is_look_due:
                    self._is_look_due = False
                    self.settling.look()
            finally:
                self._delivering.release()

    def close(self) -> None:
        """Tell nobody any more."""
        with self._adding:
            self._listener_by_key.clear()

    def _is_news(self) -> bool:
        return self._is_look_due or self._verdicts.is_any_committed()

    def _tell(self, found: Found) -> None:
        with self._adding:
            keys = list(self._listener_by_key)
        if not keys:
            return
        is_own = found.entry.timestamp.device == self._device
        verdict = Verdict(log_entry(self._program, found.entry), found.before)
        for key in keys:
            # Looked up just before the call: who was removed by an earlier callback is not called any more.
            listener = self._listener_by_key.get(key)
            if listener is not None and (is_own or listener.is_for_all):
                self._call(listener.callback, verdict)

    def _call(self, callback: OnVerdict, verdict: Verdict) -> None:
        try:
            callback(verdict)
        except Exception:  # noqa: BLE001 - a callback is the app's code, and raises what it likes
            _log.exception(
                "%r raised on the verdict of %s at %s; the others are told all the same, mend the callback",
                callback,
                verdict.entry.name,
                verdict.entry.timestamp,
            )

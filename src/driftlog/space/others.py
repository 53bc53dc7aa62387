"""Other processes' writes to the file of an idle space: one thread that waits for hints of them, looks, and has them told.

There is one for each open space while anybody is subscribed and a moment longer, none for a space in memory or where there
are no threads. It keeps no transaction and no connection: a look is one pragma on the space's own, under the space's lock if
that is free, and SQLite's answer is complete, so what a hint misses is found by the next look. A hint comes before the
commit does, by the time of an fsync and perhaps of a whole transaction; so looks follow each other, ever slower, until
there is nothing.
"""

import logging
import sys
import time
from collections.abc import Callable
from enum import Enum
from threading import Condition, Event, Lock, Thread, current_thread
from typing import Final, Protocol
from weakref import ref

from driftlog._sqlite.wal_writes import Hints, MakeHints

_log = logging.getLogger("driftlog")

FIRST_SECONDS: Final = 0.0001
"""Between a hint and the second look, doubled for each one after it: a commit is told late by no more than it took."""
REST_SECONDS: Final = 0.001
"""After a look that found only writes of this very space, whose every write is a hint, too. It looks for others' itself."""
REST_SECONDS_MAX: Final = 0.016
"""Where there are more and more of them: 60 looks a second beside a space that writes all the time."""
LINGER_SECONDS: Final = 1.0
"""After the last subscription has ended, at least: a screen that closes is followed by one that opens."""


class Found(Enum):
    """What a look found."""

    NEWS = "something to tell"
    OWN = "writes of this space, or that it is in use"
    NOTHING = "nothing"
    CLOSED = "that the space is closed"


class LookedAt(Protocol):
    """The space whose file is looked at."""

    def look_for_others(self) -> Found:
        """Look, without waiting for the lock and without calling the app."""
        ...

    def deliver(self) -> None:
        """Tell the app what there is to tell."""
        ...


class _Watcher:
    """One thread, from its start to its end."""

    def __init__(self, others: "Others", hints: Hints) -> None:
        # Not held: a space that the app has dropped without closing it must be let go of.
        self._others = ref(others)
        self._hints = hints
        self._ending = Event()
        self._state = Condition()
        self._is_telling = False
        self._is_over = False
        self._last_error = ""
        # A daemon: an app that ends without closing its space must not hang.
        self._thread = Thread(target=self._run, name="driftlog-others", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Have it end, without waiting."""
        self._ending.set()
        self._hints.interrupt()

    def join(self) -> None:
        """Wait until it has ended, unless it is the app that it waits for: a callback may want what the caller holds."""
        if current_thread() is self._thread:
            return
        with self._state:
            self._state.wait_for(lambda: self._is_telling or self._is_over)
        if self._is_over:
            self._thread.join()

    def _run(self) -> None:
        wait_seconds = rest_seconds = 0.0
        try:
            while not self._ending.is_set():
                is_hinted = self._hints.wait(wait_seconds)
                found = self._look()
                if found is Found.CLOSED:
                    break
                if found is Found.OWN:
                    rest_seconds = min(max(2 * rest_seconds, REST_SECONDS), REST_SECONDS_MAX)
                    self._ending.wait(rest_seconds)
                else:
                    rest_seconds = 0.0
                if is_hinted or found in (Found.OWN, Found.NEWS):
                    wait_seconds = FIRST_SECONDS
                else:
                    wait_seconds = min(max(2 * wait_seconds, FIRST_SECONDS), self._hints.patience_seconds)
        finally:
            self._hints.close()
            with self._state:
                self._is_over = True
                self._state.notify_all()

    def _look(self) -> Found:
        others = self._others()
        if others is None or others.is_over():
            return Found.CLOSED
        try:
            found = others.space.look_for_others()
            if found is Found.NEWS and not self._ending.is_set():
                self._tell(others.space)
            self._last_error = ""
        except BaseException as error:  # noqa: BLE001 - whatever it is, the next look may find what this one did not
            # Once, not at every look: a disk that has failed may stay so.
            if repr(error) != self._last_error:
                _log.exception("writes of other processes could not be looked for; it is tried again")
            self._last_error = repr(error)
            return Found.NOTHING
        return found

    def _tell(self, space: LookedAt) -> None:
        with self._state:
            self._is_telling = True
            self._state.notify_all()
        try:
            space.deliver()
        finally:
            with self._state:
                self._is_telling = False


class Others:
    """Has other processes' writes looked for while anybody is subscribed."""

    def __init__(self, space: LookedAt, is_wanted: Callable[[], bool], wal: str | None, make_hints: MakeHints) -> None:
        self.space = space
        self.make_hints = make_hints
        self._is_wanted = is_wanted
        self._wal = wal or ""
        self._lock = Lock()
        self._watcher: _Watcher | None = None
        self._ended: _Watcher | None = None
        self._unwanted_since: float | None = None
        self._is_closed = wal is None or sys.platform == "emscripten"

    def begin(self) -> None:
        """Begin to look, if nobody does: somebody has subscribed."""
        with self._lock:
            if self._watcher is None and not self._is_closed:
                self._watcher = self._started()

    def is_over(self) -> bool:
        """Tell the thread whether it must end; after that another one may begin."""
        with self._lock:
            if self._is_wanted():
                self._unwanted_since = None
                return self._is_closed
            now = time.monotonic()
            if self._unwanted_since is None:
                self._unwanted_since = now
            if now - self._unwanted_since >= LINGER_SECONDS:
                self._ended, self._watcher = self._watcher, None
                self._unwanted_since = None
                return True
            return self._is_closed

    def close(self) -> None:
        """End for good, and wait until nothing of it is left but what the app itself holds up."""
        with self._lock:
            self._is_closed = True
            watchers = [self._watcher, self._ended]
            self._watcher = self._ended = None
        for watcher in watchers:
            if watcher is not None:
                watcher.end()
                watcher.join()

    def _started(self) -> _Watcher | None:
        hints = self.make_hints(self._wal)
        try:
            return _Watcher(self, hints)
        except RuntimeError:
            hints.close()
            _log.warning(
                "no thread could be started: other processes' writes are told with the next one of this process"
            )
            return None

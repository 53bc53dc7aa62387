"""Hints that somebody writes to a file's WAL. They come before the commit can be read, may be too many, and may be none.

So a hint only says when to look; what was written is SQLite's to say. Linux has inotify, reached through libc: a well-kept
library would be a dependency for three calls. Elsewhere there are no hints, and whoever waits looks now and then.
"""

import ctypes
import logging
import math
import os
import select
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Lock
from typing import Final, Protocol

_log = logging.getLogger("driftlog")

HINTED_SECONDS: Final = 1.0
"""Between two looks for which there was no hint, where hints are to be had: a net, for what they should miss."""
UNHINTED_SECONDS: Final = 0.25
"""Likewise where there are none: soon enough for a person, and rare enough for a battery."""

_IN_MODIFY: Final = 0x2
_IN_Q_OVERFLOW: Final = 0x4000
_IN_IGNORED: Final = 0x8000
_EVENT: Final = struct.Struct("iIII")
_READ_BYTES: Final = 64 << 10
"""More than inotify's queue holds of equal events, which it merges; what is left is read the next time."""


class Hints(Protocol):
    """What wakes somebody who waits for others' writes. `wait` and `close` are called in one thread, `interrupt` in any."""

    @property
    def patience_seconds(self) -> float:
        """How long to wait for a hint before looking without one."""
        ...

    def wait(self, seconds: float) -> bool:
        """Block until there is a hint, the time is over or `interrupt` was called, and tell whether there was a hint."""
        ...

    def interrupt(self) -> None:
        """End the wait, and each later one."""
        ...

    def close(self) -> None:
        """Let go of what the hints came from."""
        ...


class NoHints:
    """Waits, for nothing."""

    patience_seconds = UNHINTED_SECONDS

    def __init__(self) -> None:
        self._interrupted = Event()

    def wait(self, seconds: float) -> bool:
        """Block for this long, unless interrupted."""
        self._interrupted.wait(seconds)
        return False

    def interrupt(self) -> None:
        """End the wait, and each later one."""
        self._interrupted.set()

    def close(self) -> None:
        """There is nothing to let go of."""


class WalWrites:
    """Hints from inotify, on the file that bears the WAL's name now. Raises `OSError` where there is no inotify."""

    def __init__(self, wal: str) -> None:
        self._wal = wal
        self._libc = ctypes.CDLL(None, use_errno=True)
        try:
            self._queue = self._called(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        except AttributeError as error:
            raise OSError("this libc has no inotify") from error
        try:
            self._woken, self._waker = os.pipe()
        except OSError:
            os.close(self._queue)
            raise
        self._closing = Lock()
        self._is_closed = False
        self._poll = select.poll()
        self._poll.register(self._queue, select.POLLIN)
        self._poll.register(self._woken, select.POLLIN)
        self._watch: int | None = None
        self._file: tuple[int, int] | None = None
        self._follow()

    @property
    def patience_seconds(self) -> float:
        """How long to wait for a hint before looking without one."""
        return UNHINTED_SECONDS if self._watch is None else HINTED_SECONDS

    def wait(self, seconds: float) -> bool:
        """Block until the WAL is written to, the time is over or `interrupt` was called."""
        if seconds < 0.001:
            # `poll` counts in milliseconds.
            time.sleep(seconds)
            seconds = 0
        ready = [file for file, _ in self._poll.poll(math.ceil(seconds * 1000))]
        if self._queue in ready:
            return self._read()
        if not ready and seconds:
            # Nothing for a while; perhaps because it is another file now that bears the name.
            self._follow()
        return False

    def interrupt(self) -> None:
        """End the wait, and each later one."""
        with self._closing:
            if not self._is_closed:
                os.write(self._waker, b"!")

    def close(self) -> None:
        """Close the descriptors."""
        with self._closing:
            self._is_closed = True
            for descriptor in (self._queue, self._woken, self._waker):
                os.close(descriptor)

    def _read(self) -> bool:
        """Take what is queued, and tell whether any of it says that the file was written to."""
        with suppress(BlockingIOError):
            data = os.read(self._queue, _READ_BYTES)
            at = 0
            while at < len(data):
                watch, mask, _, name_bytes = _EVENT.unpack_from(data, at)
                at += _EVENT.size + name_bytes
                if mask & _IN_IGNORED and watch == self._watch:
                    self._watch = self._file = None
                    self._follow()
        return True

    def _follow(self) -> None:
        """Watch the file that bears the name now; it may be none, or another than before."""
        try:
            status = os.stat(self._wal)  # noqa: PTH116 - the name is SQLite's, a string
            file = (status.st_dev, status.st_ino)
            if file == self._file:
                return
            if self._watch is not None:
                # Fails where the file is gone and the watch with it.
                self._libc.inotify_rm_watch(self._queue, self._watch)
            self._watch = self._file = None
            self._watch = self._called(
                self._libc.inotify_add_watch(self._queue, os.fsencode(self._wal), ctypes.c_uint32(_IN_MODIFY))
            )
            self._file = file
        except OSError as error:
            _log.debug("%s cannot be watched (%s); it is looked at every %s s", self._wal, error, UNHINTED_SECONDS)

    def _called(self, result: int) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result


def hints_for(wal: str) -> Hints:
    """Give hints of writes to a WAL, or none where there are none to be had; an empty name is no file."""
    if sys.platform == "linux" and wal:
        try:
            return WalWrites(wal)
        except OSError as error:
            _log.info("writes of other processes are looked for every %s s: %s", UNHINTED_SECONDS, error)
    return NoHints()


MakeHints = Callable[[str], Hints]

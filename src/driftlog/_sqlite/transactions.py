"""Transactions, and how long they wait for another process's."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Final

import apsw

BUSY_TIMEOUT_MS: Final = 10_000
"""Another process writes for milliseconds at a time; one that holds the lock for ten seconds is stuck, and is named."""
BUSY_POLL_MS: Final = 1
"""SQLite has no queue for its lock, and its own handler looks again only after 25 to 100 ms: behind another process's long
catch-up, which lets go of the lock for `space/engine.py`'s pause between two steps, it would wait for the end."""


def wait_for_another(tries: int) -> bool:
    """Wait for another process's lock, as SQLite's busy handler; False gives up."""
    time.sleep(BUSY_POLL_MS / 1000)
    return tries < BUSY_TIMEOUT_MS // BUSY_POLL_MS


@contextmanager
def waiting_at_most(connection: apsw.Connection, ms: int) -> Iterator[None]:
    """Wait for another process's lock no longer than so many milliseconds, within the `with`."""
    connection.set_busy_handler(lambda tries: tries < ms // BUSY_POLL_MS and wait_for_another(tries))
    try:
        yield
    finally:
        connection.set_busy_handler(wait_for_another)


class write_transaction:  # noqa: N801 - it is used as a verb; a class, because a generator would cost every append 2 µs
    """Run a transaction that holds the write lock from its start. An error undoes all of it, and is passed on.

    Not apsw's `with connection`: a full disk makes SQLite roll back by itself, and rolling back what is gone would raise an
    error of its own in place of the one that matters.
    """

    __slots__ = ("_connection",)

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")


class read_transaction(write_transaction):  # noqa: N801 - likewise
    """Let all statements see one state of the file, whoever writes meanwhile, and hold no lock that others wait for.

    An I/O error ends it by itself: then there is nothing to roll back either.
    """

    __slots__ = ()

    def __enter__(self) -> None:
        self._connection.execute("BEGIN")


@contextmanager
def synced_to_disk(connection: apsw.Connection) -> Iterator[None]:
    """Let the transaction within survive a power cut, and with it all before it, even where durability is relaxed."""
    before = connection.pragma("synchronous")
    connection.pragma("synchronous", "full")
    try:
        yield
    finally:
        connection.pragma("synchronous", before)

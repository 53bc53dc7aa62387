"""What surrounds a rebuild: who waits for it, who is told how far it is, and for how long it waits for others itself.

A rebuild is one write transaction. That alone makes the new view come into being aside and take the old one's place in one
step: whoever reads, in this process or another, goes on seeing the old tables until the commit, and whatever ends it
before leaves them. What it costs is that nobody else writes meanwhile (decision 10).
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from typing import Final

import apsw

from driftlog._sqlite.transactions import write_transaction

Progress = Callable[[int, int], None]
"""Told how many events have been replayed, and how many there are to replay. What it raises cancels the rebuild."""

WAITS_MAX: Final = 60
"""Of the busy timeout's ten seconds each: another process that opens the changed app may be rebuilding already, at some
15 µs an event, so ten minutes are forty million events. What still writes then is stuck, and is named."""


def untold(_done: int, _in_all: int) -> None:
    """Be told, and do nothing."""


@contextmanager
def patient_transaction(connection: apsw.Connection, tell: Callable[[], None]) -> Iterator[None]:
    """Run a write transaction, waiting for the lock longer than usual; `tell` is called from time to time, and may raise."""
    with ExitStack() as stack:
        for waits in count(1):
            try:
                stack.enter_context(write_transaction(connection))
                break
            except apsw.BusyError:
                if waits >= WAITS_MAX:
                    raise
                tell()
        yield

"""After an I/O error nothing is acknowledged before the file was opened anew and looked at (P4).

A sync that failed may have left pages in memory that count as written and are not: a connection that goes on would build
on them, and a later sync would not tell. So a new connection is opened, and all that the WAL holds is written into the
database and synced there, before the WAL begins again from its start. The old connection writes nothing more, but stays
open until then: so SQLite keeps its index of the WAL, which never had the transaction that failed, and the call that raised
has indeed recorded nothing. Then the end of the log and of the chains is read back and held to its hashes.

Full disks and locks held by others cast no doubt on anything.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import apsw

_DOUBTFUL: Final = (apsw.IOError, apsw.CantOpenError, apsw.ProtocolError, apsw.InternalError)


class Reopening:
    """Remembers that the machine has failed, and has the file opened anew before it is used again.

    `reopen` runs under the caller's lock and raises what it meets; then each later call tries again.
    """

    def __init__(self, reopen: Callable[[], None]) -> None:
        self._reopen = reopen
        self._is_in_doubt = False
        self.count = 0
        """How often the file was opened anew."""

    @property
    def is_due(self) -> bool:
        """Whether the file must be opened anew."""
        return self._is_in_doubt

    def note(self, error: BaseException) -> None:
        """Take note of an error, whoever catches it."""
        cause: BaseException | None = error
        while cause is not None and not self._is_in_doubt:
            self._is_in_doubt = isinstance(cause, _DOUBTFUL)
            cause = cause.__cause__

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Take note of what is raised within."""
        try:
            yield
        except BaseException as error:
            self.note(error)
            raise

    def mend(self) -> None:
        """Open anew what is in doubt, under the lock that all writing holds."""
        if self._is_in_doubt:
            self._reopen()
            self._is_in_doubt = False
            self.count += 1

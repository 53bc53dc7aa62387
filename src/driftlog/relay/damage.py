"""A relay's file that is not as it was written: one error, and what its operator is to do.

A relay does not mend its file: what it held is held by the devices, and fills a new one (P18). So it is enough to notice,
and to hand out nothing of which it is not sure. What is looked at where it is used:

- a head, as the envelope at its place says;
- a position, as the last envelope's;
- an envelope that is sent, as its hash, its device and its number;
- what an envelope is refused for as a fork, or accepted again for.

What proves nothing, such as a space's bytes, and a signature, which would cost more than all the rest of sending, are
looked at by `verifying`.
"""

from types import TracebackType
from typing import Final

import apsw

from driftlog._core.envelope import OVERHEAD_BYTES, PLACE, SIGNATURE_BYTES, envelope_hash
from driftlog._core.ids import HASH_BYTES, KEY_BYTES
from driftlog._core.version_vector import Head
from driftlog._sqlite.storage_errors import storage_errors
from driftlog.errors import Corrupt

_DAMAGES = (apsw.CorruptError, apsw.SQLError, apsw.ConstraintError, apsw.MismatchError, UnicodeDecodeError)
"""What SQLite says of statements that are the relay's own and fit its tables: the tables are others by now."""

REMEDY: Final = (
    "Stop the relay, move the file away with its -wal, and start the relay again: the devices fill a new one"
)


def damaged(path: str, what: object) -> Corrupt:
    """Give the error for a relay's file that contradicts itself."""
    return Corrupt(f"{path} is damaged: {what}. {REMEDY}")


class opening_errors(storage_errors):  # noqa: N801 - it is used as a verb
    """Turn what SQLite says of what may be a relay's file into Driftlog's errors."""

    __slots__ = ()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, _DAMAGES):
            raise damaged(self._path, f"{type(error).__name__}: {error}") from error
        super().__exit__(kind, error, trace)


class relay_errors(opening_errors):  # noqa: N801 - likewise
    """Likewise, of a file that was a relay's when it was opened."""

    __slots__ = ()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, apsw.NotADBError):
            raise damaged(self._path, "it is no SQLite database any more") from error
        super().__exit__(kind, error, trace)


def is_number(value: object, least: int = 1) -> bool:
    """Tell whether a value that was read is a whole number of the least size or more. STRICT holds for what is written."""
    return type(value) is int and value >= least


def is_head(key: object, head: Head, hash_there: object) -> bool:
    """Tell whether what is noted as a device's head is one, and the envelope at its place has its hash."""
    return (
        type(key) is bytes
        and len(key) == KEY_BYTES
        and is_number(head.batch_seq)
        and type(head.hash) is bytes
        and len(head.hash) == HASH_BYTES
        and head.hash == hash_there
    )


def is_as_stored(raw: object, *, space: bytes, key: object, batch_seq: object, hashed: object) -> bool:
    """Tell whether an envelope is the one that its row says it is. The signature is not looked at.

    What has the hash was parsed once, so that it need not be again: this is done for each envelope that is sent.
    """
    if type(raw) is not bytes or len(raw) < OVERHEAD_BYTES:
        return False
    return PLACE.unpack_from(raw) == (space, key, batch_seq) and envelope_hash(raw[:-SIGNATURE_BYTES]) == hashed

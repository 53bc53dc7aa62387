"""All of a relay's file against what proves itself: what a relay that runs looks at only where it is used, or not at all.

Envelopes bear their place, their predecessor's hash and a signature, so nearly all else follows from them. Proofs of forks,
the birthday and the geneses prove nothing here, and are not looked at. Nothing is mended: the devices fill a new file.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Final

import apsw

from driftlog._core.envelope import parse_envelope
from driftlog._core.ids import HASH_BYTES, SpaceId, short
from driftlog._core.version_vector import Head
from driftlog._crypto.verify import is_authentic
from driftlog._sqlite.connection import connect
from driftlog._sqlite.rows import raw_rows
from driftlog.errors import Corrupt, NotADriftlogFile
from driftlog.relay.damage import is_as_stored, opening_errors, relay_errors
from driftlog.relay.judging import NO_HEAD
from driftlog.relay.schema import POSITION_BITS, SPACES, is_unmade, refuse_foreign

PROBLEMS_MAX: Final = 100
"""What is damaged in more places is as useless, and nobody reads on."""

_ALL_SPACES: Final = "SELECT space, id, position, bytes FROM space"
_ENVELOPES: Final = """
SELECT id, device, key, envelope.batch_seq, envelope.hash, raw FROM envelope LEFT JOIN device USING (device)
 WHERE id > ? AND id <= ? ORDER BY id
"""
_HEADS: Final = "SELECT device, batch_seq, hash FROM device WHERE space = ?"
_STRAY: Final = f"SELECT count(*) FROM envelope WHERE id >> {POSITION_BITS} NOT IN (SELECT space FROM space)"


def verify_file(path: str | Path, *, vfs: str = "") -> list[str]:
    """Read all of a relay's file, and say what in it is not as it was written, up to `PROBLEMS_MAX` findings.

    The relay may run meanwhile. Checks every signature. Raises `UnusableFile` for what is no relay's file, and
    `StorageError` where it cannot be read at all, but gives what `Corrupt` says as a finding.
    """
    try:
        with _opened(path, vfs) as connection:
            return [] if is_unmade(connection) else list(islice(_problems(connection), PROBLEMS_MAX))
    except Corrupt as error:
        return [str(error)]


def holds_nothing(path: str | Path) -> bool:
    """Tell whether a file is still to become a relay's: one that was made empty, or whose making was cut short."""
    with _opened(path) as connection:
        return is_unmade(connection)


@contextmanager
def _opened(path: str | Path, vfs: str = "") -> Iterator[apsw.Connection]:
    if not Path(path).exists():
        raise NotADriftlogFile(f"{path} is not there; check the path")
    with opening_errors(str(path)):
        connection = connect(
            path, is_read_only=True, vfs=vfs, identify=lambda opened: refuse_foreign(opened, str(path))
        )
    with relay_errors(str(path)), closing(connection):
        yield connection


def _problems(connection: apsw.Connection) -> Iterator[str]:
    for (said,) in raw_rows(connection, f"PRAGMA integrity_check({PROBLEMS_MAX})"):
        if said != "ok":
            yield f"SQLite: {said}"
    for number, space, position, size in raw_rows(connection, _ALL_SPACES):
        if type(space) is bytes and len(space) == HASH_BYTES and 0 < number < SPACES:
            yield from _of_space(connection, number, SpaceId(space), position, size)
        else:
            yield f"the id of a space, {number}, is none"
    stray = connection.execute(_STRAY).get
    if stray:
        yield f"{stray} envelopes belong to no space"


def _of_space(
    connection: apsw.Connection, number: int, space: SpaceId, position: object, size: object
) -> Iterator[str]:
    name = f"space {short(space)}"
    base = number << POSITION_BITS
    end: dict[int, Head] = {}
    count = found_bytes = 0
    for row_id, device, key, batch_seq, hashed, raw in raw_rows(
        connection, _ENVELOPES, (base, base + (1 << POSITION_BITS) - 1)
    ):
        count += 1
        if row_id != base + count:
            yield f"{name}: the envelope at position {count} is at {row_id - base}"
            count = row_id - base
        if not is_as_stored(raw, space=space, key=key, batch_seq=batch_seq, hashed=hashed):
            yield f"{name}: the envelope at position {count} is not the one that was stored"
            continue
        envelope = parse_envelope(raw)
        found_bytes += len(raw)
        if not is_authentic(envelope):
            yield f"{name}: the envelope at position {count} does not bear its device's signature"
        before = end.get(device, NO_HEAD)
        if (batch_seq, envelope.header.previous) != (before.batch_seq + 1, before.hash):
            yield f"{name}: the envelope at position {count} does not continue its device's chain"
        end[device] = Head(batch_seq, envelope.hash)
    if count != position:
        yield f"{name}: the last position is {count}, and noted is {position}"
    if found_bytes != size:
        yield f"{name}: its envelopes have {found_bytes} bytes, and noted are {size}"
    noted = {device: Head(batch_seq, hashed) for device, batch_seq, hashed in raw_rows(connection, _HEADS, (number,))}
    if noted != end:
        yield f"{name}: the ends of {len(noted.items() ^ end.items())} chains are not where they are noted"

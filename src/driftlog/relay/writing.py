"""What the relay writes: many connections' uploads in one transaction, each envelope judged, then all made durable.

What comes here was judged by itself (`checking`). It is stored if it continues its device's chain. One that is there
already is accepted again. A second, different one for the same place is refused, and kept as proof.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from driftlog._core.envelope import Envelope
from driftlog._core.ids import BatchSeq, DeviceKey, EnvelopeHash, Position, SpaceId
from driftlog._core.version_vector import Head
from driftlog._protocol.messages import Refusal
from driftlog._protocol.relay_session import Accepted, Outcome, Rejected
from driftlog._sqlite.rows import raw_rows
from driftlog._sqlite.transactions import write_transaction
from driftlog._sqlite.wal import abandon, empty_wal
from driftlog.errors import Corrupt
from driftlog.relay.damage import damaged, is_as_stored, is_head, is_number, relay_errors
from driftlog.relay.judging import NO_HEAD, Standing, judge
from driftlog.relay.schema import POSITION_BITS, base_of, open_file
from driftlog.relay.store import DamagedSpace, Job

FORKS_MAX: Final = 1_000
FORKS_PER_DEVICE_MAX: Final = 4
"""One proof convicts a key; the rest only fills the disk."""

SPACE_BYTES_MAX: Final = 10 << 30
"""The default quota of a space: years of a team's text, and one space cannot fill a disk by mistake."""

_SPACE = "SELECT space, position, bytes FROM space WHERE id = ?"
_NEW_SPACE = "INSERT INTO space (id, genesis, position, bytes) VALUES (?, ?, 0, 0) RETURNING space"
_DEVICE_COUNT = "SELECT count(*) FROM device WHERE space = ?"
_DEVICE = """
SELECT d.device, d.batch_seq, d.hash, e.hash
  FROM device AS d LEFT JOIN envelope AS e ON e.device = d.device AND e.batch_seq = d.batch_seq
 WHERE d.space = ? AND d.key = ?
"""
_NEW_DEVICE = "INSERT INTO device (space, key, batch_seq, hash) VALUES (?, ?, 0, x'') RETURNING device"
_PLACE = "SELECT id, hash FROM envelope WHERE device = ? AND batch_seq = ?"
_HELD = "SELECT hash, raw FROM envelope WHERE device = ? AND batch_seq = ?"
_INSERT = "INSERT INTO envelope (id, device, batch_seq, hash, raw) VALUES (?, ?, ?, ?, ?)"
_SAVE_SPACE = "UPDATE space SET position = ?, bytes = ? WHERE space = ?"
_SAVE_DEVICE = "UPDATE device SET batch_seq = ?, hash = ? WHERE device = ?"
_KEEP_FORK = """
INSERT OR IGNORE INTO fork (hash, device, batch_seq, raw) SELECT ?1, ?2, ?3, ?4
 WHERE (SELECT count(*) FROM fork) < ?5 AND (SELECT count(*) FROM fork WHERE device = ?2) < ?6
"""


@dataclass(slots=True)
class _Chain:
    """A device's row while a transaction runs; `device` is None until it has a first envelope."""

    device: int | None
    head: Head
    is_changed: bool = False


@dataclass(slots=True)
class _Space:
    """A space's row and its devices' while a transaction runs."""

    number: int | None
    position: int
    bytes: int
    device_count: int
    chains: dict[DeviceKey, _Chain] = field(default_factory=dict)
    is_changed: bool = False


class Writing:
    """The one connection that writes the relay's file. For one thread."""

    def __init__(self, path: str, *, birthday: bytes, space_bytes_max: int = SPACE_BYTES_MAX, vfs: str = "") -> None:
        self._path = path
        self._vfs = vfs
        self._birthday = birthday
        self._space_bytes_max = space_bytes_max
        self._connection = open_file(path, birthday, vfs=vfs)

    def close(self) -> None:
        """Let go of the file; SQLite moves the WAL into it."""
        self._connection.close()

    def reopen(self) -> None:
        """Begin anew after a failure: a connection whose sync failed cannot say what is on disk."""
        with relay_errors(self._path):
            # The old one stays open meanwhile, and with it SQLite's index of the WAL, which never had what failed.
            connection = open_file(self._path, self._birthday, vfs=self._vfs)
            try:
                # What the failed sync left in memory only would otherwise count as written for ever.
                empty_wal(connection)
            except BaseException:
                abandon(connection)
                raise
        abandon(self._connection)
        self._connection = connection

    def commit(self, jobs: Sequence[Job]) -> list[tuple[Outcome, ...]]:
        """Judge and store, in order, in one transaction. When this returns, what it accepts is durable.

        When it raises, nothing of all jobs is stored. Raises `DamagedSpace` if what is held of one space is at fault. Costs
        about 20 µs an envelope, and one sync.
        """
        spaces: dict[SpaceId, _Space] = {}
        outcomes = []
        at: SpaceId | None = None
        try:
            with relay_errors(self._path), write_transaction(self._connection):
                for job in jobs:
                    at = job.space
                    space = spaces.get(at)
                    if space is None:
                        space = spaces[at] = self._space(at)
                    outcomes.append(tuple(self._store(job, space, envelope) for envelope in job.envelopes))
                for at in spaces:
                    self._save(spaces[at])
                at = None
        except Corrupt as error:
            if at is None:
                raise
            raise DamagedSpace(str(error), at) from error
        return outcomes

    def _store(self, job: Job, space: _Space, envelope: Envelope) -> Outcome:
        chain = self._chain(space, envelope.header.device)
        standing = Standing(chain.head, space.device_count, space.bytes, self._space_bytes_max)
        outcome = judge(envelope, standing, lambda seq: self._held_at(chain, seq))
        if outcome is None:
            return self._insert(job, space, chain, envelope)
        is_fork = isinstance(outcome, Rejected) and outcome.code is Refusal.FORK
        if is_fork or isinstance(outcome, Accepted):
            self._look_at_held(chain, envelope)
        return self._refuse_fork(chain, envelope, outcome) if is_fork else outcome

    def _held_at(self, chain: _Chain, seq: BatchSeq) -> tuple[Position, EnvelopeHash]:
        row = self._connection.execute(_PLACE, (chain.device, seq)).get
        if row is None or not is_number(row[0]):
            raise damaged(self._path, f"envelope {seq} of a device is missing")
        return Position(row[0] & ((1 << POSITION_BITS) - 1)), EnvelopeHash(row[1])

    def _look_at_held(self, chain: _Chain, envelope: Envelope) -> None:
        """Raise `Corrupt` if the envelope for whose sake another is refused, or accepted again, is not what was stored.

        Else an honest device would be told that its key was used in two places, or that what has rotted is kept.
        """
        header = envelope.header
        seq = min(header.batch_seq, chain.head.batch_seq)
        hashed, raw = self._connection.execute(_HELD, (chain.device, seq)).get
        if not is_as_stored(raw, space=header.space, key=header.device, batch_seq=seq, hashed=hashed):
            raise damaged(self._path, f"envelope {seq} of a device is not the one that was stored")

    def _insert(self, job: Job, space: _Space, chain: _Chain, envelope: Envelope) -> Accepted:
        header = envelope.header
        if space.number is None:
            space.number = next(raw_rows(self._connection, _NEW_SPACE, (job.space, job.genesis)))[0]
            assert space.number is not None
        if chain.device is None:
            chain.device = self._connection.execute(_NEW_DEVICE, (space.number, header.device)).get
            space.device_count += 1
        space.position += 1
        space.bytes += len(envelope.raw)
        row = (
            (space.number << POSITION_BITS) + space.position,
            chain.device,
            header.batch_seq,
            envelope.hash,
            envelope.raw,
        )
        self._connection.execute(_INSERT, row)
        chain.head = Head(header.batch_seq, envelope.hash)
        chain.is_changed = space.is_changed = True
        return Accepted(Position(space.position), is_new=True)

    def _refuse_fork(self, chain: _Chain, envelope: Envelope, refusal: Outcome) -> Outcome:
        assert chain.device is not None, "what is forked is there"
        proof = (envelope.hash, chain.device, envelope.header.batch_seq, envelope.raw, FORKS_MAX, FORKS_PER_DEVICE_MAX)
        self._connection.execute(_KEEP_FORK, proof)
        return refusal

    def _space(self, space: SpaceId) -> _Space:
        row = self._connection.execute(_SPACE, (space,)).get
        if row is None:
            return _Space(None, 0, 0, 0)
        number, position, size = row
        base_of(self._connection, self._path, number, position)
        if not is_number(size, 0):
            raise damaged(self._path, "the bytes that a space holds are no number")
        return _Space(number, position, size, self._connection.execute(_DEVICE_COUNT, (number,)).get)

    def _chain(self, space: _Space, device: DeviceKey) -> _Chain:
        chain = space.chains.get(device)
        if chain is None:
            row = None if space.number is None else self._connection.execute(_DEVICE, (space.number, device)).get
            number, head = (None, NO_HEAD) if row is None else (row[0], Head(BatchSeq(row[1]), EnvelopeHash(row[2])))
            if row is not None and not is_head(device, head, row[3]):
                raise damaged(self._path, "the end of a device's chain is not where it was")
            chain = space.chains[device] = _Chain(number, head)
        return chain

    def _save(self, space: _Space) -> None:
        if not space.is_changed:
            return
        self._connection.execute(_SAVE_SPACE, (space.position, space.bytes, space.number))
        for chain in space.chains.values():
            if chain.is_changed:
                self._connection.execute(_SAVE_DEVICE, (*chain.head, chain.device))

"""What a relay keeps envelopes in, as a contract: `SqliteStore` keeps it, and whoever writes another store.

A `RelayStore` opens writers and readers. `driftlog.testing.conformance.check_store` checks a store against these rules, and
a failure names the rule:

1.  **Positions.** A space's envelopes are numbered from 1, without gaps, in the order of jobs and of the envelopes in them.
    A number that was given is never given to another envelope, whatever restarts in between. What is refused gets none.
2.  **One chain a device.** Each envelope is answered as `judge` answers it: what continues its device's chain is taken, what
    skips a number is a `GAP`, what differs from what is held, or names another predecessor, is a `FORK` and changes nothing.
3.  **Repeats.** An envelope that is held is accepted again at its position, with `is_new=False`, also when it comes twice in
    one commit; nothing is kept or counted twice. It is the same if its hash is: two signatures of one hash are one envelope.
4.  **Quotas.** A space holds at most the `space_bytes_max` of the writer in bytes of envelopes, and `HEADS_PER_FRAME_MAX`
    devices. Beyond it an envelope is refused with `QUOTA`; repeats are accepted all the same, and other spaces go on.
5.  **All or nothing.** When `commit` raises, nothing of any of its jobs is kept, and after `reopen` the store goes on as if
    it had not been called. Errors of the machine are `StorageError`s, `DiskFull` and `Corrupt` among them. After a
    `DamagedSpace`, which names the space that is to blame, it goes on without `reopen`: the relay refuses that space's jobs,
    and commits the others again.
6.  **Durable first.** When `commit` returns, what it accepted is on disk, synced, and every reader sees it. It stays
    although the writer is never closed: its process may have been killed.
7.  **Whole commits.** A reader sees all of a commit or nothing of it, in one call; what it sees only grows.
8.  **One life.** The birthday of the first writer is the store's for good; that of a later one is ignored. A store that has
    lost something it acknowledged must not keep its birthday.
9.  **Who may do what.** A writer and a reader are each used by one thread at a time, not always the one that opened them,
    and work beside each other. Any number of readers may be open, and two writers: a relay that is ending, and its
    successor. Each goes on from what the other has committed.
10. **Spaces are strangers.** Positions, chains, quotas and pages of one space know nothing of another, also where one device
    key writes in both. A space never heard of is empty, and asking for it leaves nothing behind.
11. **Bytes as received.** A page gives each envelope's `raw` as it came, for ever.
12. **Pages.** `page` gives what is held after a position, in the order of positions, without what `seq_by_device` says is
    held by the reader: envelopes up to `bytes_max` in all and one at least, `FRAME_ENVELOPES_MAX` at most. `until` says how
    far it has looked, left out ones included, and moves on unless there is nothing left; `is_end` says that there is nothing
    left.
13. **Proofs.** A head proves its device's chain up to its number if the envelope held there has its hash. `prove` gives
    for each device the highest number that is proved, and the position before the first envelope that is not.
14. **Counts.** `counts` counts what is held, exactly: spaces with an envelope in them, envelopes, and the bytes of them.

What the checks can not see, a store's own tests must: that a sync reaches the disk, and what a power cut leaves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from driftlog._core.envelope import Envelope
from driftlog._core.ids import Birthday, SpaceId
from driftlog._core.version_vector import VersionVector
from driftlog._protocol.relay_session import Admitted, Outcome, PageRead, Proved, ReadPage
from driftlog.errors import Corrupt


@dataclass(frozen=True, slots=True)
class Job:
    """One connection's upload, checked: its envelopes are the space's, and their devices signed them.

    `genesis` is what the space was founded with; keep it beside the space's id.
    """

    space: SpaceId
    genesis: bytes
    envelopes: tuple[Envelope, ...]

    @property
    def size(self) -> int:
        """The bytes it holds in memory."""
        return sum(len(envelope.raw) for envelope in self.envelopes)


@dataclass(frozen=True, slots=True)
class Counts:
    """How much a relay holds: spaces with an envelope in them, envelopes, and their bytes."""

    spaces: int
    envelopes: int
    bytes: int


class DamagedSpace(Corrupt):
    """What is held of one space contradicts itself; jobs of other spaces may be committed."""

    def __init__(self, message: str, space: SpaceId) -> None:
        super().__init__(message)
        self.space = space


class StoreWriter(Protocol):
    """What is written to, by one thread at a time."""

    def commit(self, jobs: Sequence[Job]) -> list[tuple[Outcome, ...]]:
        """Judge and store, in order; answer for each job with an outcome for each of its envelopes (rules 1 to 6)."""
        ...

    def reopen(self) -> None:
        """Begin anew after a commit that raised: what it had written must not count (rule 5)."""
        ...

    def close(self) -> None:
        """Let go of what is open. Nothing that was accepted may depend on it (rule 6)."""
        ...


class StoreReader(Protocol):
    """What is read from, by one thread at a time. Everything may raise `StorageError`."""

    @property
    def birthday(self) -> Birthday:
        """The store's birthday (rule 8)."""
        ...

    def admit(self, space: SpaceId) -> Admitted:
        """Give a space's highest position and its devices' heads, 0 and none for one never heard of (rule 10)."""
        ...

    def prove(self, space: SpaceId, heads: VersionVector) -> Proved:
        """Find how far heads prove each chain to be held (rule 13)."""
        ...

    def page(self, space: SpaceId, page: ReadPage) -> PageRead:
        """Read on after a position; the answer repeats the question's `walk` (rule 12)."""
        ...

    def counts(self) -> Counts:
        """Count what is there."""
        ...

    def close(self) -> None:
        """Let go of what is open."""
        ...


class RelayStore(Protocol):
    """A place for a relay's envelopes. Opening creates it where there is nothing yet; raises `StorageError`."""

    def open_writer(self, birthday: Birthday, *, space_bytes_max: int) -> StoreWriter:
        """Open to write. `birthday` is the store's if it has none yet (rule 8); the quota is this writer's (rule 4)."""
        ...

    def open_reader(self) -> StoreReader:
        """Open to read. A writer was opened before, and may be closed by now."""
        ...

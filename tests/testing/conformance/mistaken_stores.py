"""Stores in memory with one mistake each, of writers and of readers."""

import threading
from collections.abc import Sequence
from dataclasses import replace

from driftlog.errors import StorageError
from driftlog.relay import (
    Accepted,
    Birthday,
    Counts,
    DeviceKey,
    Envelope,
    Head,
    Job,
    Outcome,
    PageRead,
    Position,
    Proved,
    ReadPage,
    Refusal,
    Rejected,
    SpaceId,
    Standing,
    VersionVector,
)
from driftlog.testing.conformance import store_reading as reading
from tests.testing.conformance.memory_store import Disk, Held, MemoryReader, MemoryWriter, Spaces

# --- writers with one mistake each -------------------------------------------------------------------------------------


class WritesLater(MemoryWriter):
    """Acknowledges before it is durable."""

    later: Spaces | None = None

    def end(self, spaces: Spaces) -> None:
        if self.later is not None:
            self.disk.spaces = self.later
        self.later = spaces

    def close(self) -> None:
        if self.later is not None:
            self.disk.spaces = self.later


class BeginsEmpty(MemoryWriter):
    """Lost on reopen."""

    def __init__(self, disk: Disk, birthday: Birthday, space_bytes_max: int) -> None:
        super().__init__(disk, birthday, space_bytes_max)
        disk.spaces = {}


class CountsFromItsStart(MemoryWriter):
    """A number given twice after a restart."""

    def __init__(self, disk: Disk, birthday: Birthday, space_bytes_max: int) -> None:
        super().__init__(disk, birthday, space_bytes_max)
        self.given = 0

    def keep(self, held: Held, envelope: Envelope) -> Outcome:
        super().keep(held, envelope)
        self.given += 1
        return Accepted(Position(self.given))


class TidiesUpAtClose(MemoryWriter):
    def close(self) -> None:
        self.disk.spaces = {}


class IsBornAgain(MemoryWriter):
    def __init__(self, disk: Disk, birthday: Birthday, space_bytes_max: int) -> None:
        disk.birthday = birthday
        super().__init__(disk, birthday, space_bytes_max)


class StaysOnItsThread(MemoryWriter):
    def __init__(self, disk: Disk, birthday: Birthday, space_bytes_max: int) -> None:
        super().__init__(disk, birthday, space_bytes_max)
        self.thread = threading.current_thread()

    def commit(self, jobs: Sequence[Job]) -> list[tuple[Outcome, ...]]:
        if threading.current_thread() is not self.thread:
            raise RuntimeError("it was made in another thread")
        return super().commit(jobs)


class CutsLongOnes(MemoryWriter):
    def keep(self, held: Held, envelope: Envelope) -> Outcome:
        return super().keep(held, replace(envelope, raw=envelope.raw[:65_536]))


class SortsByHash(MemoryWriter):
    def commit(self, jobs: Sequence[Job]) -> list[tuple[Outcome, ...]]:
        flat = sorted(((job, each) for job in jobs for each in job.envelopes), key=lambda one: one[1].header.device)
        with self.disk.lock:
            spaces = self.begin()
            outcomes = {id(each): self.store(spaces, job.space, each) for job, each in flat}
            self.end(spaces)
        return [tuple(outcomes[id(each)] for each in job.envelopes) for job in jobs]


class TakesGaps(MemoryWriter):
    def store(self, spaces: Spaces, space: SpaceId, envelope: Envelope) -> Outcome:
        outcome = super().store(spaces, space, envelope)
        if isinstance(outcome, Rejected) and outcome.code is Refusal.GAP:
            return self.keep(spaces.setdefault(space, Held()), envelope)
        return outcome


class PutsTheSecondInPlaceOfTheFirst(MemoryWriter):
    def store(self, spaces: Spaces, space: SpaceId, envelope: Envelope) -> Outcome:
        outcome = super().store(spaces, space, envelope)
        if isinstance(outcome, Rejected) and outcome.code is Refusal.FORK:
            held = spaces[space]
            at = held.places[envelope.header.device][envelope.header.batch_seq - 1 :]
            if at:
                held.envelopes[at[0] - 1] = envelope
        return outcome


class KeepsRepeats(MemoryWriter):
    """A duplicate is accepted twice."""

    def store(self, spaces: Spaces, space: SpaceId, envelope: Envelope) -> Outcome:
        outcome = super().store(spaces, space, envelope)
        if isinstance(outcome, Accepted) and not outcome.is_new:
            spaces[space].envelopes.append(envelope)
        return outcome


class GivesRepeatsTheLastPosition(MemoryWriter):
    def store(self, spaces: Spaces, space: SpaceId, envelope: Envelope) -> Outcome:
        outcome = super().store(spaces, space, envelope)
        if isinstance(outcome, Accepted) and not outcome.is_new:
            return replace(outcome, position=Position(len(spaces[space].envelopes)))
        return outcome


class TakesAnotherSignatureForAnotherEnvelope(MemoryWriter):
    def store(self, spaces: Spaces, space: SpaceId, envelope: Envelope) -> Outcome:
        outcome = super().store(spaces, space, envelope)
        if isinstance(outcome, Accepted) and spaces[space].at(outcome.position).raw != envelope.raw:
            return Rejected(Refusal.FORK, "the bytes are not the same")
        return outcome


class KnowsNoSpaces(MemoryWriter):
    """A leak across spaces: a device's chain is looked up by its key alone."""

    def store(self, spaces: Spaces, space: SpaceId, envelope: Envelope) -> Outcome:
        device = envelope.header.device
        for other, held in spaces.items():
            if device in held.places:
                return super().store(spaces, other, envelope)
        return super().store(spaces, space, envelope)


class MakesASpaceForARefusal(MemoryWriter):
    def store(self, spaces: Spaces, space: SpaceId, envelope: Envelope) -> Outcome:
        spaces.setdefault(space, Held())
        return super().store(spaces, space, envelope)


class KnowsNoQuota(MemoryWriter):
    def begin(self) -> Spaces:
        self.space_bytes_max = 1 << 50
        return super().begin()


class HasOneQuotaForAll(MemoryWriter):
    def store(self, spaces: Spaces, space: SpaceId, envelope: Envelope) -> Outcome:
        if sum(held.size for held in spaces.values()) + len(envelope.raw) > self.space_bytes_max:
            return Rejected(Refusal.QUOTA, "full")
        return super().store(spaces, space, envelope)


class WritesInPlace(MemoryWriter):
    """Half a batch is kept when the rest fails."""

    def begin(self) -> Spaces:
        return self.disk.spaces


class RemembersWhatItRolledBack(MemoryWriter):
    remembered: Spaces | None = None

    def begin(self) -> Spaces:
        if self.remembered is None or len(self.disk.spaces) > len(self.remembered):
            self.remembered = super().begin()
        return self.remembered

    def end(self, spaces: Spaces) -> None:
        self.disk.spaces = {space: self.copy(held) for space, held in spaces.items()}


class SwallowsErrors(MemoryWriter):
    def commit(self, jobs: Sequence[Job]) -> list[tuple[Outcome, ...]]:
        try:
            return super().commit(jobs)
        except StorageError:
            return [() for _ in jobs]


class LooksOnlyOnce(MemoryWriter):
    """The second writer's numbers are the first one's."""

    known: Spaces | None = None

    def begin(self) -> Spaces:
        return super().begin() if self.known is None else {key: self.copy(held) for key, held in self.known.items()}

    def end(self, spaces: Spaces) -> None:
        self.disk.spaces = self.known = spaces


class CommitsInTwoSteps(MemoryWriter):
    """Beside a reader, that looks in between."""

    def end(self, spaces: Spaces) -> None:
        if threading.current_thread().name == reading.WRITER and not IS_HALF.is_set():
            super().end({space: self.without_the_last(held) for space, held in spaces.items()})
            IS_HALF.set()
            LOOKED.wait(PATIENCE_SECONDS)
        super().end(spaces)

    def without_the_last(self, held: Held) -> Held:
        half = Held()
        for envelope in held.envelopes[:-1]:
            super().keep(half, envelope)
        return half


IS_HALF, LOOKED = threading.Event(), threading.Event()
PATIENCE_SECONDS = 5


class TakesAnyNumberOfDevices(MemoryWriter):
    def standing(self, held: Held, device: DeviceKey) -> Standing:
        return replace(super().standing(held, device), device_count=0)


# --- readers with one mistake each -------------------------------------------------------------------------------------


class SeesTheMomentItWasOpened(MemoryReader):
    def __init__(self, disk: Disk) -> None:
        super().__init__(Disk(disk.birthday, disk.spaces))


class LosesZeros(MemoryReader):
    def page(self, space: SpaceId, page: ReadPage) -> PageRead:
        read = super().page(space, page)
        return replace(read, entries=tuple((position, raw.rstrip(b"\0")) for position, raw in read.entries))


class ReadsAllSpaces(MemoryReader):
    def held(self, space: SpaceId) -> Held:  # noqa: ARG002 - the mistake
        held = Held()
        for each in self.disk.spaces.values():
            held.envelopes += each.envelopes
            held.places |= each.places
        return held


class MakesASpaceByAsking(MemoryReader):
    def held(self, space: SpaceId) -> Held:
        return self.disk.spaces.setdefault(space, Held())


class KnowsNoStrangers(MemoryReader):
    def held(self, space: SpaceId) -> Held:
        return self.disk.spaces[space]


class CountsByTheSlowWay(MemoryReader):
    """An estimate."""

    def counts(self) -> Counts:
        counts = super().counts()
        return replace(counts, bytes=counts.envelopes * 300)


class GivesAllAtOnce(MemoryReader):
    def page(self, space: SpaceId, page: ReadPage) -> PageRead:
        return super().page(space, replace(page, bytes_max=1 << 40))


class GivesNothingThatIsTooLarge(MemoryReader):
    def page(self, space: SpaceId, page: ReadPage) -> PageRead:
        read = super().page(space, page)
        return read if sum(len(raw) for _, raw in read.entries) <= page.bytes_max else replace(read, entries=())


class SaysThatThereIsMore(MemoryReader):
    def page(self, space: SpaceId, page: ReadPage) -> PageRead:
        read = super().page(space, page)
        return replace(read, is_end=not read.entries)


class BeginsAgainAfterTheEnd(MemoryReader):
    def page(self, space: SpaceId, page: ReadPage) -> PageRead:
        is_past = page.after > len(self.held(space).envelopes)
        return super().page(space, replace(page, after=Position(0) if is_past else page.after))


class ForgetsTheWalk(MemoryReader):
    def page(self, space: SpaceId, page: ReadPage) -> PageRead:
        return replace(super().page(space, page), walk=0)


class GivesMoreThanAFrame(MemoryReader):
    def page(self, space: SpaceId, page: ReadPage) -> PageRead:
        read = super().page(space, page)
        if page.bytes_max < 1 << 30 or read.is_end:
            return read
        rest = super().page(space, replace(page, after=read.until))
        return replace(rest, entries=read.entries + rest.entries)


class LeavesNothingOut(MemoryReader):
    def page(self, space: SpaceId, page: ReadPage) -> PageRead:
        return super().page(space, replace(page, seq_by_device={}))


class LeavesOutOneMore(MemoryReader):
    def page(self, space: SpaceId, page: ReadPage) -> PageRead:
        return super().page(space, replace(page, seq_by_device={key: n + 1 for key, n in page.seq_by_device.items()}))


class StopsBeforeWhatIsLeftOut(MemoryReader):
    def page(self, space: SpaceId, page: ReadPage) -> PageRead:
        read = super().page(space, page)
        until = read.entries[-1][0] if read.entries else page.after
        return replace(read, until=until, is_end=until >= len(self.held(space).envelopes))


class ProvesByNumber(MemoryReader):
    def is_proof(self, envelope: Envelope, head: Head) -> bool:
        return envelope.header.batch_seq == head.batch_seq


class LooksAtTheLastHeadOnly(MemoryReader):
    def prove(self, space: SpaceId, heads: VersionVector) -> Proved:
        return super().prove(space, VersionVector({key: held[-1:] for key, held in heads.items()}))


class BeginsAfterTheLastProved(MemoryReader):
    """The sum of what is proved, as if nothing else lay between."""

    def prove(self, space: SpaceId, heads: VersionVector) -> Proved:
        proved = super().prove(space, heads)
        return replace(proved, start=Position(sum(proved.seq_by_device.values())))


class LooksWhenItIsAsked(MemoryReader):
    """No mistake: the right reader, that lets a writer go on when it has seen something."""

    def page(self, space: SpaceId, page: ReadPage) -> PageRead:
        read = super().page(space, page)
        if read.entries and IS_HALF.is_set():
            LOOKED.set()
        return read

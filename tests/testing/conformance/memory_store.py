"""A store in memory, right, and made so that a mistake is one method. Its `disk` outlives writers, as a file would."""

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from driftlog.relay import (
    FRAME_ENVELOPES_MAX,
    NO_HEAD,
    Accepted,
    Admitted,
    BatchSeq,
    Birthday,
    Counts,
    DeviceKey,
    Envelope,
    EnvelopeHash,
    Head,
    Job,
    Outcome,
    PageRead,
    Position,
    Proved,
    ReadPage,
    SpaceId,
    Standing,
    VersionVector,
    judge,
)


@dataclass
class Held:
    """What is held of a space: envelopes in the order of positions, and the positions of each device's."""

    envelopes: list[Envelope] = field(default_factory=list)
    places: dict[DeviceKey, list[int]] = field(default_factory=dict)
    size: int = 0

    def head(self, device: DeviceKey) -> Head:
        places = self.places.get(device)
        return Head(BatchSeq(len(places)), self.at(places[-1]).hash) if places else NO_HEAD

    def at(self, position: int) -> Envelope:
        return self.envelopes[position - 1]

    def heads(self) -> VersionVector:
        return VersionVector({device: (self.head(device),) for device in self.places})


Spaces = dict[SpaceId, Held]


@dataclass
class Disk:
    """What is durable; a commit puts another value in place of `spaces`, at once."""

    birthday: Birthday | None = None
    spaces: Spaces = field(default_factory=dict)
    lock: AbstractContextManager[object] = field(default_factory=threading.Lock)


class MemoryWriter:
    def __init__(self, disk: Disk, birthday: Birthday, space_bytes_max: int) -> None:
        self.disk = disk
        self.space_bytes_max = space_bytes_max
        if disk.birthday is None:
            disk.birthday = birthday

    def commit(self, jobs: Sequence[Job]) -> list[tuple[Outcome, ...]]:
        with self.disk.lock:
            spaces = self.begin()
            outcomes = [tuple(self.store(spaces, job.space, envelope) for envelope in job.envelopes) for job in jobs]
            self.end(spaces)
        return outcomes

    def begin(self) -> Spaces:
        return {space: self.copy(held) for space, held in self.disk.spaces.items()}

    def copy(self, held: Held) -> Held:
        return Held(list(held.envelopes), {device: list(places) for device, places in held.places.items()}, held.size)

    def end(self, spaces: Spaces) -> None:
        self.disk.spaces = spaces

    def store(self, spaces: Spaces, space: SpaceId, envelope: Envelope) -> Outcome:
        held = spaces.get(space, Held())
        device = envelope.header.device

        def held_at(seq: BatchSeq) -> tuple[Position, EnvelopeHash]:
            position = held.places[device][seq - 1]
            return Position(position), held.at(position).hash

        outcome = judge(envelope, self.standing(held, device), held_at)
        return self.keep(spaces.setdefault(space, held), envelope) if outcome is None else outcome

    def standing(self, held: Held, device: DeviceKey) -> Standing:
        return Standing(held.head(device), len(held.places), held.size, self.space_bytes_max)

    def keep(self, held: Held, envelope: Envelope) -> Outcome:
        held.size += len(envelope.raw)
        held.envelopes.append(envelope)
        held.places.setdefault(envelope.header.device, []).append(len(held.envelopes))
        return Accepted(Position(len(held.envelopes)))

    def reopen(self) -> None:
        pass

    def close(self) -> None:
        pass


class MemoryReader:
    def __init__(self, disk: Disk) -> None:
        assert disk.birthday is not None, "a writer was opened before"
        self.disk = disk
        self.birthday = disk.birthday

    def held(self, space: SpaceId) -> Held:
        return self.disk.spaces.get(space, Held())

    def admit(self, space: SpaceId) -> Admitted:
        held = self.held(space)
        return Admitted(Position(len(held.envelopes)), held.heads())

    def prove(self, space: SpaceId, heads: VersionVector) -> Proved:
        held = self.held(space)
        seq_by_device: dict[DeviceKey, int] = {}
        for device, places in held.places.items():
            for head in heads.get(device, ()):
                if head.batch_seq <= len(places) and self.is_proof(held.at(places[head.batch_seq - 1]), head):
                    seq_by_device[device] = head.batch_seq
        lacking = [
            places[seq_by_device.get(device, 0)]
            for device, places in held.places.items()
            if seq_by_device.get(device, 0) < len(places)
        ]
        return Proved(Position(min(lacking, default=len(held.envelopes) + 1) - 1), seq_by_device)

    def is_proof(self, envelope: Envelope, head: Head) -> bool:
        return envelope.hash == head.hash

    def page(self, space: SpaceId, page: ReadPage) -> PageRead:
        held = self.held(space).envelopes
        entries: list[tuple[Position, bytes]] = []
        until, size = int(page.after), 0
        for position, envelope in enumerate(held[page.after :], page.after + 1):
            if envelope.header.batch_seq > page.seq_by_device.get(envelope.header.device, 0):
                size += len(envelope.raw)
                if entries and (size > page.bytes_max or len(entries) == FRAME_ENVELOPES_MAX):
                    break
                entries.append((Position(position), envelope.raw))
            until = position
        return PageRead(page.walk, tuple(entries), Position(until), until >= len(held))

    def counts(self) -> Counts:
        spaces = list(self.disk.spaces.values())
        return Counts(len(spaces), sum(len(held.envelopes) for held in spaces), sum(held.size for held in spaces))

    def close(self) -> None:
        pass


class MemoryStore:
    def __init__(self, writer: type[MemoryWriter] = MemoryWriter, reader: type[MemoryReader] = MemoryReader) -> None:
        self.disk = Disk()
        self.writer = writer
        self.reader = reader

    def open_writer(self, birthday: Birthday, *, space_bytes_max: int) -> MemoryWriter:
        return self.writer(self.disk, birthday, space_bytes_max)

    def open_reader(self) -> MemoryReader:
        return self.reader(self.disk)

"""A replica and a relay's store in memory: what the tests of protocol, driver and relay stand on."""

import hashlib
import threading
from collections.abc import Callable, Sequence

from driftlog._core.batch import Batch
from driftlog._core.clock import Hlc
from driftlog._core.envelope import Envelope, parse_envelope
from driftlog._core.event import Record
from driftlog._core.genesis import Genesis
from driftlog._core.ids import NO_ENVELOPE, BatchSeq, Birthday, DeviceKey, EnvelopeHash, Position, SpaceId
from driftlog._core.version_vector import Head, VersionVector
from driftlog._core.wire import Malformed
from driftlog._crypto.keys import SpaceKeys, found_space
from driftlog._crypto.seal import seal
from driftlog._protocol import relay_session as rs
from driftlog._protocol.device_values import Greeting, Outbound, SyncState
from driftlog._protocol.messages import Refusal


def entropy(count: int) -> bytes:
    """Give the same bytes always: the fakes need no secrets."""
    return hashlib.shake_128(b"entropy").digest(count)


GENESIS, EPOCH_KEY = found_space(bytes(32), entropy)
EMPTY_PAYLOAD = b"\x80"


def keys_of(number: int) -> SpaceKeys:
    """Give device `number`'s keys for the one space of these tests."""
    return SpaceKeys.of(number.to_bytes(32, "big"), GENESIS, EPOCH_KEY)


def envelope(keys: SpaceKeys, seq: int, previous: bytes, *, size: int = 0, salt: int = 0) -> Envelope:
    """Seal one event as envelope `seq`; another salt gives another envelope for the same place."""
    payload = EMPTY_PAYLOAD if not size else b"\x81\xa1x\xc6" + size.to_bytes(4, "big") + bytes(size)
    record = Record(Hlc((seq << 16) + salt + 1), 0, "thing.happened", 1, payload)
    return seal(Batch((record,)), keys, BatchSeq(seq), EnvelopeHash(previous), entropy)


def chain(keys: SpaceKeys, count: int, *, size: int = 0) -> list[Envelope]:
    """Seal a chain of `count` envelopes."""
    out: list[Envelope] = []
    for seq in range(1, count + 1):
        out.append(envelope(keys, seq, out[-1].hash if out else NO_ENVELOPE, size=size))
    return out


def head_of(sealed: Envelope) -> Head:
    return Head(sealed.header.batch_seq, sealed.hash)


class FakeReplica:
    """A `Replica` that holds chains in memory. Raises what `fail_with` holds, once."""

    def __init__(self, number: int, genesis: Genesis = GENESIS) -> None:
        self.keys = keys_of(number)
        self.genesis = genesis
        self.chains: dict[DeviceKey, list[Envelope]] = {}
        self.waiting: dict[EnvelopeHash, Envelope] = {}
        self.cursors: dict[str, tuple[Birthday, Position]] = {}
        self.confirmed = 0
        self.states: list[SyncState] = []
        self.failures: list[Exception] = []
        self.applied_count = 0
        self.change_counter = 0
        self.looks = 0
        self.own_when_asked: list[int] = []
        """How many envelopes of its own it had each time that it was asked for what the relay lacks."""
        self._callbacks: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    def append(self, *, size: int = 0) -> Envelope:
        with self._lock:
            own = self.chains.setdefault(self.keys.device_key, [])
            sealed = envelope(self.keys, len(own) + 1, own[-1].hash if own else NO_ENVELOPE, size=size)
            own.append(sealed)
            self.change_counter += 1
        for callback in self._callbacks:
            callback()
        return sealed

    def hashes(self) -> set[EnvelopeHash]:
        with self._lock:
            return {sealed.hash for held in self.chains.values() for sealed in held}

    def _vector(self) -> VersionVector:
        return VersionVector({device: (head_of(held[-1]),) for device, held in self.chains.items() if held})

    def greeting(self, url: str) -> Greeting:
        self._fail()
        birthday, cursor = self.cursors.get(url, (None, Position(0)))
        with self._lock:
            return Greeting(self.genesis, self.keys.device_key, birthday, cursor, self._vector())

    def sign_hello(self, message: bytes) -> bytes:
        return self.keys.access.sign(message)

    def apply(self, url: str, birthday: Birthday, envelopes: Sequence[bytes], cursor: Position) -> int:
        self._fail()
        before = len(self.hashes())
        with self._lock:
            self.applied_count += len(envelopes)
            for raw in envelopes:
                try:
                    sealed = parse_envelope(raw)
                except Malformed:
                    continue
                self.waiting[sealed.hash] = sealed
            while fits := [s for s in self.waiting.values() if self._take(s)]:
                for sealed in fits:
                    del self.waiting[sealed.hash]
            self.cursors[url] = (birthday, cursor)
        return len(self.hashes()) - before

    def _take(self, sealed: Envelope) -> bool:
        held = self.chains.setdefault(sealed.header.device, [])
        if sealed.header.batch_seq <= len(held):
            return True
        if (held[-1].hash if held else NO_ENVELOPE) != sealed.header.previous:
            return False
        held.append(sealed)
        return True

    def known_heads(self, relay: VersionVector) -> VersionVector:
        with self._lock:
            known = dict(self._vector())
            for device, head in relay.flat():
                held = self.chains.get(device, [])
                if head.batch_seq <= len(held) and held[head.batch_seq - 1].hash == head.hash:
                    known[device] = (head,)
            return VersionVector(known)

    def outgoing(self, relay_has: VersionVector, skipped: frozenset[DeviceKey], bytes_max: int) -> Sequence[Outbound]:
        self._fail()
        self.own_when_asked.append(len(self.chains.get(self.keys.device_key, ())))
        out: list[Outbound] = []
        size = 0
        with self._lock:
            for device, held in self.chains.items():
                for sealed in held[relay_has.seq(device) :] if device not in skipped else ():
                    if out and size + len(sealed.raw) > bytes_max:
                        return out
                    out.append(Outbound(device, head_of(sealed), sealed.raw))
                    size += len(sealed.raw)
        return out

    def confirm(
        self,
        url: str,  # noqa: ARG002 - there is one relay
        birthday: Birthday,  # noqa: ARG002 - WELCOME says what is held in this life
        head: Head | None,
        *,
        is_all: bool,
    ) -> None:
        with self._lock:
            own = self.chains.get(self.keys.device_key, [])
        if head is None or (head.batch_seq <= len(own) and head_of(own[head.batch_seq - 1]) == head):
            seq = head.batch_seq if head is not None else 0
            self.confirmed = seq if is_all else max(self.confirmed, seq)

    def report(self, url: str, state: SyncState) -> None:  # noqa: ARG002 - there is one relay
        self.states.append(state)

    def on_change(self, callback: Callable[[], None]) -> Callable[[], None]:
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    def change_count(self) -> int:
        return self.change_counter

    def look_around(self) -> None:
        self.looks += 1

    def _fail(self) -> None:
        if self.failures:
            raise self.failures.pop(0)


class FakeRelayStore:
    """A relay's store of one space, in memory: a list of envelopes, which can be wiped and rolled back."""

    def __init__(self) -> None:
        self.born = 0
        self.entries: list[Envelope] = []
        self.bytes_max = 1 << 40
        self.full_code = Refusal.QUOTA
        self.is_failing = False
        self.wipe()

    def wipe(self) -> None:
        self.born += 1
        self.birthday = Birthday(self.born.to_bytes(16, "big"))
        self.entries = []

    def rollback(self, count: int) -> None:
        self.entries = self.entries[: max(0, len(self.entries) - count)]

    def hashes(self) -> set[EnvelopeHash]:
        return {sealed.hash for sealed in self.entries}

    def chain(self, device: DeviceKey) -> list[Envelope]:
        return [sealed for sealed in self.entries if sealed.header.device == device]

    def heads(self) -> VersionVector:
        return VersionVector({sealed.header.device: (head_of(sealed),) for sealed in self.entries})

    def admit(self, space: SpaceId) -> rs.Admitted:  # noqa: ARG002 - there is one space
        return rs.Admitted(Position(len(self.entries)), self.heads())

    def prove(self, heads: VersionVector) -> rs.Proved:
        proved: dict[DeviceKey, int] = {}
        for sealed in self.entries:
            if head_of(sealed) in heads.get(sealed.header.device, ()):
                proved[sealed.header.device] = sealed.header.batch_seq
        lacking = [i for i, s in enumerate(self.entries) if s.header.batch_seq > proved.get(s.header.device, 0)]
        return rs.Proved(Position(lacking[0] if lacking else len(self.entries)), proved)

    def page(self, ask: rs.ReadPage, count_max: int = 3) -> rs.PageRead:
        until = min(len(self.entries), ask.after + count_max)
        entries = tuple(
            (Position(i + 1), self.entries[i].raw)
            for i in range(ask.after, until)
            if self.entries[i].header.batch_seq > ask.seq_by_device.get(self.entries[i].header.device, 0)
        )
        return rs.PageRead(ask.walk, entries, Position(until), until == len(self.entries))

    def store(self, raw: bytes) -> rs.Outcome:
        sealed = parse_envelope(raw)
        held = self.chain(sealed.header.device)
        seq = sealed.header.batch_seq
        if seq > len(held) + 1:
            return rs.Rejected(Refusal.GAP, "gap")
        if seq <= len(held):
            return self._there(sealed)
        if (held[-1].hash if held else NO_ENVELOPE) != sealed.header.previous:
            return rs.Rejected(Refusal.FORK, "fork")
        if sum(len(s.raw) for s in self.entries) + len(raw) > self.bytes_max:
            return rs.Rejected(self.full_code, "no room")
        self.entries.append(sealed)
        return rs.Accepted(Position(len(self.entries)))

    def _there(self, sealed: Envelope) -> rs.Outcome:
        for position, held in enumerate(self.entries, 1):
            if held.hash == sealed.hash:
                return rs.Accepted(Position(position), is_new=False)
        return rs.Rejected(Refusal.FORK, "fork")

"""The intake: received envelopes take their places in their chains, and give the events that are due.

An envelope whose predecessor is missing waits in the file, and goes on when that arrives, with what waits for it in turn.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from driftlog._core.batch import Batch
from driftlog._core.clock import Timestamp, is_held
from driftlog._core.envelope import Envelope
from driftlog._core.event import Record, place
from driftlog._core.ids import NO_ENVELOPE, DeviceKey, SpaceId
from driftlog._core.limits import WAITING_BYTES_MAX
from driftlog._core.version_vector import Head
from driftlog._store.chain import Chains
from driftlog._store.log import Log, State
from driftlog._store.meta import Branch, Meta
from driftlog._store.sealing import OpenEnvelope


@dataclass(slots=True)
class Taken:
    """What a batch of envelopes came to, before any of its events is applied."""

    due: dict[Timestamp, Record] = field(default_factory=dict)
    """Events that are neither known, nor void, nor held."""
    new: int = 0
    held: int = 0
    void: int = 0
    waiting: int = 0
    dropped: int = 0
    own_hlc: int = 0
    """The last stamp of this very device among envelopes that were not made here."""


class Intake:
    """Reads and writes chains, and logs what is held, within the caller's transaction."""

    def __init__(
        self,
        log: Log,
        chains: Chains,
        meta: Meta,
        space: SpaceId,
        device: DeviceKey,
        clock: Callable[[], int],
        open_envelope: OpenEnvelope,
        seal_pending: Callable[[], object],
    ) -> None:
        self._log = log
        self._chains = chains
        self._meta = meta
        self._space = space
        self._device = device
        self._clock = clock
        self._open = open_envelope
        self._seal_pending = seal_pending

    def take(self, opened: Sequence[tuple[Envelope, Batch]]) -> Taken:
        """Take in envelopes that were verified and opened, and what waited for them."""
        taken = Taken()
        room = WAITING_BYTES_MAX - self._chains.waiting_bytes()
        queue = sorted(opened, key=lambda pair: pair[0].header.batch_seq, reverse=True)
        while queue:
            envelope, batch = queue.pop()
            header = envelope.header
            found = self._chains.find(header.device, header.batch_seq, envelope.hash)
            if found is not None and found.is_chained:
                continue
            last_hlc = self._chains.predecessor(envelope)
            if last_hlc is None:
                if found is None and len(envelope.raw) > room:
                    taken.dropped += 1
                elif found is None:
                    self._chains.wait(envelope)
                    room -= len(envelope.raw)
                    taken.new += 1
                    taken.waiting += 1
                continue
            valid = [record for record in batch.records if record.hlc > last_hlc]
            void = len(batch.records) - len(valid)
            end_hlc = max(last_hlc, batch.records[-1].hlc)
            self._chains.add(envelope, end_hlc, void)
            if header.device == self._device:
                self._follow_own(envelope, batch, end_hlc)
                taken.own_hlc = max(taken.own_hlc, batch.records[-1].hlc)
            taken.new += found is None
            taken.void += void
            self._sort_out(header.device, valid, taken)
            queue += map(self._open, self._chains.waiting_after(envelope))
        return taken

    def _sort_out(self, device: DeviceKey, records: list[Record], taken: Taken) -> None:
        """Tell apart events that are due and those that are held, which are logged; pass over known ones."""
        now_ms = self._clock()
        # Nearly always nothing of an envelope is known, and one look says so.
        may_be_known = bool(records) and self._log.holds_any(device, records[0].hlc, records[-1].hlc)
        for record in records:
            at = place(self._space, device, record)
            if may_be_known and self._log.holds(at):
                continue
            if device != self._device and is_held(record.hlc, now_ms):
                self._log.insert(at, record, State.HELD)
                taken.held += 1
            else:
                taken.due[at] = record

    def _follow_own(self, envelope: Envelope, batch: Batch, end_hlc: int) -> None:
        """Take note of an envelope of this device that was not made here: this file is an older copy, or has been copied.

        If it continues what was made here, and all its stamps lie before those of what is pending besides, this device goes
        on after it, and so will what is pending. Else two histories bear its key: it stays on its own, behind both in time,
        and the fork is shown.
        """
        head, own_last_hlc = self._meta.own_branch()
        if head is not None and not self._chains.holds(self._device, head):
            # Something of its own is still to come back, and what it has not sealed follows that.
            return
        if head is not None and head.hash == envelope.hash and self._chains.last_hlc(self._device) == end_hlc:
            # All of its own is back, and no other history is here.
            return
        new = Head(envelope.header.batch_seq, envelope.hash)
        if _continues(envelope, head) and not self._is_pending_besides(batch, own_last_hlc, end_hlc):
            self._meta.set_own_branch(Branch(new, max(own_last_hlc, end_hlc)))
            return
        # What is pending must be in an envelope before this one's events come in, which lie among it or on another branch:
        # later, nothing would tell them apart.
        self._seal_pending()
        head, own_last_hlc = self._meta.own_branch()
        # If all of it is in other envelopes by now, nothing was sealed, and this device goes on after this one.
        end = new if _continues(envelope, head) else head
        self._meta.set_own_branch(Branch(end, max(own_last_hlc, self._chains.last_hlc(self._device))))

    def _is_pending_besides(self, batch: Batch, after: int, until: int) -> bool:
        """Tell whether this device has events between two stamps, in no envelope, that are not in this one either."""
        there = self._log.own_after(self._device, after, len(batch.records) + 1)
        return any(record.hlc <= until and record not in batch.records for record in there)


def _continues(envelope: Envelope, head: Head | None) -> bool:
    return envelope.header.previous == (head.hash if head is not None else NO_ENVELOPE)

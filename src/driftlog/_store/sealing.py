"""How a device's pending events come into envelopes: in order, as the next links of its own chain."""

from collections.abc import Callable

from driftlog._core.batch import Batch, split_records
from driftlog._core.envelope import Envelope
from driftlog._core.event import Record
from driftlog._core.ids import NO_ENVELOPE, BatchSeq, DeviceKey, EnvelopeHash
from driftlog._core.limits import ENVELOPE_EVENTS_MAX, ENVELOPE_HEADS_MAX
from driftlog._core.version_vector import Head
from driftlog._store.chain import Chains
from driftlog._store.log import Log
from driftlog._store.meta import Branch, Meta

SealBatch = Callable[[Batch, BatchSeq, EnvelopeHash], Envelope]

OpenEnvelope = Callable[[bytes], tuple[Envelope, Batch]]
"""Reads, verifies and opens stored bytes; they were let in once, so it does not fail on them."""


def seal_pending(
    log: Log, chains: Chains, meta: Meta, device: DeviceKey, seal: SealBatch, open_envelope: OpenEnvelope
) -> int:
    """Seal all events of the device that are in no envelope yet, and give how many envelopes were made.

    None are while the own chain is not whole here, as after a repair: what was lost of it comes back from those who have it,
    and a next one sealed before that would look like a fork. What came in meanwhile of another history of the key is in
    envelopes already.
    """
    made = 0
    head, sealed_hlc = meta.own_branch()
    if head is not None and not chains.holds(device, head):
        return 0
    elsewhere: frozenset[Record] | None = None
    while records := log.own_after(device, sealed_hlc, ENVELOPE_EVENTS_MAX):
        if elsewhere is None:
            elsewhere = _sealed_elsewhere(chains, device, sealed_hlc, open_envelope)
        unsealed = _increasing([record for record in records if record not in elsewhere])
        if not unsealed:
            sealed_hlc = records[-1].hlc
            continue
        run = next(split_records(unsealed))
        heads = chains.untold(device, ENVELOPE_HEADS_MAX)
        batch_seq = BatchSeq(head.batch_seq + 1 if head else 1)
        envelope = seal(Batch(run, tuple(heads)), batch_seq, head.hash if head else NO_ENVELOPE)
        sealed_hlc = run[-1].hlc
        chains.add(envelope, sealed_hlc, 0, is_told=True)
        chains.tell(heads)
        head = Head(batch_seq, envelope.hash)
        meta.set_own_branch(Branch(head, sealed_hlc))
        made += 1
    if elsewhere:
        # What is left up to there is another history's.
        meta.set_own_branch(Branch(head, max(sealed_hlc, chains.last_hlc(device))))
    return made


def _sealed_elsewhere(
    chains: Chains, device: DeviceKey, sealed_hlc: int, open_envelope: OpenEnvelope
) -> frozenset[Record]:
    """Give the events past a stamp that envelopes of the same key hold: another history's, and nearly always none."""
    if chains.last_hlc(device) <= sealed_hlc:
        return frozenset()
    return frozenset(record for raw in chains.beyond(device, sealed_hlc) for record in open_envelope(raw)[1].records)


def _increasing(records: list[Record]) -> list[Record]:
    """Leave out all but the first of equal stamps: the others can only be what is left of another history of the key."""
    return [record for at, record in enumerate(records) if at == 0 or record.hlc > records[at - 1].hlc]

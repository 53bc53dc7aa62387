"""What becomes of an envelope, given what a store holds: taken, held already, or refused, with the words for it.

A function of its arguments, so that every store answers alike. What came here was judged by itself (`checking`).
"""

from collections.abc import Callable
from dataclasses import dataclass

from driftlog._core.envelope import Envelope
from driftlog._core.ids import NO_ENVELOPE, BatchSeq, EnvelopeHash, Position
from driftlog._core.version_vector import Head
from driftlog._protocol.limits import HEADS_PER_FRAME_MAX
from driftlog._protocol.messages import Refusal
from driftlog._protocol.relay_session import Accepted, Rejected

NO_HEAD = Head(BatchSeq(0), NO_ENVELOPE)
"""The head of a device of which nothing is held."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a store holds of an envelope's device, and of its space: its devices and their envelopes' bytes."""

    head: Head
    device_count: int
    space_bytes: int
    space_bytes_max: int


def judge(
    envelope: Envelope, standing: Standing, held_at: Callable[[BatchSeq], tuple[Position, EnvelopeHash]]
) -> Accepted | Rejected | None:
    """Answer for an envelope, or give None for one that is to be stored.

    `held_at` gives position and hash of the device's envelope of a number; it is asked for held ones only.
    """
    header, head = envelope.header, standing.head
    if header.batch_seq <= head.batch_seq:
        position, held = held_at(header.batch_seq)
        return Accepted(position, is_new=False) if held == envelope.hash else _fork(envelope)
    if header.batch_seq > head.batch_seq + 1:
        return Rejected(Refusal.GAP, f"{envelope}: the relay holds this device's up to {head.batch_seq}")
    if header.previous != head.hash:
        assert head != NO_HEAD, "a first envelope names no predecessor, and has none"
        return _fork(envelope)
    if head == NO_HEAD and standing.device_count >= HEADS_PER_FRAME_MAX:
        return Rejected(Refusal.QUOTA, f"the space has {standing.device_count} devices, as many as a relay takes")
    if standing.space_bytes + len(envelope.raw) > standing.space_bytes_max:
        text = f"the space holds {standing.space_bytes} of {standing.space_bytes_max} bytes at this relay"
        return Rejected(Refusal.QUOTA, text)
    return None


def _fork(envelope: Envelope) -> Rejected:
    text = f"{envelope} does not continue what the relay holds: this device's key was used in two places"
    return Rejected(Refusal.FORK, text)

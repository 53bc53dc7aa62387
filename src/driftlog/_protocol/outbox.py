"""The uploading half of a device's session: what the relay has, what is on its way there, and when to load more.

Small changes are gathered as Nagle gathers small segments (RFC 896): a page that was not full waits until what is on
its way has been acknowledged, full pages go on up to the window. So a device that appends one event at a time sends one
envelope for each round trip, not one for each event, and a device with much to send fills the line.
"""

from enum import Enum

import msgspec
from msgspec.structs import replace

from driftlog._core.envelope import parse_envelope
from driftlog._core.ids import DeviceKey
from driftlog._core.version_vector import Head, VersionVector
from driftlog._core.wire import Malformed
from driftlog._protocol.device_values import Outbound
from driftlog._protocol.limits import (
    LOAD_BYTES_GOAL,
    PROBE_BYTES,
    QUOTA_TICKS,
    UNANSWERED_TICKS_MAX,
    UPLOAD_WINDOW_BYTES,
)
from driftlog._protocol.messages import Refusal


class Loading(Enum):
    """What is known of envelopes that the relay lacks."""

    NOTHING = "the replica said that there is nothing more"
    UNCLEAR = "all it had more is at places where the relay holds something: asked again once that is here too"
    DUE = "there may be more"
    ASKED = "the replica was asked"
    ASKED_AND_CHANGED = "the replica was asked, and has changed since"


class Verdict(Enum):
    """What a refusal means for the conversation."""

    GO_ON = "go on with what else there is"
    RECONNECT = "the relay has lost what it had: hear its heads again"


class Outbox(msgspec.Struct, frozen=True):
    """What the relay has, and what is on its way there."""

    device: DeviceKey
    """Whose outbox it is: that its own chain is refused is its user's concern, another's fork is not."""
    relay_has: VersionVector
    in_flight: tuple[Outbound, ...] = ()
    """Sent and not yet answered, in order: the relay answers in the same order."""
    in_flight_bytes: int = 0
    unanswered_ticks: int = 0
    """How long the oldest of these waits, or it and those before it since the last answer."""
    loading: Loading = Loading.DUE
    is_page_full: bool = False
    """Whether the last page loaded was full, so that the next need not wait."""
    skipped: frozenset[DeviceKey] = frozenset()
    """Devices of whose chain the relay refused an envelope: what follows it cannot be stored either."""
    over_quota: frozenset[DeviceKey] = frozenset()
    """Devices of whose chain an envelope found no room; tried again after a while."""
    pause_ticks: int = 0
    is_probing: bool = False
    """Whether the relay is shown one envelope only, because it had no room or got nowhere the last time."""
    problem: str = ""

    @property
    def is_idle(self) -> bool:
        """Whether nothing is on its way and nothing more is known."""
        return self.loading is Loading.NOTHING and not self.in_flight

    @property
    def is_forgotten(self) -> bool:
        """Whether what is on its way will never be answered on this connection."""
        return self.unanswered_ticks >= UNANSWERED_TICKS_MAX

    def offered(self) -> VersionVector:
        """Give what the relay will have when it has stored what is on its way."""
        return advanced(self.relay_has, [(sent.device, sent.head) for sent in self.in_flight])


def advanced(vector: VersionVector, heads: list[tuple[DeviceKey, Head]]) -> VersionVector:
    """Move a relay's heads forward. A relay holds one envelope at each place, so a device has one head there."""
    moved: dict[DeviceKey, tuple[Head, ...]] = {}
    for device, head in heads:
        known = moved.get(device) or vector.get(device)
        if not known or head.batch_seq > known[-1].batch_seq:
            moved[device] = (head,)
    return VersionVector({**vector, **moved}) if moved else vector


def changed(outbox: Outbox) -> Outbox:
    """The replica may hold something new."""
    match outbox.loading:
        case Loading.NOTHING | Loading.UNCLEAR:
            return replace(outbox, loading=Loading.DUE)
        case Loading.ASKED:
            return replace(outbox, loading=Loading.ASKED_AND_CHANGED)
        case Loading.DUE | Loading.ASKED_AND_CHANGED:
            return outbox


def can_load(outbox: Outbox) -> bool:
    """Tell whether the replica should be asked now."""
    if outbox.loading is not Loading.DUE or outbox.pause_ticks:
        return False
    has_room = outbox.in_flight_bytes + LOAD_BYTES_GOAL <= UPLOAD_WINDOW_BYTES
    return not outbox.in_flight or (outbox.is_page_full and has_room and not outbox.is_probing)


def bytes_to_load(outbox: Outbox) -> int:
    """Give how much the replica should be asked for."""
    return PROBE_BYTES if outbox.is_probing else LOAD_BYTES_GOAL


def loaded(
    outbox: Outbox, envelopes: tuple[Outbound, ...], *, is_caught_up: bool
) -> tuple[Outbox, tuple[Outbound, ...]]:
    """Take the replica's answer; gives what to send.

    An envelope at or below what was offered is not sent: it would be acknowledged or refused, asked for again, and so on
    for ever. If the replica holds all that the relay holds (`is_caught_up`) and still says that the relay lacks it, the
    two are branches of a fork, and the relay keeps one of them. What lies behind such a page is then asked for.
    """
    if outbox.pause_ticks:
        # Asked for before the relay had no room.
        return replace(outbox, loading=Loading.DUE), ()
    offered = outbox.offered()
    fresh = tuple(e for e in envelopes if e.device not in outbox.skipped and e.head.batch_seq > offered.seq(e.device))
    if outbox.is_probing:
        fresh = fresh[:1]
    if is_caught_up and not fresh:
        for device in {e.device for e in envelopes}:
            outbox = _forked(outbox, device)
    if fresh or outbox.loading is Loading.ASKED_AND_CHANGED or (envelopes and is_caught_up):
        loading = Loading.DUE
    else:
        loading = Loading.UNCLEAR if envelopes else Loading.NOTHING
    size = sum(len(e.raw) for e in fresh)
    moved = replace(
        outbox,
        in_flight=outbox.in_flight + fresh,
        in_flight_bytes=outbox.in_flight_bytes + size,
        loading=loading,
        # Half: the replica stops before the envelope that would go over the page.
        is_page_full=size >= LOAD_BYTES_GOAL // 2,
    )
    return moved, fresh


def stored(outbox: Outbox, count: int) -> tuple[Outbox, tuple[Outbound, ...]]:
    """Take an acknowledgement, or raise `Malformed`; gives what it was for."""
    if count > len(outbox.in_flight):
        raise Malformed(f"{count} envelopes acknowledged, {len(outbox.in_flight)} on their way")
    done, left = outbox.in_flight[:count], outbox.in_flight[count:]
    moved = replace(
        outbox,
        relay_has=advanced(outbox.relay_has, [(sent.device, sent.head) for sent in done]),
        in_flight=left,
        in_flight_bytes=outbox.in_flight_bytes - sum(len(sent.raw) for sent in done),
        unanswered_ticks=0,
        is_probing=False,
    )
    return moved, done


def refused(outbox: Outbox, code: Refusal, text: str) -> tuple[Outbox, Verdict]:
    """Take the refusal of the oldest envelope on its way, or raise `Malformed`."""
    if not outbox.in_flight:
        raise Malformed("a refusal of nothing")
    sent, *left = outbox.in_flight
    moved = replace(
        outbox,
        in_flight=tuple(left),
        in_flight_bytes=outbox.in_flight_bytes - len(sent.raw),
        unanswered_ticks=0,
        problem=text or code.name,
    )
    match code:
        case Refusal.GAP if sent.device in outbox.skipped or sent.device in outbox.over_quota:
            # Its predecessor was refused a moment ago; this one was already on its way.
            return replace(moved, problem=outbox.problem), Verdict.GO_ON
        case Refusal.GAP:
            return moved, Verdict.RECONNECT
        case Refusal.QUOTA | Refusal.UNAVAILABLE:
            return replace(
                moved, over_quota=moved.over_quota | {sent.device}, pause_ticks=QUOTA_TICKS, loading=_again(moved)
            ), Verdict.GO_ON
        case Refusal.FORK:
            forked = _forked(replace(moved, problem=outbox.problem), sent.device)
            return replace(forked, loading=_again(moved)), Verdict.GO_ON
        case Refusal.MALFORMED | Refusal.BAD_SIGNATURE | Refusal.OTHER_SPACE | Refusal.TOO_LARGE:
            return replace(moved, skipped=moved.skipped | {sent.device}, loading=_again(moved)), Verdict.GO_ON


def _forked(outbox: Outbox, device: DeviceKey) -> Outbox:
    """Stop offering a device's chain on this connection: the relay keeps another branch of it."""
    problem = outbox.problem
    if device == outbox.device:
        problem = (
            "the relay keeps another history of this device, whose file was copied or restored from a backup, and cannot "
            "take what was made here"
        )
    return replace(outbox, skipped=outbox.skipped | {device}, problem=problem)


def received(outbox: Outbox, envelopes: tuple[bytes, ...]) -> Outbox:
    """What a relay sends, it has. Bytes that are no envelope are for the replica to judge."""
    heads = []
    for raw in envelopes:
        try:
            envelope = parse_envelope(raw)
        except Malformed:
            continue
        heads.append((envelope.header.device, Head(envelope.header.batch_seq, envelope.hash)))
    return replace(outbox, relay_has=advanced(outbox.relay_has, heads))


def ticked(outbox: Outbox) -> Outbox:
    """Count how long the relay has not answered, and count down the pause after a refusal for want of room.

    After the pause everything is offered again, one envelope first.
    """
    outbox = replace(outbox, unanswered_ticks=outbox.unanswered_ticks + 1 if outbox.in_flight else 0)
    if not outbox.pause_ticks:
        return outbox
    if outbox.pause_ticks > 1 or outbox.in_flight:
        return replace(outbox, pause_ticks=max(1, outbox.pause_ticks - 1))
    return replace(
        outbox,
        pause_ticks=0,
        is_probing=True,
        over_quota=frozenset(),
        problem="" if not outbox.skipped else outbox.problem,
    )


def _again(outbox: Outbox) -> Loading:
    """After a refusal, what was offered meanwhile was computed from an offer that did not come about."""
    return changed(outbox).loading

"""The relay's half of one connection: a state machine that performs nothing and queues nothing for a reader.

`step(session, input, verify)` gives the next session and the effects to perform, in order. `verify` is an argument
because the protocol holds no cryptography.

    state       what happens                     next
    ----------  -------------------------------  -------------------------------------------------------------------
    Greeting    HELLO that verifies              Admitting: the store is asked for the space's position and heads
    Admitting   Admitted                         Live, reading from the cursor; or Live, waiting for WANT
    Live        WANT                             Live: the store finds what it proves, then the walk begins
    Live        READ, UPLOAD, PING, more stored  Live
    any         breach, silence, shutdown        Gone, with GOODBYE

What a reader has not been sent is not in memory: the session knows how far it has read, and asks the store for the next
page when the reader has answered for enough of the last ones.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import groupby
from typing import assert_never

import msgspec
from msgspec.structs import replace

from driftlog._core.genesis import Genesis
from driftlog._core.ids import Birthday, DeviceKey, Position
from driftlog._core.version_vector import VersionVector
from driftlog._core.wire import Malformed
from driftlog._protocol.limits import OWN_RUNS_MAX, PAGE_BYTES_GOAL, WANTS_MAX, WINDOW_FRAMES
from driftlog._protocol.messages import (
    PROTOCOL_VERSION,
    Challenge,
    Envelopes,
    Farewell,
    FromDevice,
    Goodbye,
    Hello,
    Ping,
    Pong,
    Read,
    Refusal,
    Refused,
    Stored,
    Upload,
    Want,
    Welcome,
    decode_from_device,
    hello_message,
)
from driftlog._protocol.position_runs import NO_RUNS, Run, holds, joined, past

Verify = Callable[[bytes, bytes, bytes], bool]
"""Tells whether a message (first) bears a signature (second) by a key (third)."""

# --- inputs ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FrameReceived:
    """One binary message."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Admitted:
    """Answers `Admit`: the space's highest position and heads, or why there is no place for it."""

    position: Position
    heads: VersionVector


@dataclass(frozen=True, slots=True)
class Accepted:
    """An envelope is durable at this position. It may have been there before."""

    position: Position
    is_new: bool = True


@dataclass(frozen=True, slots=True)
class Rejected:
    """An envelope was not stored."""

    code: Refusal
    text: str


Outcome = Accepted | Rejected


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Answers `Store`, in order; or says with one `Rejected` alone why nothing of it was looked at any further."""

    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True, slots=True)
class Proved:
    """Answers `Prove`: how far the device holds each chain, and that it lacks nothing up to `start`."""

    start: Position
    seq_by_device: Mapping[DeviceKey, int]


@dataclass(frozen=True, slots=True)
class PageRead:
    """Answers `ReadPage`: what it holds up to `until`, and whether that is the end for now."""

    walk: int
    entries: tuple[tuple[Position, bytes], ...]
    until: Position
    is_end: bool


@dataclass(frozen=True, slots=True)
class Woken:
    """The space has grown."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The store failed; what was not answered is not stored."""

    text: str


@dataclass(frozen=True, slots=True)
class Silent:
    """The device has said nothing for `RELAY_SILENCE_MS_MAX`."""


@dataclass(frozen=True, slots=True)
class Shutdown:
    """The relay is ending."""


Input = FrameReceived | Admitted | Outcomes | Proved | PageRead | Woken | Failed | Silent | Shutdown

# --- effects ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Send:
    """Send one binary message."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Admit:
    """Make the space known if it is not, wake this session when it grows, and give its position and heads."""

    genesis: Genesis


@dataclass(frozen=True, slots=True)
class Store:
    """Check and store envelopes."""

    envelopes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Prove:
    """Find how much these heads prove."""

    heads: VersionVector


@dataclass(frozen=True, slots=True)
class ReadPage:
    """Read on after a position, leaving out each device's envelopes up to the given number."""

    walk: int
    after: Position
    bytes_max: int
    seq_by_device: Mapping[DeviceKey, int]


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection, after what was sent."""


Effect = Send | Admit | Store | Prove | ReadPage | Close

# --- states ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Greeting:
    """CHALLENGE is out."""

    nonce: bytes


@dataclass(frozen=True, slots=True)
class Admitting:
    """The device is a member; the store is asked."""

    hello: Hello


class Paging(Enum):
    """Where reading stands."""

    UNWANTED = "the cursor means nothing here, and WANT has not come or is being looked at"
    DUE = "there may be more to send"
    ASKED = "the store is asked"
    ASKED_AND_WOKEN = "the store is asked, and the space has grown since"
    AT_END = "everything there was is sent"


class Live(msgspec.Struct, frozen=True):
    """The device reads and writes."""

    paging: Paging
    read: Position
    """How far the store has been read for this device."""
    walk: int = 0
    """How often reading has begun anew: a page of an earlier walk is dropped."""
    seq_by_device: Mapping[DeviceKey, int] | None = None
    """What WANT proved; None once, or if, there was none."""
    unanswered: tuple[Position, ...] = ()
    """The ends of frames without READ, oldest first; at most `WINDOW_FRAMES`."""
    own: tuple[Run, ...] = NO_RUNS
    """Positions that came up on this connection, past `read`; at most `OWN_RUNS_MAX` runs."""


@dataclass(frozen=True, slots=True)
class Gone:
    """GOODBYE is out. No effect follows."""


class RelaySession(msgspec.Struct, frozen=True):
    """One connection, seen from the relay."""

    birthday: Birthday
    state: Greeting | Admitting | Live | Gone


Step = tuple[RelaySession, tuple[Effect, ...]]


_TURNS: Mapping[type[object], frozenset[int]] = {
    Greeting: frozenset({Hello.TYPE}),
    Admitting: frozenset({Ping.TYPE, Pong.TYPE}),
    Live: frozenset({Want.TYPE, Read.TYPE, Upload.TYPE, Ping.TYPE, Pong.TYPE}),
}
"""The frames that each state allows: looked at before a frame is decoded, which may cost 30 ms."""
_BREACHES = (Refusal.MALFORMED, Refusal.BAD_SIGNATURE, Refusal.OTHER_SPACE)
"""What no honest device uploads: it keeps no such envelope itself."""


def begin(birthday: Birthday, nonce: bytes) -> Step:
    """Give a new connection's session, and its challenge."""
    return RelaySession(birthday, Greeting(nonce)), (Send(Challenge(PROTOCOL_VERSION, nonce).encode()),)


def step(session: RelaySession, event: Input, verify: Verify) -> Step:
    """Give the next session, and the effects to perform in order."""
    if isinstance(session.state, Gone):
        return session, ()
    match event:
        case FrameReceived(data):
            try:
                _refuse_out_of_turn(session.state, data[:1])
                return _heard(session, decode_from_device(data), verify)
            except Malformed as error:
                return _leave(session, Farewell.MALFORMED, str(error))
        case Admitted():
            return _admitted(session, event)
        case Shutdown():
            return _leave(session, Farewell.SHUTTING_DOWN, "the relay is shutting down")
        case Silent():
            return _leave(session, Farewell.SILENT, "nothing was heard from the device")
        case Failed(text):
            return _leave(session, Farewell.UNAVAILABLE, text)
        case Outcomes() | Proved() | PageRead() | Woken():
            if not isinstance(session.state, Live):
                assert isinstance(event, Woken), "an answer that was not asked for"
                return session, ()
            return _live(session, session.state, event)
        case _:
            assert_never(event)


def _refuse_out_of_turn(state: Greeting | Admitting | Live | Gone, kind: bytes) -> None:
    if not kind or kind[0] not in _TURNS[type(state)]:
        raise Malformed(f"a frame of type {kind.hex() or 'none'} out of turn")
    if kind[0] == Want.TYPE and isinstance(state, Live) and state.walk >= WANTS_MAX:
        raise Malformed(f"more than {WANTS_MAX} WANTs on one connection")


def _heard(session: RelaySession, message: FromDevice, verify: Verify) -> Step:
    match session.state, message:
        case Greeting(nonce), Hello(protocol, genesis, signature):
            if protocol != PROTOCOL_VERSION:
                text = f"the device speaks protocol {protocol}, this relay {PROTOCOL_VERSION}; update the older one"
                return _leave(session, Farewell.PROTOCOL_VERSION, text)
            if not verify(hello_message(nonce, genesis.space), signature, genesis.access_key):
                return _leave(session, Farewell.NOT_A_MEMBER, "the device does not hold this space's access key")
            return replace(session, state=Admitting(message)), (Admit(genesis),)
        case Live(), Upload(envelopes):
            return session, (Store(envelopes),)
        case Live() as state, Want(heads):
            # Frames on their way stay unanswered: their READ will come, before those of the walk.
            return replace(session, state=replace(state, paging=Paging.UNWANTED, walk=state.walk + 1)), (Prove(heads),)
        case Live() as state, Read(cursor):
            if state.unanswered[:1] != (cursor,):
                raise Malformed(f"READ {cursor} does not answer for the oldest frame")
            return _paged(session, replace(state, unanswered=state.unanswered[1:]), ())
        case ((Admitting() | Live()), Ping()):
            return session, (Send(Pong().encode()),)
        case ((Admitting() | Live()), Pong()):
            return session, ()
        case _:
            raise AssertionError(f"a {type(message).__name__} out of turn was decoded")


def _admitted(session: RelaySession, event: Admitted) -> Step:
    assert isinstance(session.state, Admitting)
    hello = session.state.hello
    is_equal = hello.vector_digest == event.heads.digest()
    welcome = Welcome(session.birthday, event.position, None if is_equal else event.heads)
    state = Live(Paging.UNWANTED, Position(0))
    if hello.birthday == session.birthday and hello.cursor <= event.position:
        # With equal heads it holds everything up to the position, from wherever it came: an empty page moves its cursor.
        state = replace(state, paging=Paging.DUE, read=event.position if is_equal else hello.cursor)
    return _paged(session, state, (Send(welcome.encode()),))


def _live(session: RelaySession, state: Live, event: Outcomes | Proved | PageRead | Woken) -> Step:
    match event:
        case Woken():
            return _paged(session, replace(state, paging=_woken(state.paging)), ())
        case Proved(start, seq_by_device):
            return _paged(session, replace(state, paging=Paging.DUE, read=start, seq_by_device=seq_by_device), ())
        case Outcomes(outcomes):
            breach = next((o for o in outcomes if isinstance(o, Rejected) and o.code in _BREACHES), None)
            if breach is not None:
                return _leave(session, Farewell.MALFORMED, f"an uploaded envelope is not one: {breach.text}")
            positions = [o.position for o in outcomes if isinstance(o, Accepted)]
            own = past(joined(state.own, positions, count_max=OWN_RUNS_MAX), state.read)
            return replace(session, state=replace(state, own=own)), tuple(Send(f.encode()) for f in _replies(outcomes))
        case PageRead(walk) if walk != state.walk:
            return session, ()
        case PageRead(walk, entries, until, is_end):
            is_end = is_end and state.paging is not Paging.ASKED_AND_WOKEN
            frame = Envelopes(
                walk, until, is_end, tuple(raw for position, raw in entries if not holds(state.own, position))
            )
            moved = replace(
                state,
                paging=Paging.AT_END if is_end else Paging.DUE,
                read=until,
                # Once the reader is at the end, what WANT proved is behind it.
                seq_by_device=None if is_end else state.seq_by_device,
                unanswered=(*state.unanswered, until),
                own=past(state.own, until),
            )
            return _paged(session, moved, (Send(frame.encode()),))
        case _:
            assert_never(event)


def _woken(paging: Paging) -> Paging:
    match paging:
        case Paging.AT_END:
            return Paging.DUE
        case Paging.ASKED:
            return Paging.ASKED_AND_WOKEN
        case Paging.DUE | Paging.ASKED_AND_WOKEN | Paging.UNWANTED:
            return paging


def _replies(outcomes: tuple[Outcome, ...]) -> list[Stored | Refused]:
    replies: list[Stored | Refused] = []
    for is_stored, run in groupby(outcomes, lambda outcome: isinstance(outcome, Accepted)):
        if is_stored:
            replies.append(Stored(len(tuple(run))))
        else:
            replies += [Refused(o.code, o.text) for o in run if isinstance(o, Rejected)]
    return replies


def _paged(session: RelaySession, state: Live, effects: tuple[Effect, ...]) -> Step:
    """Ask for the next page if one is due and the reader has answered for enough."""
    if state.paging is Paging.DUE and len(state.unanswered) < WINDOW_FRAMES:
        page = ReadPage(state.walk, state.read, PAGE_BYTES_GOAL, state.seq_by_device or {})
        state, effects = replace(state, paging=Paging.ASKED), (*effects, page)
    return replace(session, state=state), effects


def _leave(session: RelaySession, code: Farewell, text: str) -> Step:
    return replace(session, state=Gone()), (Send(Goodbye(code, text).encode()), Close())

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
from dataclasses import dataclass, replace
from enum import Enum
from typing import assert_never

from driftlog._core.genesis import Genesis
from driftlog._core.ids import Birthday, DeviceKey, Position, SpaceId
from driftlog._core.version_vector import VersionVector
from driftlog._core.wire import Malformed
from driftlog._protocol.limits import OWN_POSITIONS_MAX, PAGE_BYTES_GOAL, WINDOW_FRAMES
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
    """An envelope is durable, at a new position, or at None because it was there before."""

    position: Position | None


@dataclass(frozen=True, slots=True)
class Rejected:
    """An envelope was not stored."""

    code: Refusal
    text: str


Outcome = Accepted | Rejected


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Answers `Store`, in order."""

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


@dataclass(frozen=True, slots=True)
class Live:
    """The device reads and writes."""

    space: SpaceId
    paging: Paging
    read: Position
    """How far the store has been read for this device."""
    walk: int = 0
    """How often reading has begun anew: a page of an earlier walk is dropped."""
    seq_by_device: Mapping[DeviceKey, int] | None = None
    """What WANT proved; None once, or if, there was none."""
    unanswered: tuple[Position, ...] = ()
    """The ends of frames without READ, oldest first; at most `WINDOW_FRAMES`."""
    own: tuple[Position, ...] = ()
    """Positions that came up on this connection, past `read`; at most `OWN_POSITIONS_MAX`."""


@dataclass(frozen=True, slots=True)
class Gone:
    """GOODBYE is out. No effect follows."""


@dataclass(frozen=True, slots=True)
class RelaySession:
    """One connection, seen from the relay."""

    birthday: Birthday
    state: Greeting | Admitting | Live | Gone


Step = tuple[RelaySession, tuple[Effect, ...]]


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


def _heard(session: RelaySession, message: FromDevice, verify: Verify) -> Step:
    match session.state, message:
        case Greeting(nonce), Hello(protocol, genesis, signature):
            if protocol != PROTOCOL_VERSION:
                text = f"the device speaks protocol {protocol}, this relay {PROTOCOL_VERSION}; update the older one"
                return _leave(session, Farewell.PROTOCOL_VERSION, text)
            if not verify(hello_message(nonce, genesis.space), signature, genesis.access_key):
                return _leave(session, Farewell.NOT_A_MEMBER, "the device does not hold this space's access key")
            return replace(session, state=Admitting(message)), (Admit(genesis),)
        case Live() as state, Upload(envelopes):
            return replace(session, state=state), (Store(envelopes),)
        case Live() as state, Want(heads):
            # Frames on their way stay unanswered: their READ will come, before those of the walk.
            state = replace(state, paging=Paging.UNWANTED, walk=state.walk + 1)
            return replace(session, state=state), (Prove(heads),)
        case Live() as state, Read(cursor):
            if state.unanswered[:1] != (cursor,):
                raise Malformed(f"READ {cursor} does not answer for the oldest frame")
            return _paged(session, replace(state, unanswered=state.unanswered[1:]), ())
        case ((Admitting() | Live()), Ping()):
            return session, (Send(Pong().encode()),)
        case ((Admitting() | Live()), Pong()):
            return session, ()
        case _:
            raise Malformed(f"a {type(message).__name__.upper()} out of turn")


def _admitted(session: RelaySession, event: Admitted) -> Step:
    assert isinstance(session.state, Admitting)
    hello = session.state.hello
    is_equal = hello.vector_digest == event.heads.digest()
    welcome = Welcome(session.birthday, event.position, None if is_equal else event.heads)
    is_cursor_good = hello.birthday == session.birthday and hello.cursor <= event.position
    state = Live(
        hello.genesis.space,
        Paging.DUE if is_cursor_good else Paging.UNWANTED,
        hello.cursor if is_cursor_good else Position(0),
    )
    return _paged(session, state, (Send(welcome.encode()),))


def _live(session: RelaySession, state: Live, event: Outcomes | Proved | PageRead | Woken) -> Step:
    match event:
        case Woken():
            return _paged(session, replace(state, paging=_woken(state.paging)), ())
        case Proved(start, seq_by_device):
            begun = replace(state, paging=Paging.DUE, read=start, seq_by_device=seq_by_device)
            return _paged(session, begun, ())
        case Outcomes(outcomes):
            positions = [o.position for o in outcomes if isinstance(o, Accepted) and o.position is not None]
            own = tuple(p for p in (*state.own, *positions) if p > state.read)[-OWN_POSITIONS_MAX:]
            return replace(session, state=replace(state, own=own)), tuple(Send(f.encode()) for f in _replies(outcomes))
        case PageRead(walk) if walk != state.walk:
            return session, ()
        case PageRead(walk, entries, until, is_end):
            echoes = frozenset(state.own)
            is_end = is_end and state.paging is not Paging.ASKED_AND_WOKEN
            frame = Envelopes(walk, until, is_end, tuple(raw for position, raw in entries if position not in echoes))
            moved = replace(
                state,
                paging=Paging.AT_END if is_end else Paging.DUE,
                read=until,
                # Once the reader is at the end, what WANT proved is behind it.
                seq_by_device=None if is_end else state.seq_by_device,
                unanswered=(*state.unanswered, until),
                own=tuple(p for p in state.own if p > until),
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
    for outcome in outcomes:
        match outcome, replies:
            case Accepted(), [*_, Stored(count)]:
                replies[-1] = Stored(count + 1)
            case Accepted(), _:
                replies.append(Stored(1))
            case Rejected(code, text), _:
                replies.append(Refused(code, text))
    return replies


def _paged(session: RelaySession, state: Live, effects: tuple[Effect, ...]) -> Step:
    """Ask for the next page if one is due and the reader has answered for enough."""
    if state.paging is Paging.DUE and len(state.unanswered) < WINDOW_FRAMES:
        page = ReadPage(state.walk, state.read, PAGE_BYTES_GOAL, state.seq_by_device or {})
        state, effects = replace(state, paging=Paging.ASKED), (*effects, page)
    return replace(session, state=state), effects


def _leave(session: RelaySession, code: Farewell, text: str) -> Step:
    return replace(session, state=Gone()), (Send(Goodbye(code, text).encode()), Close())

"""The device's half of a conversation with a relay: a state machine that performs nothing.

`step(session, input)` gives the next session and the effects to perform, in order. Equal inputs give equal effects.

    state            what happens                          next
    ---------------  ------------------------------------  ----------------------------------------------------------
    Idle             Start                                 Connecting
    Waiting          timer                                 Connecting
    Connecting       Connected                             Challenging
    Challenging      CHALLENGE                             Preparing: the replica is asked for its greeting
    Preparing        Greeted                               Signing: the replica signs
    Signing          Signed                                Authenticating: HELLO goes out
    Authenticating   WELCOME                               Live
    Live             everything else                       Live
    any but Idle     breach, timeout, refusal, failure     Closing, and the connection is closed
    Closing          Disconnected                          what was decided on closing: Waiting or Stopped
    with connection  Disconnected                          Waiting
    any              Shutdown                              Closing, or Stopped when there is no connection

Back-off counts attempts since something new passed, or a connection held: a relay that lets a device in and then fails
is no better than one that does not answer. What is live is in `live`, what is being uploaded in `outbox`.

What is copied with each step (`Session`, `Live`, `Outbox`, `SyncState`, and the relay's) is a frozen struct of msgspec,
which copies it in C; a dataclass is copied in Python, field by field.
"""

from dataclasses import dataclass
from typing import assert_never

import msgspec
from msgspec.structs import replace

from driftlog._core.ids import digest
from driftlog._core.wire import Malformed
from driftlog._protocol import live
from driftlog._protocol.device_values import (
    Applied,
    Close,
    Connect,
    Connected,
    Disconnected,
    Effect,
    FrameReceived,
    Greeted,
    Greeting,
    Input,
    Known,
    LoadGreeting,
    LocalChange,
    Outgoing,
    Phase,
    ReplicaFailed,
    Report,
    Send,
    SetTimer,
    Shutdown,
    Signed,
    SignHello,
    Start,
    SyncState,
    TimerFired,
)
from driftlog._protocol.limits import (
    HANDSHAKE_MS_MAX,
    RETRY_ATTEMPT_AFTER_GAP,
    RETRY_ATTEMPT_MAX,
    RETRY_DELAY_MS_MAX,
    RETRY_DELAY_MS_MIN,
    TICK_MS,
)
from driftlog._protocol.live import Live
from driftlog._protocol.messages import (
    NO_BIRTHDAY,
    PROTOCOL_VERSION,
    Challenge,
    Farewell,
    Goodbye,
    Hello,
    Ping,
    Pong,
    Welcome,
    decode_from_relay,
    hello_message,
)


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing has begun."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """No connection; a timer runs. `attempt` counts from 0."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Connecting:
    """A connection was asked for."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Challenging:
    """Connected; the relay speaks first."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Preparing:
    """The replica was asked for its greeting."""

    attempt: int
    nonce: bytes


@dataclass(frozen=True, slots=True)
class Signing:
    """The replica was asked to sign."""

    attempt: int
    greeting: Greeting


@dataclass(frozen=True, slots=True)
class Authenticating:
    """HELLO is on its way."""

    attempt: int
    greeting: Greeting


@dataclass(frozen=True, slots=True)
class Closing:
    """The connection is being closed; what follows is decided."""

    then: "Waiting | Stopped"
    state: SyncState
    """What people will be shown once it is closed."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """The end. No effect follows."""


State = Idle | Waiting | Connecting | Challenging | Preparing | Signing | Authenticating | Live | Closing | Stopped


class Session(msgspec.Struct, frozen=True):
    """A device's conversation with one relay, over any number of connections."""

    seed: int
    """Where the jitter of the back-off comes from: give each device another."""
    state: State = Idle()
    connection: int = 0
    """The number of the present or last connection."""
    shown: SyncState = msgspec.field(default_factory=lambda: SyncState(Phase.OFFLINE))
    """What people were last shown; the counters in it go on over connections."""
    local_changes: int = 0
    """The last count that the replica gave of its changes."""


Step = tuple[Session, tuple[Effect, ...]]


def step(session: Session, event: Input) -> Step:
    """Give the next session, and the effects to perform in order."""
    match event:
        case Shutdown():
            return _end(session, Stopped(), Phase.STOPPED, "")
        case Start():
            return _connect(session, 0) if isinstance(session.state, Idle) else (session, ())
        case Connected():
            if not isinstance(session.state, Connecting):
                return session, ()
            return replace(session, state=Challenging(session.state.attempt)), ()
        case Disconnected(reason):
            return _disconnected(session, reason)
        case TimerFired():
            return _timer_fired(session)
        case LocalChange(count):
            return _live(replace(session, local_changes=max(count, session.local_changes)), live.changed)
        case FrameReceived(data):
            return _frame(session, data)
        case Greeted() | Signed() | Known() | Applied() | Outgoing() | ReplicaFailed():
            # An answer that was asked for over a connection that is gone says nothing about this one.
            return _answer(session, event) if event.connection == session.connection else (session, ())
        case _:
            assert_never(event)


def retry_delay_ms(seed: int, connection: int, attempt: int) -> int:
    """Give the back-off before the next attempt: anything from 1 ms to the bound that the attempt allows."""
    bound = min(RETRY_DELAY_MS_MAX, RETRY_DELAY_MS_MIN << attempt)
    draw = digest(b"driftlog jitter", seed.to_bytes(8, "big"), connection.to_bytes(8, "big"))
    return 1 + int.from_bytes(draw[:8], "big") % bound


def _connect(session: Session, attempt: int) -> Step:
    session = replace(session, connection=session.connection + 1)
    session, report = _show(session, replace(session.shown, phase=Phase.CONNECTING), Connecting(attempt))
    return session, (*report, SetTimer(HANDSHAKE_MS_MAX), Connect())


def _disconnected(session: Session, reason: str) -> Step:
    match session.state:
        case Closing(then, state):
            return _rest(session, then, state)
        case Connecting(attempt) | Challenging(attempt) | Preparing(attempt) | Signing(attempt):
            return _rest(session, Waiting(attempt), replace(session.shown, phase=Phase.OFFLINE, detail=reason))
        case Authenticating(attempt):
            return _rest(session, Waiting(attempt), replace(session.shown, phase=Phase.OFFLINE, detail=reason))
        case Live():
            attempt = session.state.attempt
            return _rest(session, Waiting(attempt), replace(session.shown, phase=Phase.OFFLINE, detail=reason))
        case Idle() | Waiting() | Stopped():
            return session, ()
        case _:
            assert_never(session.state)


def _rest(session: Session, state: Waiting | Stopped, shown: SyncState) -> Step:
    session, report = _show(session, shown, state)
    match state:
        case Stopped():
            return session, report
        case Waiting(attempt):
            return session, (*report, SetTimer(retry_delay_ms(session.seed, session.connection, attempt)))
        case _:
            assert_never(state)


def _end(session: Session, then: Waiting | Stopped, phase: Phase, detail: str) -> Step:
    """Close what is open, and go on to what was decided once it is closed."""
    shown = replace(session.shown, phase=phase, detail=detail)
    match session.state:
        case Stopped():
            return session, ()
        case Idle() | Waiting():
            return _rest(session, then, shown)
        case Closing():
            # A shutdown overrides a retry that was decided before.
            return replace(session, state=Closing(then, shown)), ()
        case Connecting() | Challenging() | Preparing() | Signing() | Authenticating() | Live():
            return replace(session, state=Closing(then, shown)), (Close(detail or phase.value),)
        case _:
            assert_never(session.state)


def _timer_fired(session: Session) -> Step:
    match session.state:
        case Waiting(attempt):
            return _connect(session, min(attempt + 1, RETRY_ATTEMPT_MAX))
        case Connecting(attempt) | Challenging(attempt) | Preparing(attempt):
            return _end(session, Waiting(attempt), Phase.OFFLINE, _TOO_SLOW)
        case Signing(attempt) | Authenticating(attempt):
            return _end(session, Waiting(attempt), Phase.OFFLINE, _TOO_SLOW)
        case Live():
            session, effects = _live(session, live.ticked)
            return session, (*effects, SetTimer(TICK_MS)) if isinstance(session.state, Live) else effects
        case Idle() | Closing() | Stopped():
            return session, ()
        case _:
            assert_never(session.state)


_TOO_SLOW = f"the relay did not answer within {HANDSHAKE_MS_MAX // 1000} s"


def _frame(session: Session, data: bytes) -> Step:
    state = session.state
    if not isinstance(state, (Challenging, Preparing, Signing, Authenticating, Live)):
        return session, ()
    try:
        message = decode_from_relay(data)
    except Malformed as error:
        return _breach(session, str(error))
    match state, message:
        case _, Goodbye(code, text):
            return _goodbye(session, code, text)
        case Live(), _:
            return _live(session, lambda state, connection: live.heard(state, connection, message))
        case _, Ping():
            return session, (Send(Pong().encode()),)
        case Challenging(attempt), Challenge(protocol, nonce):
            if protocol != PROTOCOL_VERSION:
                text = (
                    f"the relay speaks protocol version {protocol}, this Driftlog {PROTOCOL_VERSION}; update the older"
                )
                return _end(session, Waiting(RETRY_ATTEMPT_MAX), Phase.REFUSED, text)
            return replace(session, state=Preparing(attempt, nonce)), (LoadGreeting(session.connection),)
        case Authenticating(attempt, greeting), Welcome():
            started = live.welcomed(greeting, message, session.connection, session.shown, attempt)
            session, effects = _advance(session, started)
            return session, (SetTimer(TICK_MS), *effects)
        case _:
            return _breach(session, f"a {type(message).__name__.upper()} out of turn")


def _answer(session: Session, answer: Greeted | Signed | Known | Applied | Outgoing | ReplicaFailed) -> Step:
    match session.state, answer:
        case Closing() | Stopped() | Waiting(), _:
            return session, ()
        case _, ReplicaFailed(_, reason, is_retryable):
            if not is_retryable:
                return _end(session, Stopped(), Phase.STOPPED, reason)
            return _end(session, Waiting(max(RETRY_ATTEMPT_AFTER_GAP, _attempt(session))), Phase.OFFLINE, reason)
        case Preparing(attempt, nonce), Greeted(connection, greeting):
            message = hello_message(nonce, greeting.genesis.space)
            return replace(session, state=Signing(attempt, greeting)), (SignHello(connection, message),)
        case Signing(attempt, greeting), Signed(_, signature):
            hello = Hello(
                PROTOCOL_VERSION,
                greeting.genesis,
                signature,
                greeting.birthday or NO_BIRTHDAY,
                greeting.cursor,
                greeting.vector.digest(),
            )
            return replace(session, state=Authenticating(attempt, greeting)), (Send(hello.encode()),)
        case Live(), Known() | Applied() | Outgoing():
            return _live(session, lambda state, connection: live.answered(state, connection, answer))
        case _:
            raise AssertionError(f"{type(answer).__name__} was not asked for in {type(session.state).__name__}")


def _goodbye(session: Session, code: Farewell, text: str) -> Step:
    match code:
        case Farewell.NOT_A_MEMBER | Farewell.PROTOCOL_VERSION | Farewell.MALFORMED:
            # Nothing that a quick retry would mend; but a relay may be updated, so the device asks once a minute.
            return _end(session, Waiting(RETRY_ATTEMPT_MAX), Phase.REFUSED, text or code.name)
        case Farewell.SHUTTING_DOWN | Farewell.SILENT:
            return _end(session, Waiting(_attempt(session)), Phase.OFFLINE, text or code.name)
        case Farewell.UNAVAILABLE:
            attempt = max(RETRY_ATTEMPT_AFTER_GAP, _attempt(session))
            return _end(session, Waiting(attempt), Phase.OFFLINE, text or code.name)
        case _:
            assert_never(code)


def _attempt(session: Session) -> int:
    """Give the number of the present attempt."""
    match session.state:
        case Idle() | Closing() | Stopped():
            return 0
        case _:
            return session.state.attempt


def _breach(session: Session, text: str) -> Step:
    return _end(session, Waiting(RETRY_ATTEMPT_MAX), Phase.REFUSED, f"the relay broke the protocol: {text}")


def _live(session: Session, move: live.Move) -> Step:
    """Move the live state, if it is one."""
    if not isinstance(session.state, Live):
        return session, ()
    return _advance(session, move(session.state, session.connection))


def _advance(session: Session, moved: live.Moved) -> Step:
    match moved:
        case live.Broken(text):
            return _breach(session, text)
        case live.Lost(text, attempt):
            return _end(session, Waiting(attempt), Phase.OFFLINE, text)
        case (state, effects):
            session, report = _show(session, state.shown, state)
            return session, (*effects, *report)
        case _:
            assert_never(moved)


def _show(session: Session, shown: SyncState, state: State) -> tuple[Session, tuple[Report, ...]]:
    """Go into a state, and report what is to be shown if it is news."""
    if shown.local_changes != session.local_changes:
        shown = replace(shown, local_changes=session.local_changes)
    is_news = shown != session.shown
    return replace(session, state=state, shown=shown), (Report(shown),) if is_news else ()

"""The live part of a device's session: envelopes in, envelopes out, and the check that the cursor still holds.

A relay that was restored from a backup and has grown since has the same birthday and high positions, but other
envelopes at them: reading on from the cursor would miss some. So when the device has read up to the position of the
WELCOME and still lacks one of the heads that came with it, it sends WANT and is given everything it lacks. Once for a
connection: an envelope that the replica does not accept must not start a circle.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import assert_never

import msgspec
from msgspec.structs import replace

from driftlog._core.ids import Birthday, DeviceKey, Position
from driftlog._core.version_vector import VersionVector
from driftlog._core.wire import Malformed
from driftlog._protocol import outbox as out
from driftlog._protocol.device_values import (
    Applied,
    Apply,
    Confirm,
    Effect,
    Greeting,
    Known,
    LoadKnownHeads,
    LoadOutgoing,
    LookAround,
    Outgoing,
    Phase,
    Send,
    SyncState,
)
from driftlog._protocol.limits import (
    HELD_TICKS,
    RETRY_ATTEMPT_AFTER_GAP,
    SILENT_TICKS_BEFORE_PING,
    SILENT_TICKS_MAX,
    TICK_MS,
    UNANSWERED_TICKS_MAX,
    WINDOW_FRAMES,
)
from driftlog._protocol.messages import (
    Challenge,
    Envelopes,
    FromRelay,
    Goodbye,
    Ping,
    Pong,
    Read,
    Refused,
    Stored,
    Upload,
    Want,
    Welcome,
    runs_that_fit,
)
from driftlog._protocol.outbox import Loading, Outbox, Verdict


class Check(Enum):
    """Whether everything in the WELCOME's heads is known to be here, once the relay says that we are caught up."""

    RESTARTING = "the cursor means nothing here: the replica is asked for its heads, for a WANT in any case"
    DUE = "to be done at the position of the WELCOME"
    ASKED = "the replica is asked for its heads, for a WANT if one is missing"
    DONE = "nothing is missing, or everything missing was asked for"
    COMPLETE = "and what was asked for is here"


@dataclass(frozen=True, slots=True)
class Page:
    """An ENVELOPES frame that is being applied."""

    until: Position
    is_caught_up: bool
    count: int
    size: int


class Live(msgspec.Struct, frozen=True):
    """The relay has let the device in."""

    device: DeviceKey
    birthday: Birthday
    welcome_position: Position
    welcome_heads: VersionVector
    check: Check
    outbox: Outbox
    shown: SyncState
    is_own_ahead: bool = False
    """Whether the relay has more of this device's own chain than the device said it has: its file is an older copy."""
    unapplied: tuple[Page, ...] = ()
    """At most `WINDOW_FRAMES`, oldest first."""
    is_caught_up: bool = False
    """Whether the last frame of the present walk said that there is no more."""
    walk: int = 0
    """How many WANTs were sent."""
    attempt: int = 0
    """Where the back-off goes on if this connection ends: 0 once something new has passed over it, or it has held."""
    ticks: int = 0
    silent_ticks: int = 0


@dataclass(frozen=True, slots=True)
class Broken:
    """The relay broke the protocol."""

    text: str


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection is of no further use; another may be."""

    text: str
    attempt: int


Moved = tuple[Live, tuple[Effect, ...]] | Broken | Lost
Move = Callable[[Live, int], Moved]


def welcomed(greeting: Greeting, welcome: Welcome, connection: int, shown: SyncState, attempt: int) -> Moved:
    """Begin: the cursor holds if this is the relay it was made with, and the relay has not gone back behind it.

    After an attempt that got nowhere the relay is first shown one envelope: a window would be sent for nothing each time.
    """
    heads = greeting.vector if welcome.heads is None else welcome.heads
    is_cursor_good = greeting.birthday == welcome.birthday and greeting.cursor <= welcome.position
    cursor = greeting.cursor if is_cursor_good else Position(0)
    state = Live(
        device=greeting.device,
        birthday=welcome.birthday,
        welcome_position=welcome.position,
        welcome_heads=heads,
        check=Check.DONE,
        outbox=Outbox(greeting.device, heads, is_probing=attempt > 0),
        attempt=attempt,
        is_own_ahead=heads.seq(greeting.device) > greeting.vector.seq(greeting.device),
        shown=replace(shown, phase=Phase.CATCHING_UP, detail="", position=welcome.position, cursor=cursor),
    )
    own = heads.get(greeting.device, ())
    confirm = (Confirm(connection, welcome.birthday, own[-1] if own else None, is_all=True),)
    if welcome.heads is None:
        if is_cursor_good:
            return _settled(state, connection, confirm)
        return _settled(replace(state, walk=1), connection, (*confirm, Send(Want(heads).encode())))
    if is_cursor_good:
        return _settled(replace(state, check=Check.DUE), connection, confirm)
    return _settled(
        replace(state, check=Check.RESTARTING), connection, (*confirm, LoadKnownHeads(connection, welcome.heads))
    )


def heard(state: Live, connection: int, message: FromRelay) -> Moved:
    """Take a frame."""
    if state.silent_ticks:
        state = replace(state, silent_ticks=0)
    try:
        match message:
            case Envelopes():
                return _page(state, connection, message)
            case Stored(count):
                outbox, done = out.stored(state.outbox, count)
                shown = replace(
                    state.shown,
                    envelopes_sent=state.shown.envelopes_sent + len(done),
                    bytes_sent=state.shown.bytes_sent + sum(len(sent.raw) for sent in done),
                )
                moved = replace(state, outbox=outbox, shown=shown, attempt=0)
                return _settled(moved, connection, _confirmed(moved, connection, state.outbox.relay_has))
            case Refused(code, text):
                outbox, verdict = out.refused(state.outbox, code, text)
                if verdict is Verdict.RECONNECT:
                    return Lost(f"the relay has lost envelopes: {text}", max(RETRY_ATTEMPT_AFTER_GAP, state.attempt))
                return _settled(replace(state, outbox=outbox), connection, ())
            case Ping():
                return state, (Send(Pong().encode()),)
            case Pong():
                return state, ()
            case Challenge() | Welcome() | Goodbye():
                return Broken(f"a {type(message).__name__.upper()} out of turn")
            case _:
                assert_never(message)
    except Malformed as error:
        return Broken(str(error))


def answered(state: Live, connection: int, answer: Known | Applied | Outgoing) -> Moved:
    """Take an answer of the replica."""
    match answer:
        case Applied(_, new_count):
            page, *left = state.unapplied
            shown = replace(
                state.shown,
                cursor=page.until,
                envelopes_received=state.shown.envelopes_received + page.count,
                bytes_received=state.shown.bytes_received + page.size,
            )
            moved = replace(state, unapplied=tuple(left), shown=shown, attempt=0 if new_count else state.attempt)
            return _settled(moved, connection, (Send(Read(page.until).encode()),))
        case Known(_, heads):
            lacks = any(head not in heads.get(device, ()) for device, head in state.welcome_heads.flat())
            is_walk_due = lacks or state.check is Check.RESTARTING
            if not is_walk_due:
                return _settled(replace(state, check=Check.DONE), connection, ())
            moved = replace(state, check=Check.DONE, is_caught_up=False, walk=state.walk + 1)
            return _settled(moved, connection, (Send(Want(heads).encode()),))
        case Outgoing(_, envelopes):
            is_caught_up = state.is_caught_up and not state.unapplied and state.check is Check.COMPLETE
            outbox, fresh = out.loaded(state.outbox, envelopes, is_caught_up=is_caught_up)
            sends = tuple(Send(Upload(run).encode()) for run in runs_that_fit(sent.raw for sent in fresh))
            return _settled(replace(state, outbox=outbox), connection, sends)
        case _:
            assert_never(answer)


def changed(state: Live, connection: int) -> Moved:
    """The replica may hold something new."""
    return _settled(replace(state, outbox=out.changed(state.outbox)), connection, ())


def ticked(state: Live, connection: int) -> Moved:
    """Let `TICK_MS` pass."""
    silent_ticks = state.silent_ticks + 1
    if silent_ticks >= SILENT_TICKS_MAX:
        return Lost(f"the relay was silent for {SILENT_TICKS_MAX * TICK_MS // 1000} s", state.attempt)
    outbox = out.ticked(state.outbox)
    if outbox.is_forgotten:
        minutes = UNANSWERED_TICKS_MAX * TICK_MS // 60_000
        return Lost(f"the relay answered other messages, but no upload for {minutes} minutes", state.attempt)
    ping = (Send(Ping().encode()),) if silent_ticks == SILENT_TICKS_BEFORE_PING else ()
    ticks = min(state.ticks + 1, HELD_TICKS)
    moved = replace(
        state,
        ticks=ticks,
        attempt=0 if ticks == HELD_TICKS else state.attempt,
        silent_ticks=silent_ticks,
        outbox=outbox,
    )
    return _settled(moved, connection, (*ping, LookAround(connection)))


def _page(state: Live, connection: int, frame: Envelopes) -> Moved:
    if len(state.unapplied) == WINDOW_FRAMES:
        return Broken(f"more than {WINDOW_FRAMES} frames ahead of the device")
    page = Page(frame.until, frame.is_caught_up, len(frame.envelopes), sum(map(len, frame.envelopes)))
    outbox = out.received(state.outbox, frame.envelopes)
    moved = replace(
        state,
        outbox=outbox,
        unapplied=(*state.unapplied, page),
        is_caught_up=frame.is_caught_up and frame.walk == state.walk,
        shown=replace(state.shown, position=max(state.shown.position, frame.until)),
    )
    if not frame.envelopes and not state.unapplied and frame.until == state.shown.cursor:
        # Nothing was said but "that is all": no transaction for it.
        return answered(moved, connection, Applied(connection, 0))
    apply = Apply(connection, state.birthday, frame.envelopes, frame.until)
    return _settled(moved, connection, (apply, *_confirmed(moved, connection, state.outbox.relay_has)))


def _confirmed(state: Live, connection: int, before: VersionVector) -> tuple[Effect, ...]:
    """Tell the replica how far the relay has its own chain, whoever brought it there, when that is news."""
    heads = state.outbox.relay_has.get(state.device, ())
    if not heads or heads == before.get(state.device):
        return ()
    return (Confirm(connection, state.birthday, heads[-1], is_all=False),)


def _settled(state: Live, connection: int, effects: tuple[Effect, ...]) -> Moved:
    """Start what has become due, and say how it stands."""
    is_read = state.is_caught_up and not state.unapplied
    if state.check is Check.DUE and is_read and state.shown.cursor >= state.welcome_position:
        state = replace(state, check=Check.ASKED)
        effects = (*effects, LoadKnownHeads(connection, state.welcome_heads))
    elif state.check is Check.DONE and is_read:
        # Only now can the replica compare: until here, a relay's head that it did not hold might have been of its own
        # branch, further on, or of another.
        state = replace(state, check=Check.COMPLETE, outbox=out.changed(state.outbox))
        effects = (*effects, *_confirmed(state, connection, VersionVector()))
    elif state.check is Check.COMPLETE and is_read and state.outbox.loading is Loading.UNCLEAR:
        state = replace(state, outbox=out.changed(state.outbox))
    # What has not left the device follows what the relay has of it, or its key would bear two histories. Once the relay has
    # given what it will, there is no more to wait for.
    is_whole = not state.is_own_ahead or state.check is Check.COMPLETE
    if is_whole and out.can_load(state.outbox):
        size = out.bytes_to_load(state.outbox)
        load = LoadOutgoing(connection, state.outbox.offered(), state.outbox.skipped, size)
        state = replace(state, outbox=replace(state.outbox, loading=Loading.ASKED))
        effects = (*effects, load)
    outbox = state.outbox
    if is_read and state.check is Check.COMPLETE and (outbox.is_idle or outbox.pause_ticks):
        phase = Phase.REFUSED if outbox.problem else Phase.SYNCED
    else:
        phase = Phase.CATCHING_UP
    # Most moves leave both as they are, and a copy of a frozen value is the dearest thing that a move does.
    if state.shown.phase is not phase or state.shown.detail != outbox.problem:
        state = replace(state, shown=replace(state.shown, phase=phase, detail=outbox.problem))
    return state, effects

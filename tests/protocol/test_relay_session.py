"""The relay's half by itself: what it refuses unread, and what it leaves out."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftlog._core.ids import Position
from driftlog._core.version_vector import VersionVector
from driftlog._protocol import relay_session as rs
from driftlog._protocol.limits import OWN_RUNS_MAX, WANTS_MAX
from driftlog._protocol.messages import (
    Envelopes,
    Farewell,
    FromDevice,
    Goodbye,
    Hello,
    Ping,
    Read,
    Refusal,
    Stored,
    Upload,
    Want,
    decode_from_relay,
)
from driftlog._protocol.position_runs import NO_RUNS, holds, joined, past
from tests.protocol.fakes import GENESIS, FakeRelayStore, chain, head_of, keys_of

STORE = FakeRelayStore()


def step(session: rs.RelaySession, *events: rs.Input) -> rs.Step:
    effects: tuple[rs.Effect, ...] = ()
    for event in events:
        session, effects = rs.step(session, event, lambda *_: True)
    return session, effects


def admitting(cursor: int = 0, digest: bytes = bytes(16)) -> rs.RelaySession:
    session, _ = rs.begin(STORE.birthday, bytes(32))
    hello = Hello(1, GENESIS, bytes(64), STORE.birthday, Position(cursor), digest)
    return step(session, rs.FrameReceived(hello.encode()))[0]


def live(position: int = 0) -> rs.RelaySession:
    session, effects = step(admitting(), rs.Admitted(Position(position), VersionVector()))
    assert isinstance(effects[-1], rs.ReadPage)
    return session


def farewell(effects: tuple[rs.Effect, ...]) -> Farewell:
    send, close = effects
    assert isinstance(send, rs.Send)
    assert isinstance(close, rs.Close)
    goodbye = decode_from_relay(send.data)
    assert isinstance(goodbye, Goodbye)
    return goodbye.code


@pytest.mark.parametrize("frame", [Want(VersionVector()), Upload((b"x",)), Read(Position(0))])
def test_a_frame_out_of_turn_is_refused_without_being_decoded(
    frame: FromDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    greeting, _ = rs.begin(STORE.birthday, bytes(32))
    sessions = (greeting, admitting())
    monkeypatch.setattr(rs, "decode_from_device", refuse_to_decode)
    for session in sessions:
        assert farewell(step(session, rs.FrameReceived(frame.encode()))[1]) is Farewell.MALFORMED


def refuse_to_decode(data: bytes) -> FromDevice:
    raise AssertionError("it was decoded")


def test_more_wants_than_a_device_needs_are_refused_without_being_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    want = rs.FrameReceived(Want(VersionVector()).encode())
    session, effects = step(live(), *[want] * WANTS_MAX)
    assert effects == (rs.Prove(VersionVector()),)
    monkeypatch.setattr(rs, "decode_from_device", refuse_to_decode)
    assert farewell(step(session, want)[1]) is Farewell.MALFORMED


def test_a_device_with_equal_heads_is_read_to_from_the_end() -> None:
    (sealed,) = chain(keys_of(1), 1)
    heads = VersionVector({sealed.header.device: (head_of(sealed),)})
    session, effects = step(admitting(3, heads.digest()), rs.Admitted(Position(9), heads))
    assert effects[-1] == rs.ReadPage(0, Position(9), effects[-1].bytes_max, {})  # type: ignore[union-attr] # it is one
    _, effects = step(session, rs.PageRead(0, (), Position(9), is_end=True))
    assert effects == (rs.Send(Envelopes(0, Position(9), True, ()).encode()),)


@pytest.mark.parametrize("code", [Refusal.MALFORMED, Refusal.BAD_SIGNATURE, Refusal.OTHER_SPACE])
def test_what_no_honest_device_uploads_ends_the_connection(code: Refusal) -> None:
    outcomes = (rs.Accepted(Position(1)), rs.Rejected(code, "why"))
    session, effects = step(live(), rs.Outcomes(outcomes))
    assert farewell(effects) is Farewell.MALFORMED
    assert isinstance(session.state, rs.Gone)


def test_other_refusals_are_answered_one_by_one_and_acknowledgements_together() -> None:
    accepted, rejected = rs.Accepted(Position(1)), rs.Rejected(Refusal.QUOTA, "no room")
    _, effects = step(live(), rs.Outcomes((accepted, accepted, rejected, rejected, accepted)))
    answers = [decode_from_relay(effect.data) for effect in effects if isinstance(effect, rs.Send)]
    assert [a.count if isinstance(a, Stored) else 0 for a in answers] == [2, 0, 0, 1]


def test_a_device_is_not_sent_what_it_uploaded_new_or_not() -> None:
    uploaded = tuple(rs.Accepted(Position(p), is_new=p % 2 == 0) for p in range(1, 6001))
    session, _ = step(live(), rs.Outcomes(uploaded))
    entries = tuple((Position(p), b"%d" % p) for p in (1, 2, 999, 5999, 6000, 6001))
    session, effects = step(session, rs.PageRead(0, entries, Position(6001), is_end=True))
    assert effects == (rs.Send(Envelopes(0, Position(6001), True, (b"6001",)).encode()),)
    assert isinstance(session.state, rs.Live)
    assert session.state.own == NO_RUNS


def test_the_runs_that_are_remembered_are_bounded() -> None:
    scattered = tuple(rs.Accepted(Position(3 * n)) for n in range(1, 2 * OWN_RUNS_MAX))
    session, _ = step(live(), rs.Outcomes(scattered))
    assert isinstance(session.state, rs.Live)
    assert len(session.state.own) == OWN_RUNS_MAX


def test_a_ping_while_admitting_is_answered() -> None:
    assert len(step(admitting(), rs.FrameReceived(Ping().encode()))[1]) == 1


@given(st.lists(st.lists(st.integers(1, 60))), st.integers(0, 60))
def test_runs_hold_the_positions_that_were_put_in_past_the_one_they_were_cut_at(
    parts: list[list[int]], cut: int
) -> None:
    runs = NO_RUNS
    for part in parts:
        runs = joined(runs, map(Position, part), count_max=100)
    runs = past(runs, Position(cut))
    assert {p for p in range(62) if holds(runs, Position(p))} == {p for part in parts for p in part if p > cut}
    assert all(last + 1 < first for (_, last), (first, _) in pairwise(runs))


def test_of_too_many_runs_the_shortest_are_forgotten() -> None:
    runs = joined(NO_RUNS, map(Position, (1, 3, 4, 5, 7, 9, 10)), count_max=2)
    assert runs == ((3, 5), (9, 10))

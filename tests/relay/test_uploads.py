"""Uploads at a relay: what is checked before the writer sees it, what is said of it, and what a full disk leaves."""

import asyncio
import logging
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from driftlog._core.envelope import Envelope
from driftlog._core.ids import NO_ENVELOPE, Position
from driftlog._core.version_vector import VersionVector
from driftlog._protocol import relay_session as rs
from driftlog._protocol.limits import FRAME_ENVELOPES_MAX
from driftlog._protocol.messages import Envelopes, Farewell, Goodbye, Read, Refusal, Refused, Stored, Upload, Want
from driftlog._transport.base import ConnectionLost
from driftlog.errors import DiskFull
from driftlog.relay import checking
from driftlog.relay.checking import CHECKERS, SLICE_ENVELOPES_MAX, Checks
from driftlog.relay.server import running_relay
from driftlog.relay.store import Job
from tests.protocol.fakes import GENESIS, chain, envelope, keys_of
from tests.relay.test_relay import line_to

SPACE = GENESIS.space
SECONDS_MAX = 20


def forged(sealed: Envelope) -> bytes:
    return sealed.raw[:-1] + bytes([sealed.raw[-1] ^ 1])


def test_an_upload_with_what_no_honest_device_sends_ends_the_connection_and_stores_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = chain(keys_of(1), 2)
    other_space = first.raw[:2] + bytes(32) + first.raw[34:]

    async def main() -> None:
        async with running_relay(tmp_path / "relay.db") as relay:
            for bad in (b"x", forged(second), other_space):
                async with line_to(relay.url) as line:
                    await line.hello()
                    await line.send(Upload((first.raw, bad)))
                    answer = await line.receive()
                    assert isinstance(answer, Goodbye)
                    assert answer.code is Farewell.MALFORMED
                    with pytest.raises(ConnectionLost):
                        await line.receive()
            assert relay._reading.counts().envelopes == 0

    with caplog.at_level(logging.WARNING):
        asyncio.run(main())
    refused = [record.message.partition("refused ")[2] for record in caplog.records]
    assert refused == [
        "of 2 envelopes: MALFORMED 1",
        "of 2 envelopes: BAD_SIGNATURE 1",
        "of 2 envelopes: OTHER_SPACE 1",
    ]


def test_a_frame_full_of_garbage_costs_one_frame_and_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with running_relay(tmp_path / "relay.db") as relay, line_to(relay.url) as line:
            await line.hello()
            await line.send(Upload((b"x",) * FRAME_ENVELOPES_MAX))
            assert isinstance(await line.receive(), Goodbye)
            with pytest.raises(ConnectionLost):
                await line.receive()

    with caplog.at_level(logging.WARNING):
        asyncio.run(main())
    assert len(caplog.records) == 1


def test_refusals_are_counted_in_one_line_that_names_no_device(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one, _, three, four = chain(keys_of(1), 4)
    fork = envelope(keys_of(1), 1, NO_ENVELOPE, salt=3)

    async def main() -> None:
        async with running_relay(tmp_path / "relay.db") as relay, line_to(relay.url) as line:
            await line.hello()
            await line.send(Upload((one.raw, fork.raw, three.raw, four.raw)))
            assert await line.receive() == Stored(1)
            for _ in range(3):
                assert isinstance(await line.receive(), Refused)

    with caplog.at_level(logging.WARNING):
        asyncio.run(main())
    assert [record.message for record in caplog.records] == [
        f"space {SPACE.hex()[:8]}: refused of 4 envelopes: FORK 1, GAP 2"
    ]


def test_a_check_lets_another_connection_have_its_turn_after_a_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    (sealed,) = chain(keys_of(1), 1)
    turns: list[bytes] = []
    threads: set[int] = set()
    gate = threading.Event()

    def note(space: bytes, raws: Sequence[bytes]) -> list[Envelope]:
        gate.wait(SECONDS_MAX)
        turns.append(raws[0])
        threads.add(threading.get_ident())
        return [sealed] * len(raws)

    monkeypatch.setattr(checking, "_check_all", note)

    async def main() -> None:
        checks = Checks()
        long = [asyncio.create_task(checks.check(SPACE, (b"long",) * SLICE_ENVELOPES_MAX * 9)) for _ in range(CHECKERS)]
        await asyncio.sleep(0)
        short = asyncio.create_task(checks.check(SPACE, (b"short",)))
        await asyncio.sleep(0)
        gate.set()
        assert await short == (sealed,)
        assert [await task for task in long] == [(sealed,) * SLICE_ENVELOPES_MAX * 9] * CHECKERS
        checks.stop()

    asyncio.run(main())
    assert turns.index(b"short") <= 2 * CHECKERS
    assert len(turns) == 9 * CHECKERS + 1
    assert threading.get_ident() not in threads
    assert len(threads) <= CHECKERS


def test_a_device_is_not_sent_the_thousands_of_envelopes_it_uploaded(tmp_path: Path) -> None:
    # Given a connection,
    sealed = chain(keys_of(1), 1_500)
    (other,) = chain(keys_of(2), 1)

    async def main() -> None:
        async with running_relay(tmp_path / "relay.db") as relay, line_to(relay.url) as line:
            await line.hello()
            # when many are uploaded on it, one of them twice, and everything is asked for,
            for begin in range(0, 1_500, 500):
                await line.send(Upload(tuple(e.raw for e in sealed[begin : begin + 500])))
                assert await line.receive() == Stored(500)
            await line.send(Upload((sealed[0].raw, other.raw)))
            assert await line.receive() == Stored(2)
            await line.send(Want(VersionVector()))
            # then none of them comes back.
            is_end = False
            while not is_end:
                frame = await line.receive()
                assert isinstance(frame, Envelopes)
                assert frame.envelopes == ()
                is_end = frame.is_caught_up
                await line.send(Read(frame.until))

    asyncio.run(main())


def test_what_a_full_disk_does_not_take_is_refused_and_reading_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = chain(keys_of(1), 2)

    async def main() -> None:
        async with running_relay(tmp_path / "relay.db") as relay:
            async with line_to(relay.url) as line:
                await line.hello()
                await line.send(Upload((first.raw,)))
                await line.acknowledged(1)
            async with line_to(relay.url) as line:
                await line.hello()
                with monkeypatch.context() as full:
                    full.setattr(relay._writing, "commit", fail)
                    await line.send(Upload((second.raw,)))
                    answer = await line.receive()
                assert isinstance(answer, Refused)
                assert answer.code is Refusal.UNAVAILABLE
                assert str(tmp_path) not in answer.text
                await line.send(Want(VersionVector()))
                assert await line.receive() == Envelopes(1, Position(1), True, (first.raw,))
                await line.send(Upload((second.raw,)))
                assert await line.receive() == Stored(1)

    asyncio.run(main())


def fail(jobs: Sequence[Job]) -> list[tuple[rs.Outcome, ...]]:
    raise DiskFull("full")

"""Checks for a transport: messages arrive once, whole and in order, or the connection ends; and it always ends.

`make_pair()` is an async context manager that gives the two ends of a new connection, whichever opened it. Waiting is
bounded by `patience_seconds`: what has not happened by then counts as never. A transport that conforms waits nowhere
but for itself, except in the check of an end that reads nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, TypeVar

from driftlog._protocol.limits import FRAME_BYTES_MAX
from driftlog._transport.base import Connect, Connection, ConnectionLost
from driftlog.testing.conformance.failing import Nonconforming

MakePair = Callable[[], AbstractAsyncContextManager[tuple[Connection, Connection]]]
Check = Callable[[MakePair, float], Coroutine[Any, Any, None]]

PATIENCE_SECONDS: Final = 5.0
SIZES: Final = (0, 1, 125, 126, 127, 4_095, 4_096, 65_535, 65_536, 65_537, FRAME_BYTES_MAX - 1, FRAME_BYTES_MAX)
"""Where protocols change how they write a length, and the largest message there is."""

MANY: Final = 300
LONG_BYTES: Final = 300_000
"""More than a socket gives at a time: a receive that is cancelled has a part of it."""

UNREAD_MESSAGES: Final = 128
"""Of 1 MiB: a transport that takes as much for an end that reads nothing has no bound."""

_T = TypeVar("_T")


async def check_transport(make_pair: MakePair, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
    """Run all checks, each on a new connection; raises `Nonconforming` for the first that fails."""
    for check in TRANSPORT_CHECKS:
        await check(make_pair, patience_seconds)


async def check_connecting(connect: Connect, url: str, *, patience_seconds: float = 20.0) -> None:
    """Check that opening a connection to `url`, where nobody listens, raises `ConnectionLost` with a reason."""
    claim = "opening_a_connection_that_nobody_answers_raises_connection_lost"
    try:
        async with asyncio.timeout(patience_seconds), connect(url):
            pass
    except ConnectionLost as error:
        _check_reason(claim, error)
        return
    except TimeoutError:
        remedy = "bound how long it tries, and raise ConnectionLost then"
        raise Nonconforming(claim, f"nothing happened for {patience_seconds:g} s", remedy) from None
    except Exception as error:
        raise Nonconforming(claim, f"{error!r} came out of it", "turn it into ConnectionLost with a reason") from error
    raise Nonconforming(claim, f"{url} was connected", "raise ConnectionLost on entering; or give a free address")


async def messages_of_every_size_arrive_whole(make_pair: MakePair, patience_seconds: float) -> None:
    """The empty one, those around the edges of length fields, and the largest frame; as `bytes`."""
    claim = messages_of_every_size_arrive_whole.__name__
    async with _pair(claim, make_pair, patience_seconds) as (near, far, within):
        for size in SIZES:
            sent = bytes(at % 251 for at in range(min(size, 4_096))) + b"\x80" * max(0, size - 4_096)
            # Beside each other: the largest need not fit into what lies between the ends.
            _, got = await asyncio.gather(
                within(near.send(sent), f"send() of {size} bytes"), within(far.receive(), "receive()")
            )
            if type(got) is not bytes:
                raise Nonconforming(claim, f"receive() gave a {type(got).__name__}", "give bytes, and nothing else")
            if got != sent:
                seen = f"{size} bytes were sent, and {len(got)} bytes, not the same, arrived"
                raise Nonconforming(claim, seen, "send a message's length with it, and wait for all of it")


async def messages_arrive_in_the_order_in_which_they_were_sent(make_pair: MakePair, patience_seconds: float) -> None:
    """And each one once, in both directions."""
    claim = messages_arrive_in_the_order_in_which_they_were_sent.__name__
    sent = [f"message {number}".encode() for number in range(MANY)]
    async with _pair(claim, make_pair, patience_seconds) as (near, far, within):
        for source, target in ((near, far), (far, near)):

            async def send_all(source: Connection = source) -> None:
                for data in sent:
                    await source.send(data)

            async def receive_all(target: Connection = target) -> list[bytes]:
                return [await target.receive() for _ in sent]

            _, got = await asyncio.gather(
                within(send_all(), "send() of many messages"), within(receive_all(), "receive() of as many")
            )
            for number, (there, here) in enumerate(zip(sent, got, strict=True)):
                if there != here:
                    seen = f"message {number} of {MANY} arrived as {here[:40]!r} in place of {there!r}"
                    raise Nonconforming(
                        claim, seen, "keep one queue, in order, and neither join, split nor repeat messages"
                    )


async def both_ends_may_send_at_once_while_they_receive(make_pair: MakePair, patience_seconds: float) -> None:
    """A task that receives must not keep another from sending."""
    claim = both_ends_may_send_at_once_while_they_receive.__name__
    async with _pair(claim, make_pair, patience_seconds) as (near, far, within):
        receiving = [asyncio.ensure_future(end.receive()) for end in (near, far)]
        try:
            await asyncio.sleep(0)
            await within(asyncio.gather(near.send(b"to far"), far.send(b"to near")), "send() while receive() waits")
            got = await within(asyncio.gather(*receiving), "receive() of what was sent meanwhile")
        finally:
            for task in receiving:
                task.cancel()
        if got != [b"to near", b"to far"]:
            raise Nonconforming(claim, f"the ends received {got}", "keep the two directions apart")


async def a_receive_that_is_cancelled_loses_no_message(make_pair: MakePair, patience_seconds: float) -> None:
    """Cancelled before the message, while it is on its way, in the middle of a long one, and when it is there already."""
    claim = a_receive_that_is_cancelled_loses_no_message.__name__
    short = [b"%d" % number for number in range(30)]
    long = [bytes([number]) * LONG_BYTES for number in range(20)]
    async with _pair(claim, make_pair, patience_seconds) as (near, far, within):
        got: list[bytes] = []
        for data, turns in [
            *((data, at % 10) for at, data in enumerate(short)),
            *zip(long, range(len(long)), strict=True),
        ]:
            receiving = asyncio.ensure_future(far.receive())
            await asyncio.sleep(0)
            sending = asyncio.ensure_future(near.send(data))
            if len(data) < LONG_BYTES:
                await within(sending, "send()")
            for _ in range(turns):
                await asyncio.sleep(0)
            receiving.cancel()
            # It may have got the message all the same: then it counts as received.
            await asyncio.wait([receiving])
            if not receiving.cancelled():
                got.append(receiving.result())
            elif len(data) == LONG_BYTES:
                # It need not fit into what lies between the ends: somebody must read for send() to return.
                got += await _received(far, 1, patience_seconds)
            if (await asyncio.wait([sending], timeout=patience_seconds))[1]:
                sending.cancel()
                break
        got += await _received(far, len(short) + len(long) - len(got), patience_seconds)
        sent = [*short, *long]
        if got != sent:
            lost = next(
                (at for at, (there, here) in enumerate(zip(sent, got, strict=False)) if there != here), len(got)
            )
            seen = (
                f"of {len(sent)} messages, number {lost}, of {len([*sent, b''][lost])} bytes, did not arrive as it was"
            )
            remedy = (
                "take a message out in the step that gives it to the caller, and keep what has come of one till then"
            )
            raise Nonconforming(claim, seen, remedy)


async def _received(end: Connection, count: int, seconds: float) -> list[bytes]:
    """Receive up to `count` messages, until nothing comes for so long."""
    got: list[bytes] = []
    try:
        while len(got) < count:
            async with asyncio.timeout(seconds):
                got.append(await end.receive())
    except (TimeoutError, ConnectionLost):
        pass
    return got


async def what_was_sent_before_closing_arrives_and_nothing_after(make_pair: MakePair, patience_seconds: float) -> None:
    """Closing sends what waits first. Once the other end has heard of the end, it hears nothing more."""
    claim = what_was_sent_before_closing_arrives_and_nothing_after.__name__
    sent = [bytes([number]) * 10_000 for number in range(20)]
    async with _pair(claim, make_pair, patience_seconds) as (near, far, within):

        async def send_and_close() -> None:
            for data in sent:
                await near.send(data)
            await near.close("all is said")

        async def receive_to_the_end() -> list[bytes]:
            got: list[bytes] = []
            try:
                while len(got) <= len(sent):
                    got.append(await far.receive())
            except ConnectionLost as error:
                _check_reason(claim, error)
            return got

        _, got = await asyncio.gather(
            within(send_and_close(), "close()"), within(receive_to_the_end(), "receive() up to the end")
        )
        if got != sent:
            seen = f"{len(sent)} messages were sent before close(), and {len(got)} arrived before ConnectionLost"
            raise Nonconforming(
                claim, seen, "close() waits for what was sent to be on its way; nothing is sent after it"
            )
        for _ in range(3):
            await _expect_lost(
                claim, within(far.receive(), "receive() after the end"), "once it has raised ConnectionLost"
            )


async def an_end_that_was_closed_sends_and_receives_no_more(make_pair: MakePair, patience_seconds: float) -> None:
    """Its own calls raise `ConnectionLost`; one that waits is woken by it."""
    claim = an_end_that_was_closed_sends_and_receives_no_more.__name__
    async with _pair(claim, make_pair, patience_seconds) as (near, _, within):
        waiting = asyncio.ensure_future(near.receive())
        await asyncio.sleep(0)
        await within(near.close("enough"), "close()")
        await _expect_lost(
            claim, within(waiting, "receive() that waited at the end that closes"), "when its end is closed"
        )
        await _expect_lost(claim, within(near.receive(), "receive() after close()"), "after close()")
        await _expect_lost(claim, within(near.send(b"x"), "send() after close()"), "after close()")


async def sending_to_an_end_that_has_closed_raises_before_long(make_pair: MakePair, patience_seconds: float) -> None:
    """Some messages may still be taken, until the news has arrived."""
    claim = sending_to_an_end_that_has_closed_raises_before_long.__name__
    async with _pair(claim, make_pair, patience_seconds) as (near, far, within):
        await within(far.close("enough"), "close()")

        async def send_until_told() -> None:
            while True:
                await near.send(b"is anybody there")
                await asyncio.sleep(0)

        await _expect_lost(
            claim, within(send_until_told(), "send() to an end that has closed"), "once the other end has closed"
        )


async def closing_again_or_after_the_other_end_raises_nothing(make_pair: MakePair, patience_seconds: float) -> None:
    """`close` is what is done when all else has failed: it ends, and has nothing to say."""
    claim = closing_again_or_after_the_other_end_raises_nothing.__name__
    async with _pair(claim, make_pair, patience_seconds) as (near, far, within):
        # Longer than some protocols' field for it, and cut in the middle of a character there.
        for end, reason in ((near, ""), (near, "again"), (far, "ü" * 200), (far, "again")):
            try:
                await within(end.close(reason), "close()")
            except Nonconforming:
                raise
            except Exception as error:
                raise Nonconforming(
                    claim, f"close({reason[:10]!r}) raised {error!r}", "let close() never raise"
                ) from error


async def an_end_that_reads_nothing_is_not_sent_to_without_bound(make_pair: MakePair, patience_seconds: float) -> None:
    """Sending waits, or raises `ConnectionLost`: memory is bounded. Closing does not wait for that end either."""
    claim = an_end_that_reads_nothing_is_not_sent_to_without_bound.__name__
    async with _pair(claim, make_pair, patience_seconds) as (near, _, within):
        taken = 0
        try:
            async with asyncio.timeout(patience_seconds):
                while taken < UNREAD_MESSAGES:
                    await near.send(bytes(1 << 20))
                    taken += 1
        except (TimeoutError, ConnectionLost):
            pass
        else:
            seen = f"send() took {taken} messages of 1 MiB that nobody received"
            raise Nonconforming(claim, seen, "let send() wait, or raise ConnectionLost, past some MiB")
        await within(near.close("it reads nothing"), "close() towards an end that reads nothing", CLOSE_SECONDS_MAX)


CLOSE_SECONDS_MAX: Final = 10.0
"""What is within a few seconds, and more on a busy machine."""

TRANSPORT_CHECKS: Final[tuple[Check, ...]] = (
    messages_of_every_size_arrive_whole,
    messages_arrive_in_the_order_in_which_they_were_sent,
    both_ends_may_send_at_once_while_they_receive,
    a_receive_that_is_cancelled_loses_no_message,
    what_was_sent_before_closing_arrives_and_nothing_after,
    an_end_that_was_closed_sends_and_receives_no_more,
    sending_to_an_end_that_has_closed_raises_before_long,
    closing_again_or_after_the_other_end_raises_nothing,
    an_end_that_reads_nothing_is_not_sent_to_without_bound,
)
"""All checks, for a test of each: `await check(make_pair, patience_seconds)`."""


class _Within:
    """Awaits for as long as there is patience."""

    def __init__(self, claim: str, patience_seconds: float) -> None:
        self._claim = claim
        self._patience_seconds = patience_seconds

    async def __call__(self, awaitable: Awaitable[_T], what: str, seconds_min: float = 0) -> _T:
        seconds = max(self._patience_seconds, seconds_min)
        timeout = asyncio.timeout(seconds)
        try:
            async with timeout:
                return await awaitable
        except TimeoutError:
            if not timeout.expired():
                raise
            remedy = "bound it: nothing on a connection may wait for ever once the other end has done its part"
            raise Nonconforming(self._claim, f"{what} had not ended after {seconds:g} s", remedy) from None


@asynccontextmanager
async def _pair(
    claim: str, make_pair: MakePair, patience_seconds: float
) -> AsyncIterator[tuple[Connection, Connection, _Within]]:
    async with make_pair() as (near, far):
        yield near, far, _Within(claim, patience_seconds)


async def _expect_lost(claim: str, call: Awaitable[object], when: str) -> None:
    try:
        got = await call
    except ConnectionLost as error:
        _check_reason(claim, error)
    except Nonconforming:
        raise
    except Exception as error:
        raise Nonconforming(
            claim, f"{error!r} was raised {when}", "turn it into ConnectionLost with a reason"
        ) from error
    else:
        raise Nonconforming(claim, f"{got!r} came {when}", "raise ConnectionLost there, each time")


def _check_reason(claim: str, error: ConnectionLost) -> None:
    if not str(error).strip():
        raise Nonconforming(claim, "ConnectionLost has no text", "say why the connection ended, to a person") from error

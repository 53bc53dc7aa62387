"""The network between hosts: messages take a while, arrive whole and in order, or the connection ends; unless a fault says
otherwise.

A fault is a tap, which sees each message and gives what becomes of it, or a direction that is shut. What is sent into a
shut direction waits there, as in a sender's buffer, and arrives when it is opened again if the connection still stands.
"""

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from driftlog._transport.base import ConnectionLost
from driftlog.testing.simulation.loop import Host, VirtualLoop

OPEN_MS_MAX: Final = 15_000
"""As long as the shipped transport tries to open a connection."""
LATENCY_MS: Final = (1, 80)


@dataclass(frozen=True, slots=True)
class Passage:
    """A message, and how it arrives: so much later than it would, and after those before it or whenever it likes."""

    data: bytes
    delay_ms: int = 0
    is_in_order: bool = True


Tap = Callable[["End", bytes], list[Passage]]
"""Sees what an end sends, and gives what the other end is to receive."""


class End:
    """One end of a connection."""

    def __init__(self, network: "Network", host: Host, number: int) -> None:
        self.host = host
        self.number = number
        self.is_open = True
        self.is_tampered_with = False
        """Something that it sent did not arrive once, whole and in order, as a transport promises."""
        self.other: End
        self.sent: list[bytes] = []
        """What it sent so far, for faults that repeat it."""
        self._network = network
        self._inbox: deque[bytes] = deque()
        self._lost: str | None = None
        self._waiting: asyncio.Future[None] | None = None
        self._last_arrival_ms = 0

    async def send(self, data: bytes) -> None:
        """Hand over one message."""
        if not self.is_open or self._lost is not None:
            raise ConnectionLost(self._lost or "the connection was closed")
        self._network.carry(self, data)

    async def receive(self) -> bytes:
        """Give the next message."""
        while not self._inbox:
            if self._lost is not None or not self.is_open:
                raise ConnectionLost(self._lost or "the connection was closed")
            self._waiting = self._network.loop.create_future()
            await self._waiting
        return self._inbox.popleft()

    async def close(self, reason: str) -> None:
        """Close; the other end hears of it after what was sent."""
        if self.is_open:
            self.is_open = False
            self._network.carry_end(self, reason or "the other end closed the connection")
            self._wake()

    def allow_full_frames(self) -> None:
        """Frames of any size pass here."""

    # --- what the network does -----------------------------------------------------------------------------------------

    def arrival_ms(self, at_ms: int, *, is_in_order: bool) -> int:
        """Give when a message arrives that would by itself at a time."""
        if is_in_order:
            at_ms = self._last_arrival_ms = max(at_ms, self._last_arrival_ms)
        return at_ms

    def deliver(self, data: bytes) -> None:
        """Receive a message."""
        if self.is_open and self._lost is None:
            self._inbox.append(data)
            self._wake()

    def lose(self, reason: str) -> None:
        """Hear that the connection has ended."""
        if self._lost is None:
            self._lost = reason
            self._wake()

    def vanish(self) -> None:
        """Be gone without a word, with the process that held this end."""
        self.is_open = False
        self._lost = "the process has died"

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


Accept = Callable[[End], None]
Door = Callable[[Host], tuple[Host, Accept] | None]
"""Says which process answers a host that knocks, None if nobody does."""


class Network:
    """All connections."""

    def __init__(self, loop: VirtualLoop, rng: random.Random) -> None:
        self.loop = loop
        self.taps: dict[int, Tap] = {}
        self.watch: Callable[[End, bytes], None] = lambda _, __: None
        """Told of each message before a tap sees it."""
        self.doors: dict[str, Door] = {}
        self.ends: dict[int, End] = {}
        """The open ends, by number; those that devices opened have even numbers."""
        self.shut: dict[tuple[str, str], int] = {}
        """How often each direction, from a host's name to another's, is shut."""
        self._held_back: list[tuple[tuple[str, str], Callable[[], None]]] = []
        self._rng = rng
        self._count = 0

    @asynccontextmanager
    async def connect(self, host: Host, url: str) -> AsyncIterator[End]:
        """Open a connection from a host."""
        await asyncio.sleep(self._rng.randint(*LATENCY_MS) / 1000)
        door = self.doors.get(url)
        answer = None if door is None else door(host)
        if answer is None:
            raise ConnectionLost(f"nothing answers at {url}: is the relay running?")
        there, accept = answer
        if self._is_shut(host, there) or self._is_shut(there, host):
            await asyncio.sleep(OPEN_MS_MAX / 1000)
            raise ConnectionLost(f"{url} did not answer")
        end, other = End(self, host, self._count), End(self, there, self._count + 1)
        self._count += 2
        end.other, other.other = other, end
        self.ends[end.number], self.ends[other.number] = end, other
        there.post(accept, other)
        try:
            yield end
        finally:
            await end.close("")

    def carry(self, end: End, data: bytes) -> None:
        """Take a message to the other end, through all taps."""
        self.loop.trace.data(data)
        self.watch(end, data)
        passages = [Passage(data)]
        for tap in list(self.taps.values()):
            passages = [
                Passage(out.data, into.delay_ms + out.delay_ms, into.is_in_order and out.is_in_order)
                for into in passages
                for out in tap(end, into.data)
            ]
        end.sent.append(data)
        if [(passage.data, passage.is_in_order) for passage in passages] != [(data, True)]:
            end.is_tampered_with = True
        for passage in passages:
            at_ms = self.loop.now_ms + self._rng.randint(*LATENCY_MS) + passage.delay_ms
            self._bring(end, at_ms, end.other.deliver, passage.data, is_in_order=passage.is_in_order)

    def carry_end(self, end: End, reason: str) -> None:
        """Tell the other end that this one has closed."""
        self.ends.pop(end.number, None)
        self._bring(end, self.loop.now_ms + self._rng.randint(*LATENCY_MS), end.other.lose, reason)

    def cut(self, end: End, reason: str = "the connection was lost") -> None:
        """End a connection for both its ends, at once."""
        for one in (end, end.other):
            self.ends.pop(one.number, None)
            one.host.post(one.lose, reason)

    def leave(self, host: Host) -> None:
        """Take away the ends of a process that has died; its machine tells the others, if they can be reached."""
        for end in [end for end in self.ends.values() if end.host is host]:
            end.vanish()
            self.carry_end(end, "the connection was reset")

    def shut_direction(self, source: str, target: str) -> None:
        """Let nothing pass from one host to another."""
        self.shut[source, target] = self.shut.get((source, target), 0) + 1

    def open_direction(self, source: str, target: str) -> None:
        """Let pass again, what has waited first."""
        self.shut[source, target] -= 1
        if not self.shut[source, target]:
            del self.shut[source, target]
        waiting, self._held_back = self._held_back, []
        for direction, bring in waiting:
            if direction in self.shut:
                self._held_back.append((direction, bring))
            else:
                bring()

    def _bring(
        self,
        end: End,
        at_ms: int,
        method: Callable[[str], None] | Callable[[bytes], None],
        what: object,
        *,
        is_in_order: bool = True,
    ) -> None:
        target = end.other.host
        if self._is_shut(end.host, target):

            def again() -> None:
                # What has waited must not overtake what was sent before it and is late.
                self._bring(end, self.loop.now_ms + 1, method, what, is_in_order=is_in_order)

            self._held_back.append(((end.host.name, target.name), again))
            return
        arrival_ms = end.arrival_ms(at_ms, is_in_order=is_in_order)
        self.loop.at(arrival_ms, target, lambda: method(what))  # type: ignore[arg-type]  # what fits the method, as called above

    def _is_shut(self, source: Host, target: Host) -> bool:
        return (source.name, target.name) in self.shut

"""Each envelope judged by itself, before it waits for the writer: its shape, its space, its signature.

Signatures are the long part of an upload, about 70 µs each, and cost a stranger nothing to send wrong. They are checked
neither on the event loop nor on the writer's thread, but on a few threads that take a slice of one connection's upload at
a time: who sends much waits for himself, and everybody else for one slice of each of the others.

What fails here no honest device sends: it keeps only what it has checked in the same way. So the first such envelope ends
the check, and the upload it came in is not stored.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from driftlog._core.envelope import Envelope, parse_envelope
from driftlog._core.ids import SpaceId
from driftlog._core.wire import Malformed
from driftlog._crypto.verify import is_authentic
from driftlog._protocol.messages import Refusal
from driftlog._protocol.relay_session import Rejected

CHECKERS: Final = 2
"""Threads. libsodium works without the interpreter's lock, parsing does not: more of them only stand in its way."""

SLICE_ENVELOPES_MAX: Final = 64
"""About 5 ms, then another connection has its turn."""


class Checks:
    """The threads that check. Used on the event loop; each connection asks for one upload at a time."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(CHECKERS, "driftlog-relay-checker")

    async def check(self, space: SpaceId, raws: tuple[bytes, ...]) -> tuple[Envelope, ...] | Rejected:
        """Give the envelopes parsed, or what is wrong with the first that no honest device would have sent."""
        loop = asyncio.get_running_loop()
        checked: list[Envelope] = []
        for begin in range(0, len(raws), SLICE_ENVELOPES_MAX):
            part = raws[begin : begin + SLICE_ENVELOPES_MAX]
            found = await loop.run_in_executor(self._threads, _check_all, space, part)
            if isinstance(found, Rejected):
                return found
            checked += found
        return tuple(checked)

    def stop(self) -> None:
        """End the threads."""
        self._threads.shutdown()


def _check_all(space: SpaceId, raws: tuple[bytes, ...]) -> list[Envelope] | Rejected:
    checked: list[Envelope] = []
    for raw in raws:
        found = inspect(space, raw)
        if isinstance(found, Rejected):
            return found
        checked.append(found)
    return checked


def inspect(space: SpaceId, raw: bytes) -> Envelope | Rejected:
    """Judge an envelope by itself."""
    try:
        envelope = parse_envelope(raw)
    except Malformed as error:
        return Rejected(Refusal.MALFORMED, str(error))
    if envelope.header.space != space:
        return Rejected(Refusal.OTHER_SPACE, f"{envelope} belongs to another space")
    if not is_authentic(envelope):
        return Rejected(Refusal.BAD_SIGNATURE, f"{envelope} does not bear that device's signature")
    return envelope

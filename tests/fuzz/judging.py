"""What an input may do: be read, or be refused in the documented way, within bounds of time and memory (P25).

Time is the CPU time of the thread, and what seems slow is measured again by itself, the least of four counting: another
process's work is no finding. Memory is what Python allocates, counted at the request: a length that is allocated before it
is checked shows even if the memory is never touched.
"""

import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field

from tests.fuzz.trees import Node

MEBIBYTE = 1 << 20

MEMORY_FLOOR_BYTES = 256 << 10
MEMORY_PER_BYTE = 100
"""The worst MessagePack, empty maps, takes 72 bytes for one."""
MEMORY_BYTES_MAX = 16 * MEBIBYTE

TIME_FLOOR_MS = 10.0
TIME_MS_PER_MEBIBYTE = 40.0
"""With the floor, the 50 ms of P25."""

REFUSAL_CHARS_MAX = 1_000
"""A refusal is shown to people, and sent to other devices: it names what is wrong, and does not repeat it."""


@dataclass(frozen=True)
class Target:
    """One decoder: how it is called, what it may raise, and what it reads."""

    name: str
    call: Callable[[bytes], bytes | None]
    """Gives what it read, encoded again, where the format is canonical; else None."""
    refusals: tuple[type[Exception], ...]
    seeds: tuple[Node, ...]
    time_factor: float = 1.0
    """How many times the bound of time it has, with the reason where it is set."""
    memory_factor: float = 1.0
    inputs: int = 1_000
    """How many mutated inputs CI gives it."""
    around: Callable[[], AbstractContextManager[object]] = field(default=nullcontext)


@dataclass(frozen=True)
class Finding:
    """What a decoder did that none may."""

    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


def judge(target: Target, data: bytes, *, slowness: float = 1.0) -> tuple[Finding | None, bool]:
    """Give the decoder an input. Tells what is wrong, None for nothing, and whether the input was read.

    `slowness` stretches the bound of time, for machines of which nothing is known.
    """
    (finding, is_read), took_ms, peak = _measured(target, data)
    if finding is None:
        finding = _memory(target, data, peak) or _time(target, data, took_ms, slowness)
    return finding, is_read


def _measured(target: Target, data: bytes) -> tuple[tuple[Finding | None, bool], float, int]:
    """Give an outcome, the milliseconds that it took, and the bytes that were allocated at most."""
    with traced():
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        began = time.thread_time()
        outcome = _outcome(target, data)
        took_ms = (time.thread_time() - began) * 1000
        return outcome, took_ms, tracemalloc.get_traced_memory()[1] - before


@contextmanager
def traced() -> Iterator[None]:
    """Count what Python allocates within; around several inputs, it is begun once for all of them.

    Each time that it ends, CPython keeps something: after millions of inputs, all that a campaign may have.
    """
    if tracemalloc.is_tracing():
        yield
        return
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()


@contextmanager
def untraced() -> Iterator[None]:
    """Leave off counting within: to trace ten thousand small allocations takes much longer than to make them."""
    is_traced = tracemalloc.is_tracing()
    tracemalloc.stop()
    try:
        yield
    finally:
        if is_traced:
            tracemalloc.start()


def _outcome(target: Target, data: bytes) -> tuple[Finding | None, bool]:
    try:
        again = target.call(data)
    except target.refusals as refusal:
        length = len(str(refusal))
        if length > REFUSAL_CHARS_MAX:
            return Finding("refusal", f"{type(refusal).__name__} of {length} characters: {str(refusal)[:80]!r}"), False
        return None, False
    except Exception as error:  # noqa: BLE001 - whatever a decoder raises besides its refusals is what is looked for
        return Finding("raised", f"{type(error).__name__}: {str(error)[:200]}"), False
    if again is not None and again != data:
        return Finding("not canonical", f"read, and encoded again otherwise: {again[:60].hex()}"), True
    return None, True


def _memory(target: Target, data: bytes, peak: int) -> Finding | None:
    most = min(MEMORY_BYTES_MAX, MEMORY_FLOOR_BYTES + MEMORY_PER_BYTE * len(data)) * target.memory_factor
    if peak > most:
        # Once in some thousand inputs it is a table of Python's own that grows, such as that of interned text.
        peak = min(peak, _measured(target, data)[2])
    if peak > most:
        return Finding("memory", f"{peak} bytes for an input of {len(data)} (bound {most:.0f})")
    return None


def _time(target: Target, data: bytes, took_ms: float, slowness: float) -> Finding | None:
    most = (TIME_FLOOR_MS + TIME_MS_PER_MEBIBYTE * len(data) / MEBIBYTE) * target.time_factor * slowness
    if took_ms <= most:
        return None
    with untraced():
        for _ in range(3):
            began = time.thread_time()
            _outcome(target, data)
            took_ms = min(took_ms, (time.thread_time() - began) * 1000)
    if took_ms > most:
        return Finding("time", f"{took_ms:.0f} ms of CPU for an input of {len(data)} bytes (bound {most:.0f})")
    return None

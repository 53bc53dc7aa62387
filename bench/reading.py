"""What an envelope's plaintext costs whoever reads it, at worst: a mebibyte made to be slow, whether read or refused.

By the process's own time, the least of several runs; and by what Python allocates meanwhile.
"""

import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from bench.rounds import Amount
from driftlog._core.batch import Batch, decode_batch, encode_batch, split_records
from driftlog._core.clock import Hlc
from driftlog._core.event import Record
from driftlog._core.limits import (
    ENVELOPE_EVENTS_MAX,
    EVENT_PAYLOAD_BYTES_MAX,
    NESTED_VALUES_MAX,
)
from driftlog._core.wire import Malformed

RUNS: Final = 5
BATCH_BYTES: Final = 900 << 10
"""With heads and padding, as much as fits in an envelope."""
_OTHER_BYTES: Final = 40
"""Of an event, beside its values."""
MILLISECONDS_MAX: Final = 50
MEBIBYTES_MAX: Final = 16


def _chain(depth: int) -> list[Any]:
    return [] if depth == 0 else [_chain(depth - 1)]


SHAPES: Final[dict[str, Callable[[int], object]]] = {
    "text": "x".__mul__,
    "integers in one list": lambda size: [0] * min(size, NESTED_VALUES_MAX),
    "lists of one integer": lambda size: [[0]] * min(size // 2, NESTED_VALUES_MAX // 2),
    "chains of lists, 13 deep": lambda size: [_chain(12)] * min(size // 13, NESTED_VALUES_MAX // 13),
    "maps of one list": lambda size: [{"a": []}] * min(size // 4, NESTED_VALUES_MAX // 2),
}


def measure(directory: Path) -> Iterator[Amount]:
    """Read envelopes full of each shape, in a thousand small events and in a few large ones."""
    del directory
    for shape, values in SHAPES.items():
        for size in (BATCH_BYTES // ENVELOPE_EVENTS_MAX, EVENT_PAYLOAD_BYTES_MAX):
            payload = msgspec.msgpack.encode({"k": values(size - _OTHER_BYTES)})
            events = min(BATCH_BYTES // len(payload), ENVELOPE_EVENTS_MAX)
            records = tuple(Record(Hlc(hlc), 0, "a", 1, payload) for hlc in range(1, events + 1))
            yield from _amounts(shape, next(split_records(records)))
            yield from _amounts(shape, records)


def _amounts(shape: str, records: tuple[Record, ...]) -> Iterator[Amount]:
    plain = encode_batch(Batch(records, ()))
    milliseconds = min(_seconds(plain) for _ in range(RUNS)) * 1_000
    tracemalloc.start()
    is_read = _is_read(plain)
    mebibytes = tracemalloc.get_traced_memory()[1] / (1 << 20)
    tracemalloc.stop()
    what = f"{'read' if is_read else 'refuse'} {len(records):,} events of {shape}"
    yield Amount(what, milliseconds, "ms", f"≤ {MILLISECONDS_MAX}", milliseconds <= MILLISECONDS_MAX)
    yield Amount(what, mebibytes, "MiB", f"≤ {MEBIBYTES_MAX}", mebibytes <= MEBIBYTES_MAX)


def _seconds(plain: bytes) -> float:
    begin = time.process_time()
    _is_read(plain)
    return time.process_time() - begin


def _is_read(plain: bytes) -> bool:
    try:
        decode_batch(plain)
    except Malformed:
        return False
    return True

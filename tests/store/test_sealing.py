"""What is put into envelopes, where rot has mixed two histories of one key."""

from driftlog._core.clock import Hlc
from driftlog._core.event import Record
from driftlog._store.sealing import _increasing


def record(hlc: int, payload: bytes) -> Record:
    return Record(Hlc(hlc), 0, "a", 1, payload)


def test_of_equal_stamps_one_event_is_sealed_because_a_chain_cannot_hold_both() -> None:
    first, second, third = record(1, b"a"), record(1, b"b"), record(2, b"c")

    assert _increasing([first, second, third]) == [first, third]
    assert _increasing([first]) == [first]
    assert _increasing([]) == []

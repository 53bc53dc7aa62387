"""Any bytes get the documented refusal or are read, within bounds (P25), and a fuzzer that finds nothing would find bugs."""

import struct
from collections.abc import Callable

import msgspec
import pytest

from driftlog._core import batch, genesis, values, version_vector, wire
from driftlog._core.names import is_name
from driftlog._core.version_vector import Head
from driftlog._sqlite import keys
from driftlog._store import meta, recording
from driftlog.errors import DriftlogError
from tests.fuzz.campaign import Tally, seeded, take
from tests.fuzz.judging import Finding, Target, judge
from tests.fuzz.mutating import FromBytes, mutated
from tests.fuzz.regressions import REGRESSIONS
from tests.fuzz.targets import BY_NAME, TARGETS
from tests.fuzz.trees import render

SLOWNESS = 5.0
"""Of a machine of which nothing is known; the campaign measures with 1."""
SLOWNESS_OF_WHAT_IS_FOUND = 2.0
"""For a mistake that must be found by its time, also on a fast machine."""


def found_in(target: Target, inputs: int, slowness: float = SLOWNESS) -> Tally:
    tally = Tally()
    for seed in range(inputs):
        take(target, tally, f"seed {seed}", seeded(target, seed), folder=None, slowness=slowness)
        if tally.findings:
            break
    return tally


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS, ids=[target.name for target in TARGETS])
def test_mutated_inputs_are_read_or_refused_as_documented_within_bounds(target: Target) -> None:
    tally = found_in(target, target.inputs)
    assert not tally.findings
    # A mutator that breaks every input tests nothing but the first check.
    assert tally.read > target.inputs // 50


@pytest.mark.parametrize("name", REGRESSIONS)
def test_what_once_went_wrong_does_not_again(name: str) -> None:
    target, data = REGRESSIONS[name]
    finding, _ = judge(BY_NAME[target], data, slowness=SLOWNESS)
    assert finding is None


@pytest.mark.parametrize("target", TARGETS, ids=[target.name for target in TARGETS])
def test_every_target_reads_a_seed(target: Target) -> None:
    judged = [judge(target, render(seed), slowness=SLOWNESS) for seed in target.seeds]
    assert not [finding for finding, _ in judged if finding]
    assert any(is_read for _, is_read in judged)


def test_every_refusal_is_documented() -> None:
    internal = {wire.Malformed, values.OutsideDomain}
    for target in TARGETS:
        for refusal in target.refusals:
            assert issubclass(refusal, DriftlogError) or refusal in internal or refusal.__doc__ is not None


def test_choices_from_bytes_repeat_an_input_and_end() -> None:
    target = BY_NAME["batch"]
    for data in (b"", b"\xff" * 40, bytes(range(200))):
        assert mutated(FromBytes(data), target.seeds) == mutated(FromBytes(data), target.seeds)


# --- planted bugs ----------------------------------------------------------------------------------------------------


def _rare_combination(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two valid fields that nobody had thought of together."""
    decode = batch.decode_batch

    def planted(plain: bytes) -> batch.Batch:
        read = decode(plain)
        stamps = [record.hlc for record in read.records]
        assert not (read.heads and len(stamps) > 1 and stamps[0] < 1 << 20), "an early stamp with heads"
        return read

    monkeypatch.setattr(batch, "decode_batch", planted)


def _allocation_before_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """A length that is believed."""
    take_bytes = wire.Reader.take

    def planted(self: wire.Reader, count: int, field: str) -> bytes:
        if count > self.left():
            bytearray(min(count, 1 << 26))
        return take_bytes(self, count, field)

    def sized(self: wire.Reader, field: str, most: int) -> bytes:
        del most
        return self.take(self.uint(field), field)

    monkeypatch.setattr(wire.Reader, "take", planted)
    monkeypatch.setattr(wire.Reader, "sized", sized)


def _undecoded_text_behind_a_checksum(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is sealed or summed is taken to be well-formed."""
    monkeypatch.setattr(genesis, "UnicodeDecodeError", KeyError, raising=False)


def _missing_key_behind_a_seal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name in a signed and sealed batch that a table does not hold."""
    known = {"TodoAdded": 1, "TodoCompleted": 1, "unknown": 1, "critical": 1}
    check = is_name
    monkeypatch.setattr(
        batch, "is_name", lambda name: check(name) and (name.startswith("driftlog.") or known[name] > 0)
    )


def _quadratic(monkeypatch: pytest.MonkeyPatch) -> None:
    """A payload's shape is not looked at before a dict is made of it."""
    decode, fields = msgspec.msgpack.Decoder().decode, values._fields

    def planted(payload: bytes) -> dict[str, object]:
        decode(payload)
        return fields(payload)

    monkeypatch.setattr(values, "_fields", planted)


def _two_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    """An order that is no longer checked."""
    monkeypatch.setattr(version_vector, "pairwise", lambda _heads: ())


def _struct_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A field that is unpacked without a look at its size."""
    decode = version_vector.VersionVector.decode

    def planted(data: bytes) -> version_vector.VersionVector:
        struct.unpack_from(">BB", data)
        return decode(data)

    monkeypatch.setattr(version_vector.VersionVector, "decode", staticmethod(planted))


def _unread_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo data is MessagePack, so it is of rows."""
    monkeypatch.setattr(recording, "UNREADABLE", (msgspec.DecodeError,))


def _unread_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fact of the file has the size with which it was written."""

    def planted(self: meta.Meta) -> meta.Branch:
        batch_seq, hashed, last_hlc = struct.unpack(">Q32sQ", self.get("own_branch") or bytes(48))
        return meta.Branch(Head(batch_seq, hashed) if batch_seq else None, last_hlc)

    monkeypatch.setattr(meta.Meta, "own_branch", planted)


def _key_said_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal repeats what was asked for."""
    monkeypatch.setattr(keys, "_said", repr)


PLANTED: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], str, str]] = {
    "an assertion that a rare combination reaches": (_rare_combination, "batch", "raised"),
    "a length that is allocated before it is checked": (_allocation_before_the_check, "frame-from-relay", "memory"),
    "text that is not UTF-8 behind a checksum": (_undecoded_text_behind_a_checksum, "invite", "raised"),
    "a missing key behind seal and signature": (_missing_key_behind_a_seal, "envelope", "raised"),
    "keys of one hash": (_quadratic, "payload", "time"),
    "a vector with two forms": (_two_forms, "version-vector", "not canonical"),
    "a field that is not there": (_struct_error, "version-vector", "raised"),
    "undo data that is no row's": (_unread_shape, "undo", "raised"),
    "a fact of another size": (_unread_size, "fact", "raised"),
    "a key that is said whole": (_key_said_whole, "why-key", "refusal"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_found_with_the_inputs_that_ci_gives(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant, target_name, kind = PLANTED[name]
    target = BY_NAME[target_name]
    plant(monkeypatch)
    slowness = SLOWNESS_OF_WHAT_IS_FOUND if kind == "time" else SLOWNESS
    findings: list[Finding] = [finding for _, finding, _ in found_in(target, target.inputs, slowness).findings]
    assert [finding.kind for finding in findings] == [kind]

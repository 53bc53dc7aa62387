"""Members that state what is not so are named, and cost an honest device little (P30)."""

import pytest

from driftlog._core.batch import Batch
from driftlog._core.envelope import Envelope
from driftlog._store import stated
from driftlog.space.comparing import REBUILD_EVERY_MS
from tests.space.stating import Fleet, compared, found

HOUR_MS = 3_600_000


def test_a_member_that_lies_is_named_and_costs_one_rebuild_a_day(two: Fleet, rebuilds: list[bytes]) -> None:
    ann, liar = two
    start = two.clock.now_ms
    for number in range(3 * 24):
        two.says(1, f"relevant {number}")
        for again in range(3):
            two.lie(1, bytes([again]) * 32)
            ann.compare_digests()
            assert [one.device for one in ann.status().differing] == [liar.device]
        two.clock.now_ms += HOUR_MS
    days = (two.clock.now_ms - start) // REBUILD_EVERY_MS

    assert days == 3
    assert rebuilds == [ann.device] * days
    assert ann.status().devices


def test_what_was_rebuilt_of_these_very_events_is_not_rebuilt_on_another_word(
    three: Fleet, rebuilds: list[bytes]
) -> None:
    ann, bob, cleo = three
    three.lie(1)
    assert found(ann.compare_digests()) == [(bob.device, "different")]
    three.lie(2)

    assert found(ann.compare_digests()) == [(cleo.device, "different")]
    assert rebuilds == [ann.device]


def test_an_honest_device_is_found_equal_while_another_lies(three: Fleet, rebuilds: list[bytes]) -> None:
    ann, bob, cleo = three
    cleo.state_digest()
    three.share()
    three.lie(1)

    ann.compare_digests()

    assert compared(ann) == {bob.device: "different", cleo.device: "equal"}
    assert rebuilds == [ann.device]


def test_wrong_tables_are_mended_a_day_later_if_somebody_has_lied_before(two: Fleet, rebuilds: list[bytes]) -> None:
    ann, bob = two
    two.lie(1)
    ann.compare_digests()
    two.says(1, "1")
    two.corrupt(0)
    bob.state_digest()
    two.share()

    assert found(ann.compare_digests()) == [(bob.device, "suspected")]
    assert [one.agreement.value for one in ann.status().differing] == ["suspected"]
    assert ann.compare_digests() == (), "no news"
    assert rebuilds == [ann.device]

    two.clock.now_ms += REBUILD_EVERY_MS
    assert found(ann.compare_digests()) == [(bob.device, "mended")]
    assert ann.digest() == bob.digest()
    assert rebuilds == [ann.device] * 2


def test_wrong_tables_that_somebody_rebuilds_meanwhile_are_found_equal(two: Fleet, rebuilds: list[bytes]) -> None:
    ann, bob = two
    two.lie(1)
    ann.compare_digests()
    two.says(1, "1")
    two.corrupt(0)
    bob.state_digest()
    two.share()
    ann.compare_digests()

    ann.rebuild()

    assert found(ann.compare_digests()) == [(bob.device, "equal")]


def test_no_more_statements_are_read_than_an_honest_fleet_makes(two: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stated, "STATEMENTS_MAX", 2)
    ann, bob = two
    ann.state_digest()
    for _ in range(2):
        two.lie(0)

    assert found(bob.compare_digests()) == [(ann.device, "different")]
    with bob._engine.reader.connection() as connection:
        sql, parameters = stated._STATEMENTS, (0, stated.STATEMENTS_MAX)
        assert len(list(stated._read(connection, sql, parameters))) == 2


def test_each_envelope_is_opened_once_however_long_a_device_has_said_nothing_but_that_it_is_here(two: Fleet) -> None:
    ann, bob = two
    source = bob._engine.comparing._source
    open_envelope, opened = source._open_envelope, []

    def counted(raw: bytes) -> tuple[Envelope, Batch]:
        opened.append(raw)
        return open_envelope(raw)

    source._open_envelope = counted
    for number in range(5):
        two.says(0, str(number))
        bob.acknowledge()
        two.share()
        ann.state_digest()
        two.share()
        assert found(bob.compare_digests()) == [(ann.device, "equal")]

    assert len(opened) == len(set(opened)) > 10

"""The decisions about stating, comparing and rebuilding, as functions of what they are made of."""

import pytest

from driftlog import Agreement
from driftlog._core.clock import Hlc, Timestamp
from driftlog._core.ids import DeviceKey, EventHash
from driftlog._core.statement import Statement
from driftlog._store import findings
from driftlog._store.findings import Finding, Findings, Rebuilt, read_findings, write_findings
from driftlog._store.stated import Stated
from driftlog.space.comparing import REBUILD_EVERY_MS, STATE_EVERY_MS, is_due, is_over, judge
from tests.todo_app import todo_app

NOW = 1_800_000_000_000
PLACE = Timestamp(Hlc(1), DeviceKey(b"d" * 32), EventHash(b"h" * 32))


def said(events: bytes = b"e", view: bytes = b"v", program: bytes = b"p", at_ms: int = NOW) -> Stated:
    return Stated(PLACE, at_ms, Statement(program, events, view))


@pytest.mark.parametrize(
    ("last", "rebuilt", "expected"),
    [
        (None, None, True),
        (said(), None, None),
        (said(events=b"x"), None, False),
        (said(events=b"x", at_ms=NOW - STATE_EVERY_MS), None, True),
        (said(events=b"x", at_ms=NOW + 1), None, True),
        (said(program=b"x"), None, False),
        (said(program=b"x", at_ms=NOW - STATE_EVERY_MS), None, True),
        # It was wrong.
        (said(), Rebuilt(NOW, b"e", b"w"), True),
        (said(), Rebuilt(NOW, b"e", b"v"), None),
        (said(), Rebuilt(NOW, b"x", b"w"), None),
        (said(), Rebuilt(NOW - 1, b"e", b"w"), None),
    ],
)
def test_when_a_digest_is_due(last: Stated | None, rebuilt: Rebuilt | None, expected: bool | None) -> None:
    assert is_due(last, b"p", b"e", rebuilt, NOW) is expected


@pytest.mark.parametrize(
    ("stated", "rebuilt", "expected"),
    [
        (b"v", None, Agreement.EQUAL),
        (b"x", None, None),
        (b"x", Rebuilt(NOW, b"e", b"v"), Agreement.DIFFERENT),
        (b"x", Rebuilt(NOW - REBUILD_EVERY_MS, b"e", b"v"), Agreement.DIFFERENT),
        (b"x", Rebuilt(NOW, b"other", b"v"), Agreement.SUSPECTED),
        (b"x", Rebuilt(NOW, b"e", b"other"), Agreement.SUSPECTED),
        (b"x", Rebuilt(NOW - REBUILD_EVERY_MS + 1, b"other", b"v"), Agreement.SUSPECTED),
        (b"x", Rebuilt(NOW - REBUILD_EVERY_MS, b"other", b"v"), None),
        (b"x", Rebuilt(NOW + 1, b"other", b"v"), None),
    ],
)
def test_what_a_comparison_comes_to(stated: bytes, rebuilt: Rebuilt | None, expected: Agreement | None) -> None:
    assert judge(stated, b"v", b"e", rebuilt, NOW) is expected


def test_a_while_is_over_when_it_has_passed_or_the_clock_has_gone_back() -> None:
    assert is_over(None, 10, 0)
    assert not is_over(100, 10, 109)
    assert is_over(100, 10, 110)
    assert is_over(100, 10, 99)


def test_of_more_devices_than_anybody_has_the_latest_findings_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "FINDINGS_MAX", 2)
    with todo_app().open(":memory:") as space, space._engine.writing() as store:
        by_device = {bytes([ms]) * 32: Finding(1, b"h" * 32, Agreement.EQUAL, ms, None) for ms in (3, 1, 2)}
        write_findings(store.meta, Findings(by_device, Rebuilt(NOW, b"e", b"v")))

        kept = read_findings(store.meta)

    assert {found.found_ms for found in kept.by_device.values()} == {2, 3}
    assert kept.rebuilt == Rebuilt(NOW, b"e", b"v")

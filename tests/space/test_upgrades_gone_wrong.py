"""What an upgrade does wrong rejects the event, alike everywhere; it sees its fields and nothing else."""

import sys
from collections.abc import Callable
from typing import Any

import apsw
import pytest

from driftlog import App, Event, Space, State, Transaction, reject
from driftlog.errors import DiskFull
from driftlog.testing import exchange
from tests.space.prices import (
    EVERYTHING,
    TABLES,
    Fields,
    Priced,
    PricedInCents,
    PricedInUnits,
    first_app,
    judged,
    prices,
    third_app,
    to_cents,
)


def refusing(fields: Fields) -> Fields:
    reject(f"{fields['units']} units are too many")


def failing(fields: Fields) -> Fields:
    raise ValueError(f"at {id(fields)}")


def holding_nan(fields: Fields) -> Fields:
    return {"id": fields["id"], "cents": float("nan")}


def endless(fields: Fields) -> Fields:
    return endless(fields)


def holding_itself(fields: Fields) -> Fields:
    fields["self"] = fields
    return fields


def greedy(fields: Fields) -> Fields:
    return {"id": "x" * (1 << 62)}


STEP = "the upgrade of priced from version 1"
FAILURES: dict[str, tuple[Callable[[Fields], Any], str]] = {
    "reject": (refusing, "3 units are too many"),
    "an error of its own": (failing, f"{STEP} raised ValueError"),
    "a field that is not there": (lambda fields: fields["cents"], f"{STEP} raised KeyError"),
    "no return": (lambda _: None, f"{STEP} gave a NoneType instead of a dict of fields"),
    "a list": (lambda fields: [fields], f"{STEP} gave a list instead of a dict of fields"),
    "an event": (
        lambda _: PricedInCents(id="a", cents=1),
        f"{STEP} gave a PricedInCents instead of a dict of fields",
    ),
    "a value that no event may hold": (lambda _: {"id": object()}, f"{STEP} gave fields that no event may hold"),
    "NaN": (holding_nan, f"{STEP} gave fields that no event may hold"),
    "a key that is not text": (lambda _: {1: 2}, f"{STEP} gave fields that no event may hold"),
    "an integer past 64 bits": (lambda _: {"id": 1 << 64}, f"{STEP} gave fields that no event may hold"),
    "text that is not Unicode": (lambda _: {"id": "\ud800"}, f"{STEP} gave fields that no event may hold"),
    "recursion without end": (endless, f"{STEP} raised RecursionError"),
    "a dict in itself": (holding_itself, f"{STEP} gave fields that no event may hold"),
    "all memory": (greedy, f"{STEP} raised MemoryError"),
    "a field of another type": (
        lambda _: {"id": 5, "cents": 5},
        "what the upgrades gave does not fit priced version 3",
    ),
    "a field too few": (lambda _: {"id": "a"}, "what the upgrades gave does not fit priced version 3"),
}


@pytest.mark.parametrize(("from_1", "reason"), FAILURES.values(), ids=FAILURES)
def test_what_an_upgrade_does_wrong_rejects_the_event_in_words_that_are_the_same_everywhere(
    from_1: Callable[[Fields], Any], reason: str
) -> None:
    assert judged(third_app(from_1)) == (State.REJECTED, reason)


def test_a_rejected_event_is_shown_without_its_fields_and_delays_nobody() -> None:
    def picky(fields: Fields) -> Fields:
        return to_cents(fields) if fields["units"] > 0 else reject("free of charge")

    with first_app().open(":memory:") as old, third_app(picky).join(":memory:", old.invite()) as new:
        old.append(PricedInUnits(id="a", units=0), PricedInUnits(id="b", units=1))
        exchange(old, new)
        assert [(entry.event, entry.reason) for entry in new.log()] == [
            (None, "free of charge"),
            (Priced(id="b", cents=100, currency="EUR"), None),
        ]
        assert prices(new) == [("b", 100, "EUR")]


def deep(fields: Fields) -> Fields:
    def descend(depth: int) -> int:
        return depth and descend(depth - 1)

    descend(sys.getrecursionlimit() * 3 // 4)
    return to_cents(fields)


def test_how_deep_the_caller_stands_does_not_decide_what_becomes_of_an_event() -> None:
    def from_a_depth(depth: int, act: Callable[[], object]) -> object:
        return act() if depth == 0 else from_a_depth(depth - 1, act)

    with first_app().open(":memory:") as old, third_app(deep).join(":memory:", old.invite()) as new:
        old.append(PricedInUnits(id="a", units=3))
        sent = list(old.envelopes_for(EVERYTHING))
        from_a_depth(sys.getrecursionlimit() // 2, lambda: new.receive(sent))
        assert prices(new) == [("a", 300, "EUR")]
        assert from_a_depth(sys.getrecursionlimit() // 2, lambda: next(new.log()).event) is not None


def test_what_the_machine_does_within_an_upgrade_is_recorded_nowhere() -> None:
    is_full = [True]

    def on_a_full_disk(fields: Fields) -> Fields:
        if is_full:
            raise apsw.FullError("database or disk is full")
        return to_cents(fields)

    with first_app().open(":memory:") as old, third_app(on_a_full_disk).join(":memory:", old.invite()) as new:
        old.append(PricedInUnits(id="a", units=3))
        sent = list(old.envelopes_for(EVERYTHING))
        with pytest.raises(DiskFull):
            new.receive(sent)
        assert new.status().events == 0
        is_full.clear()
        new.receive(sent)
        assert prices(new) == [("a", 300, "EUR")]
        is_full.append(True)
        with pytest.raises(DiskFull):
            list(new.log())


def test_floats_may_be_given_up_by_an_upgrade_and_not_taken_up() -> None:
    class Weighed(Event, name="priced"):
        id: str
        units: float

    floating = App("org.example.prices", tables=TABLES, floats=True)
    floating.on(Weighed)(lambda tx, event: tx.execute("DELETE FROM price WHERE id = ?", (event.id,)))

    def rounded(fields: Fields) -> Fields:
        return {"id": fields["id"], "cents": round(fields["units"] * 100)}

    for upgrade, state in ((rounded, State.APPLIED), (to_cents, State.REJECTED)):
        with floating.open(":memory:") as old, third_app(upgrade).join(":memory:", old.invite()) as new:
            old.append(Weighed(id="a", units=0.25))
            exchange(old, new)
            assert [entry.state for entry in new.log()] == [state]


# --- an upgrade sees its fields and nothing else ---------------------------------------------------------------------

USES: dict[str, Callable[[Space, Transaction], object]] = {
    "append": lambda space, _: space.append(Priced(id="z", cents=1, currency="EUR")),
    "query": lambda space, _: space.query("SELECT 1"),
    "status": lambda space, _: space.status(),
    "log": lambda space, _: list(space.log()),
    "receive": lambda space, _: space.receive([]),
    "close": lambda space, _: space.close(),
    "a transaction's query": lambda _, tx: tx.query("SELECT 1"),
    "a transaction's append": lambda _, tx: tx.append(Priced(id="z", cents=1, currency="EUR")),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_an_upgrade_that_uses_a_space_is_refused_and_the_space_is_unharmed(
    use: Callable[[Space, Transaction], object],
) -> None:
    def meddling(fields: Fields) -> Fields:
        use(new, tx)
        return to_cents(fields)

    with first_app().open(":memory:") as old, third_app(meddling).join(":memory:", old.invite()) as new:
        old.append(PricedInUnits(id="a", units=3))
        with third_app().open(":memory:") as another, another.transaction() as tx:
            new.receive(old.envelopes_for(EVERYTHING))
            another_events = tx.query("SELECT * FROM price")
        assert another_events == []
        assert [entry.reason for entry in new.log()] == [f"{STEP} raised DriftlogError"]
        new.append(Priced(id="b", cents=1, currency="EUR"))
        assert prices(new) == [("b", 1, "EUR")]


def test_an_upgrade_that_keeps_its_fields_changes_nothing_by_them() -> None:
    kept: list[Fields] = []

    def hoarding(fields: Fields) -> Fields:
        kept.append(fields)
        for other in kept:
            other["units"] += 1
        return {"id": fields["id"], "cents": 5}

    with first_app().open(":memory:") as old, third_app(hoarding).join(":memory:", old.invite()) as new:
        old.append(PricedInUnits(id="a", units=3), PricedInUnits(id="b", units=3))
        exchange(old, new)
        new.rebuild()
        list(new.log())
        assert [fields["id"] for fields in kept] == ["a", "b", "a", "b", "a", "b"]
        assert kept[-1]["units"] == 4
        assert prices(new) == [("a", 5, "EUR"), ("b", 5, "EUR")]

"""Older versions of an event type are read through upgrades, alike on every device, and their bytes stay as they were."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from driftlog import App, Event, Space, State, Transaction, VersionVector, ViewTransaction, reject
from driftlog.errors import DiskFull, InvalidEvent
from driftlog.testing import exchange
from tests.todo_app import Clock
from tests.vectors import formats

EVERYTHING = VersionVector()
TABLES = "CREATE TABLE price (id TEXT PRIMARY KEY, cents INTEGER NOT NULL, currency TEXT NOT NULL) STRICT"


class PricedInUnits(Event, name="priced"):
    id: str
    units: int


class PricedInCents(Event, name="priced", version=2):
    id: str
    cents: int


class Priced(Event, name="priced", version=3):
    id: str
    cents: int
    currency: str


Fields = dict[str, Any]


def first_app() -> App:
    app = App("org.example.prices", tables=TABLES)

    @app.on(PricedInUnits)
    def priced(tx: ViewTransaction, event: PricedInUnits) -> None:
        tx.execute("INSERT INTO price VALUES (?, ?, 'EUR')", (event.id, 100 * event.units))

    return app


def to_cents(fields: Fields) -> Fields:
    return {"id": fields["id"], "cents": 100 * fields["units"]}


def with_currency(fields: Fields) -> Fields:
    fields["currency"] = "EUR"
    return fields


def third_app(
    from_1: Callable[[Fields], Any] = to_cents,
    from_2: Callable[[Fields], Any] = with_currency,
    *,
    floats: bool = False,
) -> App:
    app = App("org.example.prices", tables=TABLES, floats=floats)
    app.upgrade(Priced, from_version=1)(from_1)
    app.upgrade(Priced, from_version=2)(from_2)

    @app.on(Priced)
    def priced(tx: ViewTransaction, event: Priced) -> None:
        tx.execute("INSERT INTO price VALUES (?, ?, ?)", (event.id, event.cents, event.currency))

    return app


def prices(space: Space) -> list[tuple[object, ...]]:
    return [tuple(row) for row in space.query("SELECT * FROM price ORDER BY id")]


def judged(app: App, *, units: int = 3) -> tuple[State, str | None]:
    """Say what the app makes of one event of version 1, on a device that receives it and on one that is updated."""
    with first_app().open(":memory:") as old, app.join(":memory:", old.invite()) as new:
        old.append(PricedInUnits(id="a", units=units))
        new.receive(old.envelopes_for(EVERYTHING))
        [entry] = new.log()
        new.rebuild()
        [again] = new.log()
        assert again == entry
        return entry.state, entry.reason


def test_an_older_version_is_materialized_as_the_declared_one_through_every_step() -> None:
    earlier, later = Clock(1_000), Clock(2_000)
    with (
        first_app().open(":memory:", clock=earlier) as old,
        third_app().join(":memory:", old.invite(), clock=later) as new,
    ):
        old.append(PricedInUnits(id="a", units=3))
        new.append(Priced(id="b", cents=250, currency="CHF"))
        exchange(old, new)

        assert prices(new) == [("a", 300, "EUR"), ("b", 250, "CHF")]
        first, _ = new.log()
        assert (first.name, first.version, first.state) == ("priced", 1, State.APPLIED)
        assert first.event == Priced(id="a", cents=300, currency="EUR")
        assert [entry.state for entry in old.log()] == [State.APPLIED, State.UNKNOWN]


def test_an_event_of_a_version_between_takes_only_the_steps_that_are_left() -> None:
    second = App("org.example.prices", tables=TABLES)
    second.on(PricedInCents)(lambda tx, event: tx.execute("DELETE FROM price WHERE id = ?", (event.id,)))
    with second.open(":memory:") as between, third_app().join(":memory:", between.invite()) as new:
        between.append(PricedInCents(id="a", cents=5))
        exchange(between, new)
        assert prices(new) == [("a", 5, "EUR")]


def test_the_log_keeps_the_bytes_that_were_appended_and_passes_them_on(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with first_app().open(path) as space:
        space.append(PricedInUnits(id="a", units=3))
        sent = list(space.envelopes_for(EVERYTHING))
    with third_app().open(path) as space:
        assert prices(space) == [("a", 300, "EUR")]
        assert list(space.envelopes_for(EVERYTHING)) == sent
        [entry] = formats.open_envelope(sent[0], space._engine.keys.epoch_key).entries
        assert (entry.version, entry.fields()) == (1, {"id": "a", "units": 3})


def test_what_an_updated_app_shows_is_a_fresh_replay_and_late_events_are_upgraded_in_their_place(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.db"
    earlier = Clock(1_000)
    with first_app().open(":memory:", clock=earlier) as elsewhere, first_app().join(path, elsewhere.invite()) as old:
        late = elsewhere.append(PricedInUnits(id="a", units=1))
        old.append(PricedInUnits(id="a", units=2))
        old.close()
        with third_app().open(path) as new, third_app().join(":memory:", elsewhere.invite()) as fresh:
            assert prices(new) == [("a", 200, "EUR")]
            new.receive(elsewhere.envelopes_for(EVERYTHING))
            fresh.receive(new.envelopes_for(EVERYTHING))
            assert next(entry.timestamp for entry in new.log()) == late[0]
            assert prices(new) == [("a", 100, "EUR")]
            assert [entry.state for entry in new.log()] == [State.APPLIED, State.REJECTED]
            assert fresh.digest() == new.digest()
            assert list(fresh.log()) == list(new.log())


def test_a_set_has_one_order_whatever_the_hash_seed() -> None:
    class Tagged(Event, name="priced", version=2):
        tags: list[int]

    app = App("org.example.prices", tables=TABLES)
    app.on(Tagged)(lambda tx, event: tx.execute("INSERT INTO price VALUES (?, 0, '')", (str(event.tags),)))
    out_of_order = {8, 1}
    assert list(out_of_order) == [8, 1]

    @app.upgrade(Tagged, from_version=1)
    def tagged(fields: Fields) -> Fields:
        return {"tags": out_of_order}

    with first_app().open(":memory:") as old, app.join(":memory:", old.invite()) as new:
        old.append(PricedInUnits(id="a", units=3))
        new.receive(old.envelopes_for(EVERYTHING))
        assert prices(new) == [("[1, 8]", 0, "")]


def test_a_changed_upgrade_rebuilds_the_view_when_the_file_is_opened_and_the_same_one_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def in_francs(fields: Fields) -> Fields:
        return {**fields, "currency": "CHF"}

    path = tmp_path / "a.db"
    with first_app().open(path) as space:
        space.append(PricedInUnits(id="a", units=3))
    with third_app().open(path) as space:
        assert prices(space) == [("a", 300, "EUR")]
    with third_app(from_2=in_francs).open(path) as space:
        assert prices(space) == [("a", 300, "CHF")]

    def unexpected(*_: object) -> int:
        raise AssertionError("nothing changed")

    monkeypatch.setattr("driftlog._store.store.Store.rebuild", unexpected)
    with third_app(from_2=in_francs).open(path) as space:
        assert prices(space) == [("a", 300, "CHF")]


def test_an_upgrade_alone_makes_an_unknown_version_known(tmp_path: Path) -> None:
    class PricedAgain(Event, name="priced", version=2, critical=True):
        id: str
        cents: int

    def only_third() -> App:
        app = App("org.example.prices", tables=TABLES)
        app.on(Priced)(lambda tx, e: tx.execute("INSERT INTO price VALUES (?, ?, ?)", (e.id, e.cents, e.currency)))
        return app

    second = App("org.example.prices", tables=TABLES)
    second.on(PricedAgain)(lambda tx, event: tx.execute("DELETE FROM price WHERE id = ?", (event.id,)))
    path = tmp_path / "a.db"
    with second.open(":memory:") as between, only_third().join(path, between.invite()) as space:
        between.append(PricedAgain(id="a", cents=5))
        space.receive(between.envelopes_for(EVERYTHING))
        assert space.status().needs_upgrade == (("priced", 2),)

    app = only_third()
    app.upgrade(Priced, from_version=2)(with_currency)
    with app.open(path) as space:
        assert space.status().needs_upgrade == ()
        assert space.status().unknown == 0
        assert prices(space) == [("a", 5, "EUR")]
        space.append(Priced(id="b", cents=1, currency="EUR"))


def test_an_older_version_is_read_and_not_appended() -> None:
    with (
        third_app().open(":memory:") as space,
        pytest.raises(InvalidEvent, match=r"priced version 1 is an older.*only reads"),
    ):
        space.append(PricedInUnits(id="a", units=3))


# --- verdicts --------------------------------------------------------------------------------------------------------


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

"""Older versions of an event type are read through upgrades, alike on every device, and their bytes stay as they were."""

from pathlib import Path

import pytest

from driftlog import App, Event, State
from driftlog.errors import InvalidEvent
from driftlog.testing import exchange
from tests.space.prices import (
    EVERYTHING,
    TABLES,
    Fields,
    Priced,
    PricedInCents,
    PricedInUnits,
    first_app,
    prices,
    third_app,
    with_currency,
)
from tests.todo_app import Clock
from tests.vectors import formats


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

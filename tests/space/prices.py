"""An app whose one event type has come to its third version."""

from collections.abc import Callable
from typing import Any

from driftlog import App, Event, Space, State, VersionVector, ViewTransaction

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

"""Upgrades that could not mean one thing on every device are refused before a space is opened, with what to write."""

from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from driftlog import App, Event, ViewTransaction
from driftlog.errors import InvalidApp

TABLES = "CREATE TABLE price (id TEXT PRIMARY KEY) STRICT"

Fields = dict[str, Any]


class Priced(Event, name="priced", version=4):
    id: str


class PricedOnce(Event, name="priced", version=2):
    id: str


class Weighed(Event):
    id: str


def materialize(tx: ViewTransaction, event: Priced | PricedOnce) -> None:
    tx.execute("INSERT INTO price VALUES (?)", (event.id,))


def unchanged(fields: Fields) -> Fields:
    return fields


def app_with(*versions: int) -> App:
    """Give an app that materializes `Priced` and upgrades it from the given versions."""
    app = App("org.example.prices", tables=TABLES)
    app.on(Priced)(materialize)
    for version in versions:
        app.upgrade(Priced, from_version=version)(unchanged)
    return app


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2), (2, 3), (3,), ()])
def test_steps_that_lead_to_the_declared_version_are_taken_in_any_order(order: tuple[int, ...]) -> None:
    app_with(*order).open(":memory:").close()


@pytest.mark.parametrize(("order", "missing"), [((1,), 2), ((1, 2), 3), ((1, 3), 2), ((2,), 3)])
def test_a_gap_is_named_with_the_step_that_would_fill_it(order: tuple[int, ...], missing: int) -> None:
    with pytest.raises(
        InvalidApp,
        match=rf"nothing leads on from version {missing}; declare .*@app\.upgrade\(Priced, from_version={missing}\)",
    ):
        app_with(*order).open(":memory:")


def test_a_joining_device_is_told_too(tmp_path: Path) -> None:
    with app_with(3).open(":memory:") as space:
        link = space.invite()
    with pytest.raises(InvalidApp, match="nothing leads on from version 2"):
        app_with(1).join(tmp_path / "a.db", link)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("from_version", [4, 5, 0, -1, True, "1", 1.0, None])
def test_a_version_that_leads_nowhere_up_is_refused(from_version: Any) -> None:
    with pytest.raises(
        InvalidApp, match=r"from_version=.* does not lead up to its version 4; give .* from 1 to 3, or "
    ):
        App("org.example.prices", tables=TABLES).upgrade(Priced, from_version=from_version)


def test_a_type_of_version_1_has_nothing_older() -> None:
    with pytest.raises(InvalidApp, match=r"version 1; declare the new fields as `class Weighed\(Event, version=2\)`"):
        App("org.example.prices", tables=TABLES).upgrade(Weighed, from_version=1)


@pytest.mark.parametrize("event_type", [Event, dict, "Priced", None])
def test_what_is_no_event_type_has_no_older_versions(event_type: Any) -> None:
    with pytest.raises(InvalidApp, match=r"is not an event type; declare one with `class TodoAdded\(Event\)"):
        App("org.example.prices", tables=TABLES).upgrade(event_type, from_version=1)


def test_a_second_upgrade_from_one_version_is_refused() -> None:
    with pytest.raises(InvalidApp, match=r"'priced' has the upgrade unchanged from version 3 already; keep one"):
        app_with(3).upgrade(Priced, from_version=3)(lambda fields: fields)


async def asynchronous(fields: Fields) -> Fields:
    return fields


def generating(fields: Fields) -> Iterator[Fields]:
    yield fields


async def generating_asynchronously(fields: Fields) -> AsyncIterator[Fields]:
    yield fields


@pytest.mark.parametrize(
    "function", [asynchronous, generating, generating_asynchronously, partial(unchanged), dict, "unchanged", None]
)
def test_what_is_not_a_plain_function_is_refused(function: Any) -> None:
    declare: Callable[[Any], Any] = app_with().upgrade(Priced, from_version=3)
    with pytest.raises(InvalidApp, match=r"is not a plain function; write `def .*\(fields\): \.\.\.` that returns"):
        declare(function)


@pytest.mark.parametrize("is_upgrade_first", [True, False])
def test_a_version_with_a_materializer_and_an_upgrade_has_two_meanings_and_is_refused(is_upgrade_first: bool) -> None:
    app = app_with(*((2, 3) if is_upgrade_first else ()))
    app.on(PricedOnce)(materialize)
    if not is_upgrade_first:
        app.upgrade(Priced, from_version=2)(unchanged)
        app.upgrade(Priced, from_version=3)(unchanged)
    with pytest.raises(
        InvalidApp, match=r"'priced' version 2 has the materializer materialize and the upgrade unchanged"
    ):
        app.open(":memory:")


def test_an_upgrade_to_a_type_without_a_materializer_is_refused() -> None:
    app = App("org.example.prices", tables=TABLES)
    app.upgrade(Priced, from_version=3)(unchanged)
    with pytest.raises(
        InvalidApp, match=r"leads to event 'priced' version 4, which has no materializer.*@app\.on\(Priced\)"
    ):
        app.open(":memory:")


def test_two_declared_versions_each_have_their_own_chain() -> None:
    app = app_with(3)
    app.on(PricedOnce)(materialize)
    app.upgrade(PricedOnce, from_version=1)(unchanged)
    with app.open(":memory:") as space:
        space.append(PricedOnce(id="a"), Priced(id="b"))


def test_a_chain_does_not_run_through_a_version_that_has_a_materializer() -> None:
    app = app_with(1, 3)
    app.on(PricedOnce)(materialize)
    with pytest.raises(
        InvalidApp, match=r"past version 2, which has the materializer materialize; declare it for that version's type"
    ):
        app.open(":memory:")


def test_an_upgrade_declared_after_opening_belongs_to_spaces_opened_later(tmp_path: Path) -> None:
    app = app_with()
    with app.open(tmp_path / "a.db") as space:
        app.upgrade(Priced, from_version=3)(unchanged)
        space.append(Priced(id="a"))

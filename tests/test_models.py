"""The models are held to what SQLite does: the oracle is no better than they are.

The same handlers run over a plain connection, without the engine: one savepoint an event, nothing rewound.
"""

import random
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import apsw
import pytest

from tests.models import INT_MAX, Dice, Model
from tests.models_tree import MODELS
from tests.programs import STEPS, TABLES, VARIANTS, Arguments, Did, Tx, Variant, handle, tables_of
from tests.random_programs import ARGUMENTS, Taste


@dataclass
class PlainTx:
    """The engine's transaction object over plain SQLite. Its dice are the model's: they are not SQLite's to judge."""

    connection: apsw.Connection
    timestamp: Any
    wall_ms: int
    random_int: Any

    def execute(self, sql: str, parameters: Arguments = ()) -> None:
        if "random()" in sql:
            raise RuntimeError("the engine forbids it")
        self.connection.execute(sql, parameters)

    def one(self, sql: str, parameters: Arguments = ()) -> Any:
        return self.connection.execute(sql, parameters).fetchone()


def run(connection: apsw.Connection, tx: Tx, steps: list[Any]) -> bool:
    """Apply an event as the design says: alone in a savepoint, all of it or nothing. Say whether it was accepted."""
    connection.execute("SAVEPOINT event")
    try:
        handle(tx, Did(steps=steps))
        if connection.status(apsw.SQLITE_DBSTATUS_DEFERRED_FKS)[0]:
            raise apsw.ConstraintError  # noqa: TRY301 - what COMMIT would say
    except Exception:  # noqa: BLE001 - any error refuses the event
        connection.execute("ROLLBACK TO event")
        connection.execute("RELEASE event")
        return False
    connection.execute("RELEASE event")
    return True


def content(connection: apsw.Connection, table: str) -> set[tuple[Any, ...]]:
    return set(connection.execute(f"SELECT * FROM {table}"))


def judged(seed: int, variant: Variant, events: int) -> int:
    """Run a random program on both, compare after each event, and count those that were refused."""
    rng = random.Random(seed)
    taste = Taste(rng)
    connection = apsw.Connection(":memory:")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(tables_of(variant))
    model = Model(variant)
    refused = 0
    for number in range(events):
        steps = taste.steps()
        if any(name.startswith("slot") and INT_MAX in rest for name, *rest in steps):  # type: ignore[union-attr]  # a step begins with its name
            # The last integer key is refused by the engine's own rule, not by SQLite.
            continue
        before = {name: dict(rows) for name, rows in model.tables.items()}
        verdict = model.apply(number, b"%032d" % number, -number, steps)
        tx = PlainTx(connection, SimpleNamespace(hlc=number), -number, Dice(b"%032d" % number).integer)
        is_accepted = run(connection, tx, steps)
        assert is_accepted == (verdict is None), (seed, steps, before, verdict)
        refused += not is_accepted
        for table in TABLES:
            assert content(connection, table) == set(model.tables[table].values()), (seed, table, steps, before)
    connection.close()
    return refused


@pytest.mark.slow
@pytest.mark.parametrize("variant", range(len(VARIANTS)))
def test_the_models_do_what_sqlite_does(variant: int) -> None:
    events, refused = 0, 0
    for seed in range(150):
        refused += judged(seed, VARIANTS[variant], 40)
        events += 40
    # A program that is always or never refused would test little.
    assert events // 10 < refused < events * 6 // 10


def test_every_step_has_a_model_and_is_drawn() -> None:
    assert set(STEPS) == set(MODELS) == set(ARGUMENTS)

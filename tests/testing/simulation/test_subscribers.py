"""Live queries of simulated devices: drawn from any app's tables, repeatable, and heard by the judge if they are wrong."""

import pytest

from driftlog import App
from driftlog.space.live import Live
from driftlog.testing.simulation import subscribers
from driftlog.testing.simulation.example import VERSIONS, app
from driftlog.testing.simulation.plan import draw
from driftlog.testing.simulation.run import run
from driftlog.testing.simulation.subscribers import queries_of


@pytest.fixture
def all_subscribe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscribers, "SHARE", 1.0)


def test_every_table_and_column_of_an_app_is_asked_for_and_each_query_can_be_run() -> None:
    odd = App(
        "org.example.odd",
        tables='CREATE TABLE "select" ("a b" TEXT PRIMARY KEY, "x""y" BLOB, n INTEGER AS (length("a b")) STORED) STRICT',
        local_tables="CREATE TABLE note (id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT DEFAULT CURRENT_TIMESTAMP) STRICT",
    )

    queries = queries_of(odd)

    assert len(queries) == 2 + 5 * (3 + 2)
    with odd.open(":memory:") as space:
        for sql, parameter_sql in queries:
            assert parameter_sql is None or space.query(parameter_sql) == []
            space.subscribe(sql, print, (None,) * (parameter_sql is not None)).close()


@pytest.mark.usefixtures("all_subscribe")
def test_a_seed_with_subscribers_everywhere_leaves_one_trace() -> None:
    first, second = (run(draw(3, has_older=True, faults=(8, 8)), VERSIONS) for _ in range(2))

    assert first.failure is None
    assert (first.trace, first.lines) == (second.trace, second.lines)


@pytest.mark.usefixtures("all_subscribe")
def test_an_answer_that_is_not_told_fails_a_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Live, "deliver", lambda _self: None)

    failure = run(draw(1, has_older=True, faults=(8, 8)), VERSIONS).failure

    assert failure is not None
    assert "subscribed to" in failure
    assert "last, and it gives" in failure


def test_the_example_has_queries_of_all_its_tables() -> None:
    asked = " ".join(sql for sql, _ in queries_of(app))

    assert all(f'FROM "{table}"' in asked for table in ("todo", "tally", "draft"))

"""Commands that look back: a row's events, and the tables as they were."""

import sys
from pathlib import Path

import pytest

from driftlog import App
from driftlog.cli.loading import load_app
from tests.cli.conftest import CommandLine, add

SHAPES = '''
from driftlog import App, Event

app = App("org.example.shapes", floats=True, tables="""
CREATE TABLE pair (a INTEGER, b BLOB, note TEXT, PRIMARY KEY (b, a)) STRICT;
CREATE TABLE level (id REAL PRIMARY KEY) STRICT;
CREATE TABLE thing (id ANY PRIMARY KEY) STRICT;
""")


class Shaped(Event):
    pass


@app.on(Shaped)
def shaped(tx, event):
    tx.execute("INSERT INTO pair VALUES (-7, x'00ff', '[red]\\x1b[31m')")
    tx.execute("INSERT INTO level VALUES (1)")
    tx.execute("INSERT INTO thing VALUES (5), ('five')")
'''


@pytest.fixture
def shapes(driftlog: CommandLine, tmp_path: Path) -> tuple[str, Path]:
    source, path = tmp_path / "shapes.py", tmp_path / "shapes.db"
    source.write_text(SHAPES)
    spec = f"{source}:app"
    with load_app(spec).open(path) as space:
        space.append(sys.modules["shapes"].Shaped())
    return spec, path


# --- why -------------------------------------------------------------------------------------------------------------


def test_why_prints_the_events_of_one_row(driftlog: CommandLine, spec: str, space_file: Path) -> None:
    outcome = driftlog("why", spec, space_file, "todo", "2")

    assert (outcome.code, outcome.err) == (0, "")
    assert "todo.added(id='2', text='text of 2')" in outcome.out
    assert len(outcome.out.splitlines()) == 1


def test_why_for_programs_is_a_part_of_the_log(driftlog: CommandLine, spec: str, space_file: Path) -> None:
    [first, _] = driftlog("log", spec, space_file, "--json").json["entries"]

    assert driftlog("why", spec, space_file, "todo", "1", "--json").json == {"entries": [first]}


def test_why_fails_for_a_row_that_never_was(driftlog: CommandLine, spec: str, space_file: Path) -> None:
    for options in ([], ["--json"]):
        outcome = driftlog("why", spec, space_file, "todo", "3", *options)

        assert (outcome.code, outcome.out) == (1, "")
        assert "no event has touched a row 3 of todo; check the key" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["todos", "1"], "'todos' is not one of the app's tables; give one of todo"),
        (["todo", "1", "2"], "['1', '2'] has 2 of the 1 values of a key of todo; give (id)"),
    ],
)
def test_why_of_what_cannot_be_a_row_is_exit_code_2(
    driftlog: CommandLine, spec: str, space_file: Path, arguments: list[str], message: str
) -> None:
    outcome = driftlog("why", spec, space_file, *arguments)

    assert (outcome.code, outcome.out) == (2, "")
    assert message in outcome.err


@pytest.mark.parametrize(
    "row", [("pair", "00FF", "-7"), ("PAIR", "00ff", "-7"), ("level", "1"), ("level", "1.0"), ("thing", "5"),
            ("thing", "five")]
)  # fmt: skip
def test_a_keys_texts_are_read_as_its_columns_types(
    driftlog: CommandLine, shapes: tuple[str, Path], row: tuple[str, ...]
) -> None:
    assert len(driftlog("why", *shapes, *row, "--json").json["entries"]) == 1


@pytest.mark.parametrize("row", [("pair", "00FF", "seven"), ("pair", "0", "-7"), ("level", "high")])
def test_a_keys_text_that_is_not_of_its_columns_type_is_refused(
    driftlog: CommandLine, shapes: tuple[str, Path], row: tuple[str, ...]
) -> None:
    outcome = driftlog("why", *shapes, *row)

    assert outcome.code == 2
    assert "(str) cannot stand in" in outcome.err


# --- at --------------------------------------------------------------------------------------------------------------


def test_at_answers_from_the_tables_as_they_were(driftlog: CommandLine, spec: str, space_file: Path, app: App) -> None:
    [first, second] = [entry["timestamp"] for entry in driftlog("log", spec, space_file, "--json").json["entries"]]
    add(app, space_file, "3")

    for stamp, ids in ((first["text"], ["1"]), (second["hlc"], ["1", "2"]), (0, []), (2**63 - 1, ["1", "2", "3"])):
        rows = driftlog("at", spec, space_file, stamp, "SELECT id FROM todo ORDER BY id", "--json").json["rows"]
        assert [row["id"] for row in rows] == ids

    outcome = driftlog("at", spec, space_file, first["text"], "SELECT * FROM todo")
    assert [line.split() for line in outcome.out.splitlines()] == [["id", "text"], ["1", "text", "of", "1"]]


def test_at_shows_bytes_and_null_and_obeys_neither_markup_nor_escape_codes(
    driftlog: CommandLine, shapes: tuple[str, Path]
) -> None:
    outcome = driftlog("at", *shapes, 2**63 - 1, "SELECT b, NULL AS 'no[b]thing', note FROM pair")

    assert [line.split() for line in outcome.out.splitlines()] == [
        ["b", "no[b]thing", "note"],
        ["00ff", "NULL", "[red]\\x1b[31m"],
    ]
    [row] = driftlog("at", *shapes, 2**63 - 1, "SELECT b FROM pair", "--json").json["rows"]
    assert row == {"b": "00ff"}


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("DELETE FROM todo", "is not one query"),
        ("SELECT absent FROM todo", "SQLite refuses `SELECT absent FROM todo`: no such column: absent; correct it"),
        ("SELECT ?", "SQLite refuses `SELECT ?`"),
        ("SELECT * FROM driftlog_log", "no such table: driftlog_log"),
    ],
)
def test_at_refuses_what_is_no_query_on_the_apps_tables(
    driftlog: CommandLine, spec: str, space_file: Path, sql: str, message: str
) -> None:
    outcome = driftlog("at", spec, space_file, "1", sql)

    assert (outcome.code, outcome.out) == (2, "")
    assert message in outcome.err

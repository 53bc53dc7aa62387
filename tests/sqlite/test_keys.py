"""A key is compared as SQLite compares it, and one that no row could have is refused with what to give instead."""

from collections.abc import Iterator, Sequence

import apsw
import pytest

from driftlog._sqlite.connection import connect
from driftlog._sqlite.keys import RowKey, row_key
from driftlog._sqlite.rows import SqlValue
from driftlog._sqlite.tables import declare_tables
from driftlog.errors import InvalidKey

TABLES = declare_tables(
    """
    CREATE TABLE plain (id TEXT PRIMARY KEY) STRICT;
    CREATE TABLE "No Case" (id TEXT COLLATE NOCASE PRIMARY KEY) STRICT;
    CREATE TABLE trimmed (id TEXT COLLATE RTRIM PRIMARY KEY) STRICT;
    CREATE TABLE number (id INTEGER PRIMARY KEY) STRICT;
    CREATE TABLE reals (id REAL PRIMARY KEY) STRICT;
    CREATE TABLE anything (id ANY PRIMARY KEY) STRICT;
    CREATE TABLE pair (v INTEGER, a TEXT COLLATE NOCASE, b INT, c BLOB, PRIMARY KEY (c, a, b)) STRICT;
    CREATE VIEW seen AS SELECT * FROM plain;
    """,
    is_float_allowed=True,
)


@pytest.fixture
def connection() -> Iterator[apsw.Connection]:
    opened = connect(":memory:")
    for statement in TABLES.statements:
        opened.execute(statement)
    yield opened
    opened.close()


def test_a_number_of_more_digits_than_python_writes_is_refused(connection: apsw.Connection) -> None:
    with pytest.raises(InvalidKey, match="a very long integer"):
        key(connection, "number", 10**5_000)


def key(connection: apsw.Connection, table: str, value: SqlValue | Sequence[SqlValue]) -> RowKey:
    return row_key(connection, TABLES, table, value)


TEXTS = ("", "a", "A", "a ", " a", "É", "é", "ß", "\u212a", "k", "Z", "[", "{")


@pytest.mark.parametrize(
    ("table", "values"),
    [
        ("plain", TEXTS),
        ("No Case", TEXTS),
        ("trimmed", TEXTS),
        ("number", (0, 1, -1, 2**63 - 1)),
        ("reals", (0, 0.0, -0.0, 1, 1.0, 0.1, 1e300)),
        ("anything", (0, 0.0, 1, 1.0, "1", b"1", "a", "A", 2**53, float(2**53), 2**53 + 1)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_two_keys_are_one_where_sqlite_says_so(
    connection: apsw.Connection, table: str, values: tuple[SqlValue, ...]
) -> None:
    for stored in values:
        connection.execute(f'DELETE FROM "{table}"')
        connection.execute(f'INSERT INTO "{table}" VALUES (?)', (stored,))
        [kept] = connection.execute(f'SELECT id FROM "{table}"').fetchall()
        for asked in values:
            is_one = connection.execute(f'SELECT EXISTS (SELECT 1 FROM "{table}" WHERE id = ?)', (asked,)).get
            wanted = key(connection, table, asked)
            assert wanted.is_of(kept) == bool(is_one), (stored, asked)
            if is_one:
                # What is promised to be stored in one way only is what is stored.
                for value in wanted.exact_values():
                    assert (value, type(value)) == (kept[0], type(kept[0]))


def test_a_key_of_several_columns_is_in_the_order_of_the_key(connection: apsw.Connection) -> None:
    wanted = key(connection, "PAIR", (b"c", "A", 3))

    assert wanted.is_of([b"c", "a", 3])
    assert not wanted.is_of([b"c", "a", 4])
    assert list(wanted.exact_values()) == [b"c", 3]
    assert key(connection, "pair", [b"c", "A", 3]).table.name == "pair"


@pytest.mark.parametrize(
    ("table", "value", "message"),
    [
        ("nothing", 1, "'nothing' is not one of the app's tables; give one of anything, No Case, number, pair, plain"),
        ("seen", "a", "'seen' is not one of the app's tables"),
        ("driftlog_log", 1, "'driftlog_log' is not one of the app's tables"),
        (7, 1, "7 is not one of the app's tables"),
        ("pair", b"c", r"b'c' has 1 of the 3 values of a key of pair; give \(c, a, b\)"),
        ("plain", ("a", "b"), r"\('a', 'b'\) has 2 of the 1 values of a key of plain; give \(id\)"),
        ("plain", (), r"\(\) has 0 of the 1 values"),
        ("number", "1", r"'1' \(str\) cannot stand in number.id, which is INTEGER; give int, as a row"),
        ("number", 1.0, r"1.0 \(float\) cannot stand in number.id"),
        ("number", 2**63, r"9223372036854775808 \(int\) cannot stand in number.id"),
        ("plain", 1, r"1 \(int\) cannot stand in plain.id, which is TEXT; give str"),
        ("plain", "\ud800", r"cannot stand in plain.id"),
        ("number", "é", r"cannot stand in number.id"),
        ("plain", None, r"None \(NoneType\) cannot stand in plain.id"),
        ("anything", None, r"None \(NoneType\) cannot stand in anything.id, which is ANY; give int or str or bytes or"),
        ("pair", (b"c", "A", "3"), r"'3' \(str\) cannot stand in pair.b, which is INT; give int"),
    ],
)
def test_what_no_row_could_have_is_refused_with_what_to_give(
    connection: apsw.Connection, table: str, value: SqlValue, message: str
) -> None:
    with pytest.raises(InvalidKey, match=message):
        key(connection, table, value)

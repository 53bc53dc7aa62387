"""What every connection is set to."""

import apsw

from driftlog._sqlite.connection import connect


def test_a_statement_is_compiled_once_whatever_is_bound_to_it() -> None:
    connection = connect(":memory:", durability="full", identify=lambda _: None)
    connection.execute("CREATE TABLE note (id INTEGER PRIMARY KEY, place INTEGER, state INTEGER) STRICT")
    connection.execute("CREATE INDEX note_state ON note (state) WHERE state = 0")
    sql = "SELECT id FROM note WHERE place = ? AND state = ?"
    connection.execute(sql, (0, 0)).fetchall()
    compiled = 0

    def count(*_: object) -> int:
        nonlocal compiled
        compiled += 1
        return apsw.SQLITE_OK

    connection.authorizer = count
    # Setting an authorizer makes SQLite compile everything once more.
    connection.execute(sql, (1, 0)).fetchall()
    compiled_once = compiled
    for number in range(10):
        connection.execute(sql, (number, number)).fetchall()

    assert 0 < compiled_once == compiled

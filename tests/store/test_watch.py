"""The watch over a connection: what stays of it when the machine fails and another connection takes its place."""

from typing import Any

import apsw
import pytest

from driftlog._store.watch import Watch

TABLE = "CREATE TABLE todo (id INTEGER PRIMARY KEY)"


class Failing(apsw.Connection):
    """A connection to a file that cannot be read."""

    def execute(self, *_: Any, **__: Any) -> Any:
        raise apsw.IOError("a disk that fails")


def connection() -> apsw.Connection:
    made = apsw.Connection(":memory:")
    made.execute(TABLE)
    return made


def test_what_is_wanted_stays_so_over_a_connection_that_fails_at_once() -> None:
    watch = Watch(connection())
    watch.want(frozenset({"todo"}))

    with pytest.raises(apsw.IOError):
        watch.move_to(Failing(":memory:"))
    good = connection()
    watch.move_to(good)

    moved = watch.take()
    assert moved is not None
    assert moved.is_everything
    good.execute("INSERT INTO todo VALUES (1)")
    watch.commit()
    changes = watch.take()
    assert changes is not None
    assert [(change.table, change.new) for change in changes.rows] == [("todo", (1,))]

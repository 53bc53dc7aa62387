"""Statements that only read, on a connection that could write."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import apsw

from driftlog._sqlite.sqltext import excerpt, first_keyword, statements
from driftlog.errors import ForbiddenSQL

_KEYWORDS = ("SELECT", "VALUES", "WITH", "EXPLAIN")


@lru_cache(maxsize=1024)
def vet_query(sql: str) -> None:
    """Raise `ForbiddenSQL` unless the text is one query."""
    found = statements(sql)
    if len(found) != 1 or first_keyword(found[0]) not in _KEYWORDS:
        raise ForbiddenSQL(f"`{excerpt(sql)}` is not one query; to change the view, append an event")


@contextmanager
def query_only(connection: apsw.Connection) -> Iterator[None]:
    """Let the connection's statements read only, whatever their first word: WITH may begin an INSERT too."""
    connection.pragma("query_only", True)
    try:
        yield
    except apsw.ReadOnlyError as error:
        raise ForbiddenSQL("a query may only read; to change the view, append an event") from error
    finally:
        connection.pragma("query_only", False)

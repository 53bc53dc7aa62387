"""Queries of the app's own, on a connection that could write.

The text decides: one statement, and its verb is SELECT, VALUES or EXPLAIN. The texts are marked before they are run, because
SQLite's authorizer is asked when a statement is compiled, and compiled statements are kept by their text: a query that may
call any function must not be found again by a materializer, which may not.
"""

from functools import lru_cache

import apsw

from driftlog._sqlite.rows import Parameters, Row, fetch_all, fetch_one
from driftlog._sqlite.sqltext import Token, excerpt, first_keyword, statements
from driftlog.errors import ForbiddenSQL

_READING = ("SELECT", "VALUES", "EXPLAIN")
_VERBS = ("SELECT", "VALUES", "INSERT", "REPLACE", "UPDATE", "DELETE")
_MARK = "\n-- query"


@lru_cache(maxsize=1024)
def marked_query(sql: str) -> str:
    """Give the text under which to run a query, or raise `ForbiddenSQL` unless it is one statement that reads."""
    if not is_query(sql):
        raise ForbiddenSQL(f"`{excerpt(sql)}` is not one query; to change the view, append an event")
    return sql + _MARK


def is_query(sql: str) -> bool:
    """Tell whether the text is one statement that reads."""
    found = statements(sql)
    return len(found) == 1 and _verb(found[0]) in _READING


def query_all(connection: apsw.Connection, sql: str, parameters: Parameters = ()) -> list[Row]:
    """Run a query and give its rows."""
    return fetch_all(connection, marked_query(sql), parameters)


def query_one(connection: apsw.Connection, sql: str, parameters: Parameters = ()) -> Row | None:
    """Run a query and give its first row, or None."""
    return fetch_one(connection, marked_query(sql), parameters)


def _verb(statement: tuple[Token, ...]) -> str:
    """Give what a statement does: after WITH, its first verb outside all parentheses."""
    keyword = first_keyword(statement)
    if keyword != "WITH":
        return keyword
    depth = 0
    for token in statement:
        depth += (token.text == "(") - (token.text == ")")
        if depth == 0 and token.word in _VERBS:
            return token.word
    return ""

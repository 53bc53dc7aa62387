"""What was found out about an app's statements, remembered for the process: each is asked about once, not once a file.

A statement that names anything but the app's tables is refused, and what is refused is not kept. So an answer hangs on the
text and on those tables, and on nothing else that a file may hold. That a text is allowed is still asked of SQLite on every
connection, as it is compiled there.
"""

from functools import lru_cache
from typing import Final

from driftlog._store.access import Access

APPS_MAX: Final = 64
TEXTS_MAX: Final = 1_000
"""Of an app's statements; it has some dozens, and one that puts values into its texts must not fill the memory."""


class Known:
    """The statements of one app."""

    def __init__(self) -> None:
        self._access_by_sql: dict[str, Access] = {}
        self.get = self._access_by_sql.get

    def add(self, sql: str, access: Access) -> None:
        """Remember what a statement reads, once it was found to be allowed."""
        if len(self._access_by_sql) >= TEXTS_MAX:
            self._access_by_sql.clear()
        self._access_by_sql[sql] = access


@lru_cache(maxsize=APPS_MAX)
def known_of(tables_fingerprint: bytes, local_names: frozenset[str]) -> Known:  # noqa: ARG001 - they are the cache's key
    """Give what is known of an app, by its tables and the names of its local ones, of which refusals speak."""
    return Known()

"""Watching a connection for the rows its transactions change, whoever changes them and by whatever statement.

SQLite's preupdate hook reports each row before and after: of inserts, updates, deletes and REPLACEs, of cascades and
triggers, and of a rewind that puts rows back. It does not report what was rolled back to a savepoint, nor dropped tables:
whoever drops them says `note_everything`. While nothing is wanted there is no hook, and nothing to pay.
"""

from threading import Lock
from typing import Any

import apsw

from driftlog._core.changes import Changes, RowChange

_OTHERS = "PRAGMA data_version"
"""Another number whenever another connection has committed, and only then. Unlike apsw's method, it looks at the file."""


class Watch:
    """The watch over one connection that writes. All but `take` is called under the lock that writing holds."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._tables: frozenset[str] = frozenset()
        self.is_on = False
        """Whether anything is wanted. A plain attribute: every append asks."""
        self._begun = Changes()
        self._committed = Changes()
        self._taking = Lock()
        self._others = 0

    def want(self, tables: frozenset[str]) -> None:
        """Report changes of these tables from now on, and of no others."""
        if bool(tables) is not bool(self._tables):
            # Expires what was compiled while nobody watched, such as a DELETE of all rows that would report none of them.
            self._connection.authorizer = self._connection.authorizer
            # By an id of its own, beside the hook that records undo data.
            self._connection.preupdate_hook(self._see if tables else None, id=self)
            # What others wrote until now is in the first answers.
            self._others = self._connection.execute(_OTHERS).get
        self._tables = tables
        self.is_on = bool(tables)
        if not tables:
            self._begun = Changes()
            with self._taking:
                self._committed = Changes()

    def move_to(self, connection: apsw.Connection) -> None:
        """Watch another connection to the same file instead; what happened in between is not known.

        What is wanted stays so if this raises: it is tried again with yet another connection.
        """
        tables, self._tables = self._tables, frozenset()
        self._connection = connection
        try:
            self.want(tables)
        finally:
            self._tables = tables
        self.suspect_everything()

    def note_everything(self) -> None:
        """Take note that any table may have changed, where anybody wants to know."""
        if self._tables:
            self._begun.is_everything = True

    def suspect_everything(self) -> None:
        """Take note that any table may look otherwise than before, outside of a transaction."""
        self.note_everything()
        self.commit()

    def note_others(self) -> None:
        """Look at the file, and take note if another connection has committed, which no rollback of this one undoes."""
        others = self._connection.execute(_OTHERS).get
        if others != self._others and self._tables:
            with self._taking:
                self._committed.is_everything = True
        self._others = others

    def has_news(self) -> bool:
        """Tell whether anything was committed that was not taken."""
        return bool(self._committed)

    def commit(self) -> None:
        """Take note that what was changed stays."""
        if self._begun:
            with self._taking:
                self._committed.add_all(self._begun)
            self._begun = Changes()

    def roll_back(self) -> None:
        """Take note that the transaction was undone."""
        if self._begun:
            self._begun = Changes()

    def doubt(self) -> None:
        """Take note that a transaction ended, and that nobody knows how."""
        if self._begun:
            self.note_everything()
            self.commit()

    def take(self) -> Changes | None:
        """Take what was committed since this was last asked, None for nothing."""
        if not self._committed:
            return None
        with self._taking:
            taken, self._committed = self._committed, Changes()
        return taken or None

    def _see(self, change: apsw.PreUpdate) -> None:
        name = change.table_name
        if name not in self._tables or name in self._begun.tables:
            return
        try:
            old: Any = change.old
            new: Any = change.new
        except Exception:  # noqa: BLE001 - a value that Python cannot hold; that the table changed is all there is to say
            self._begun.tables.add(name)
            return
        self._begun.add(RowChange(name, old, new))

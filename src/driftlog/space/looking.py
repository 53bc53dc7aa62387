"""One look at the file of a space: whether another process has written to it, and whether it is still there and readable.

Whatever is found is told by those who read: they are made due, and meet what this look has met. So an app learns from the
error hooks of its live queries that its file is gone or damaged, once, although it asks nothing itself.
"""

from typing import TYPE_CHECKING

from driftlog._sqlite.storage_errors import storage_errors
from driftlog.errors import DriftlogError
from driftlog.space.others import Found

if TYPE_CHECKING:
    from driftlog.space.engine import Engine


class Looking:
    """The looks at one space's file."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._seen = -1
        self._last_error = ""

    def look(self) -> Found:
        """Look, unless the space is in use. What a look has met is raised from the second time on."""
        engine = self._engine
        if not engine._lock.take_if_free():
            return Found.OWN
        try:
            if engine._is_closed:
                return Found.CLOSED
            try:
                with storage_errors(engine.path), engine.reopening.watching():
                    found = self._look()
            except DriftlogError as error:
                if repr(error) == self._last_error:
                    raise
                self._last_error = repr(error)
                engine._store.watch.suspect_everything()
                return Found.NEWS
            self._last_error = ""
            return found
        finally:
            engine._lock.let_go()

    def _look(self) -> Found:
        engine = self._engine
        engine.whereabouts.check()
        engine.reopening.mend()
        watch = engine._store.watch
        if self._last_error:
            watch.suspect_everything()
        watch.note_others()
        # Unlike what is asked there, SQLite counts this connection's commits here.
        before, self._seen = self._seen, engine._connection.data_version()
        if watch.has_news():
            return Found.NEWS
        return Found.NOTHING if self._seen == before else Found.OWN

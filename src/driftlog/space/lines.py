"""Lines: where the callbacks of live queries are called, one at a time and in order.

Without a `call_soon`, that is the thread that wrote, after its commit and without any lock of the space; if another thread
is at it already, that one calls these too, so nobody waits for an app's callback. With one, the line asks it once for a
call, however much changes before it comes.
"""

import logging
from collections.abc import Callable, Hashable, Sequence
from threading import Lock

import apsw

from driftlog._reactive.difference import Difference, KeyOf, difference
from driftlog._sqlite.connection import ENVIRONMENT_ERRORS
from driftlog._sqlite.rows import Parameters, Row, fetch_all
from driftlog._sqlite.sqltext import excerpt, fold
from driftlog.errors import DriftlogError
from driftlog.space.answer import Answer, CallSoon, Subscription
from driftlog.space.standing import Standing

_log = logging.getLogger("driftlog")


class Watched:
    """One query with its parameters, and the last answer that its subscriptions were told."""

    __slots__ = ("key", "line", "parameters", "rows", "sql", "subscriptions")

    def __init__(self, sql: str, parameters: Parameters, key: tuple[str, ...] | None, line: "Line") -> None:
        self.sql = sql
        self.parameters = parameters
        self.key = key
        self.line = line
        self.rows: tuple[Row, ...] = ()
        self.subscriptions: tuple[Subscription, ...] = ()

    def key_of(self, row: Row) -> KeyOf | None:
        """Give how to get a row's key, None where its columns are not all in the answer."""
        places = {fold(name): place for name, place in reversed(row._place_by_name.items())}
        wanted = [places.get(fold(name)) for name in self.key or ()]
        if not wanted or None in wanted:
            return None

        def key_of(row: Row) -> Hashable:
            return tuple([row[place] for place in wanted])  # type: ignore[index]  # None was excluded

        return key_of


class Line:
    """One way to be called."""

    def __init__(
        self, standing: Standing, call_soon: CallSoon | None, run_within: Callable[[Callable[[], None]], None]
    ) -> None:
        self._standing = standing
        self.call_soon = call_soon
        self._run_within = run_within
        self._lock = Lock()
        self._running = Lock()
        self._due: dict[Watched, None] = {}
        self._is_called = False
        self._is_closed = False
        self.queries = 0
        """How many are run here."""

    def mark(self, watched: Watched) -> None:
        """Have a query run."""
        with self._lock:
            self._due[watched] = None

    def wake(self) -> None:
        """Run what is due, here or where the app takes it."""
        if not self._due:
            return
        if self.call_soon is None:
            self.run()
            return
        with self._lock:
            if self._is_called:
                return
            self._is_called = True
        try:
            self.call_soon(self._called)
        except Exception:  # noqa: BLE001 - it is the app's code, and raises what it likes
            with self._lock:
                self._is_called = False
            _log.exception("%r raised; its live queries are told nothing until the next change", self.call_soon)

    def _called(self) -> None:
        with self._lock:
            self._is_called = False
        self.run()

    def run(self) -> None:
        """Run what is due, and call back. Never raises what a callback or the machine did."""
        # Asked again after letting go: what was marked in between found this thread still at it, and left it to us.
        while self._due and not self._is_closed and self._running.acquire(blocking=False):
            try:
                self._run_within(self._run)
            except (DriftlogError, apsw.Error) as error:
                # Whoever wrote has written, and must not be told otherwise. The next change runs them again.
                with self._lock:
                    due = list(self._due)
                _fail([one for watched in due for one in watched.subscriptions], error)
                return
            finally:
                if self._is_closed:
                    self._standing.close()
                self._running.release()

    def _run(self) -> None:
        # Taken before a state is chosen: what is marked from here on may not be in it, and is run again.
        with self._lock:
            due, self._due = self._due, {}
        try:
            with self._standing.here() as connection:
                while due:
                    watched = next(iter(due))
                    # Nobody, if an earlier callback closed the last one.
                    if watched.subscriptions:
                        self._ask(connection, watched)
                    del due[watched]
        except BaseException:
            with self._lock:
                self._due = due | self._due
            raise

    def _ask(self, connection: apsw.Connection, watched: Watched) -> None:
        try:
            with self._standing.querying():
                rows = tuple(fetch_all(connection, watched.sql, watched.parameters))
        except ENVIRONMENT_ERRORS:
            raise
        except (apsw.Error, UnicodeDecodeError) as error:
            # Of this query and these rows, as a sum that is no integer any more: the others go on.
            _fail(watched.subscriptions, error)
        else:
            self._tell(connection, watched, rows)

    def _tell(self, connection: apsw.Connection, watched: Watched, rows: tuple[Row, ...]) -> None:
        sample = (rows or watched.rows)[:1]
        key_of = watched.key_of(sample[0]) if sample else None
        found = difference(watched.rows, rows, key_of)
        before, watched.rows = watched.rows, rows
        whole: Difference | None = found if not before else None
        for subscription in watched.subscriptions:
            if subscription._is_told and not found:
                continue
            if not subscription._is_told:
                whole = whole or difference((), rows, key_of)
            # Looked at just before the call: who was closed by an earlier callback is not called any more.
            if not subscription.is_closed and not self._is_closed:
                answer = Answer(rows, found if subscription._is_told else whole or found, key_of)
                subscription._is_told = True
                with self._standing.telling(connection):
                    _call(subscription, answer)

    def forget(self, watched: Watched) -> None:
        """Run a query no more: nobody is subscribed to it."""
        with self._lock:
            self._due.pop(watched, None)

    def doubt(self) -> None:
        """Read through a new connection from the next time on."""
        self._standing.doubt()

    def close(self) -> None:
        """Call nobody any more, and let go of the file."""
        self._is_closed = True
        # A callback that runs now keeps its state until it returns; if it is this thread's own, it closed the space itself.
        if self._running.acquire(blocking=False):
            try:
                self._standing.close()
            finally:
                self._running.release()


def _fail(subscriptions: Sequence[Subscription], error: Exception) -> None:
    """Say that queries could not be run."""
    if not any(one.on_error for one in subscriptions):
        _log.error("a live query could not be run (%s); it is tried again after the next change", error)
    for one in subscriptions:
        if one.on_error is not None:
            _call_hook(one, error)


def _call(subscription: Subscription, answer: Answer) -> None:
    try:
        subscription.callback(answer)
    except Exception as error:  # noqa: BLE001 - a callback is the app's code, and raises what it likes
        if subscription.on_error is None:
            _log.exception("%r raised on an answer; the others are told all the same", subscription.callback)
        else:
            _call_hook(subscription, error)


def _call_hook(subscription: Subscription, error: Exception) -> None:
    assert subscription.on_error is not None
    try:
        subscription.on_error(error)
    except Exception:  # noqa: BLE001 - likewise
        _log.exception("%r raised on %s; mend the hook", subscription.on_error, excerpt(repr(error)))

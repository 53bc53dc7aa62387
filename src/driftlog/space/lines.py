"""Lines: where the callbacks of live queries are called, one at a time and in order.

Without a `call_soon`, that is the thread that wrote, after its commit and without any lock of the space; if another thread
is at it already, that one calls these too, so nobody waits for an app's callback. With one, the line asks it once for a
call, however much changes before it comes.
"""

import logging
from collections.abc import Callable, Sequence
from threading import Lock, get_ident
from typing import Final

import apsw

from driftlog._core.changes import RowChange
from driftlog._reactive.difference import Difference, KeyOf, difference
from driftlog._reactive.keeping import KEYS_MAX, Kept, kept
from driftlog._reactive.plan import Plan
from driftlog._reactive.tally import Contribution, Sum, Tally, tallied
from driftlog._sqlite.rows import Parameters, Row, fetch_all, fetch_one, raw_rows
from driftlog._sqlite.sqltext import fold
from driftlog._sqlite.storage_errors import ENVIRONMENT_ERRORS
from driftlog.errors import DriftlogError
from driftlog.space.answer import Answer, CallSoon, Subscription
from driftlog.space.calling import Caller, call_back, call_hook
from driftlog.space.standing import CatchUp, Standing

_log = logging.getLogger("driftlog")

_ROWS_MAX: Final = 100
"""Of changed rows kept for a query: three times as many as are looked up one by one, since a row may change twice."""
_Rows = Sequence[RowChange] | None
"""Why a query is due: the rows that it may see differently, or None for who knows what."""


_ON_ANSWER: Final = "an answer; the others are told all the same"


class Watched:
    """One query with its parameters, and the last answer that its subscriptions were told."""

    __slots__ = ("generation", "kept", "key", "line", "parameters", "plan", "rows", "sql", "subscriptions", "sums")

    def __init__(
        self, sql: str, parameters: Parameters, key: tuple[str, ...] | None, line: "Line", plan: Plan | Tally | None
    ) -> None:
        self.sql = sql
        self.parameters = parameters
        self.key = key
        self.line = line
        self.rows: tuple[Row, ...] = ()
        self.subscriptions: tuple[Subscription, ...] = ()
        self.plan = plan
        """How to keep the answer up to date, if it can be."""
        self.kept: Kept | None = None
        self.sums: list[Sum] | None = None
        self.generation: int | None = None
        """Of the state that the rows are of; None if they are of none that is known."""

    def key_of(self, row: Row) -> KeyOf | None:
        """Give how to get a row's key, None where its columns are not all in the answer."""
        places = self.key_places(row)
        return None if places is None else lambda row: tuple([row[place] for place in places])

    def key_places(self, row: Row) -> tuple[int, ...] | None:
        """Give where an answer holds the key, None where it does not hold all of it."""
        places = {fold(name): place for name, place in reversed(row._place_by_name.items())}
        wanted = tuple([places[fold(name)] for name in self.key or () if fold(name) in places])
        return wanted if wanted and len(wanted) == len(self.key or ()) else None


class Line:
    """One way to be called."""

    def __init__(
        self,
        standing: Standing,
        call_soon: CallSoon | None,
        run_within: Callable[[Callable[[], None]], None],
        catch_up: CatchUp,
    ) -> None:
        self._standing = standing
        self.call_soon = call_soon
        self._run_within = run_within
        self._catch_up = catch_up
        self._lock = Lock()
        self._running = Lock()
        self._due: dict[Watched, _Rows] = {}
        self._caller = Caller(call_soon, self.run, "its live queries are told nothing until the next change")
        self._is_closed = False
        self._is_put_off = False
        self._runner: int | None = None
        self._marked_by_others = 0
        """How often something was marked by a thread that may have found another one running this, and left it to that."""
        self.queries = 0
        """How many are run here."""

    def mark(self, watched: Watched, rows: _Rows) -> None:
        """Have a query run, because of these rows, or of who knows what."""
        with self._lock:
            self._due[watched] = _joined(self._due.get(watched, ()), rows)
            self._marked_by_others += self._runner != get_ident()

    def wake(self) -> None:
        """Run what is due, here or where the app takes it."""
        if self._due:
            self._caller.call()

    def wake_again(self) -> None:
        """Run what was put off, if anything was."""
        if self._is_put_off:
            self.wake()

    def run(self) -> None:
        """Run what is due, and call back. Never raises what a callback or the machine did."""
        self._is_put_off = self._standing.is_within_a_transaction()
        if self._is_put_off:
            # Some other task of this thread awaits within it; whoever ends it has this run again.
            return
        # Asked again after letting go: what was marked in between found this thread still at it, and left it to us.
        while self._due and not self._is_closed and self._running.acquire(blocking=False):
            self._runner, marked = get_ident(), self._marked_by_others
            try:
                self._run_within(self._run)
            except (DriftlogError, apsw.Error) as error:
                if self._is_closed:
                    return
                # Whoever wrote has written, and must not be told otherwise. The next change runs them again: one that came
                # from another thread meanwhile, too, as that has left it to this one. What the hook writes itself does
                # not, or a hook that writes and a disk that stays broken would go on for ever.
                with self._lock:
                    due = list(self._due)
                _fail([one for watched in due for one in watched.subscriptions], error)
                is_over = True
            else:
                is_over = False
            finally:
                self._runner = None
                self._running.release()
                if self._is_closed:
                    # Whoever closed it meanwhile found this thread at it, and left the file to it.
                    self.close()
            if is_over and marked == self._marked_by_others:
                return

    def _run(self) -> None:
        due: dict[Watched, _Rows] = {}

        def catch_up() -> int | None:
            generation = self._catch_up()
            self._take_due(due)
            return generation

        try:
            # Taken before a state is chosen: what is marked from here on may not be in it, and is run again. What is marked
            # by catching up is in it.
            self._take_due(due)
            with self._standing.here(catch_up) as connection:
                while due:
                    watched = next(iter(due))
                    # Nobody, if an earlier callback closed the last one.
                    if watched.subscriptions and not self._is_closed:
                        self._ask(connection, watched, due, catch_up)
                    del due[watched]
        except BaseException:
            for watched in due:
                self.mark(watched, None)
            raise

    def _take_due(self, due: dict[Watched, _Rows]) -> None:
        with self._lock:
            for watched, rows in self._due.items():
                due[watched] = _joined(due.get(watched, ()), rows)
            self._due.clear()

    def _ask(self, connection: apsw.Connection, watched: Watched, due: dict[Watched, _Rows], catch_up: CatchUp) -> None:
        before, generation = watched.rows, watched.generation
        watched.generation = None
        try:
            with self._standing.querying(catch_up):
                is_known = generation is not None and generation == self._standing.generation
                found = _follow(connection, watched, due[watched]) if is_known else None
                if found is None:
                    watched.kept = watched.sums = None
                    watched.rows = tuple(fetch_all(connection, watched.sql, watched.parameters))
        except ENVIRONMENT_ERRORS:
            raise
        except Exception as error:  # noqa: BLE001 - whoever wrote has written, and must not be told of somebody's query
            if self._is_closed:
                return
            # Of this query and these rows, as a sum that is no integer any more: the others go on.
            _fail(watched.subscriptions, error)
        else:
            watched.generation = self._standing.generation
            self._tell(connection, watched, before, found)

    def _tell(
        self, connection: apsw.Connection, watched: Watched, before: tuple[Row, ...], found: Difference | None
    ) -> None:
        rows = watched.rows
        sample = (rows or before)[:1]
        key_of = watched.key_of(sample[0]) if sample else None
        if found is None:
            found = difference(before, rows, key_of)
        # Others were told nothing yet, or an earlier answer: somebody was interrupted before it was their turn.
        difference_by_rows = {id(before): found}
        for subscription in watched.subscriptions:
            told = subscription._rows
            since = difference_by_rows.get(id(told))
            if since is None:
                since = difference_by_rows[id(told)] = difference(told or (), rows, key_of)
            # Looked at just before the call: who was closed by an earlier callback is not called any more.
            if subscription.is_closed or self._is_closed:
                continue
            subscription._rows = rows
            if since or told is None:
                answer = Answer(rows, since, key_of)
                with self._standing.telling(connection):
                    call_back(subscription.callback, answer, subscription.on_error, _ON_ANSWER)

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


def _joined(rows: _Rows, more: _Rows) -> _Rows:
    """Join rows that a query is due by; past a bound, it is due by who knows what."""
    return None if rows is None or more is None or len(rows) + len(more) > _ROWS_MAX else [*rows, *more]


def _follow(connection: apsw.Connection, watched: Watched, rows: _Rows) -> Difference | None:
    """Bring an answer up to date from the rows that changed; None if it must be asked for."""
    if rows is None:
        return None
    try:
        match watched.plan:
            case Plan() as plan:
                return _follow_rows(connection, watched, plan, rows)
            case Tally() as tally:
                return _follow_tally(connection, watched, tally, rows)
            case None:
                return None
    except ENVIRONMENT_ERRORS:
        raise
    except (apsw.Error, UnicodeDecodeError):
        # The query itself is to say what is wrong, if anything is.
        return None


def _follow_rows(
    connection: apsw.Connection, watched: Watched, plan: Plan, rows: Sequence[RowChange]
) -> Difference | None:
    keys = {plan.key_in(image) for change in rows for image in (change.old, change.new) if image is not None}
    if len(keys) > KEYS_MAX or any(None in key for key in keys):
        return None
    watched.kept = watched.kept or kept(plan, watched.rows)
    if watched.kept is None:
        return None
    found = watched.kept.update({key: fetch_one(connection, plan.row_sql, plan.given(key)) for key in keys})
    if found is None:
        return None
    before, watched.rows = watched.rows, watched.kept.rows
    sample = (watched.rows or before)[:1]
    # Told apart by other columns than the primary key, if the app says so.
    is_by_key = not sample or watched.key_places(sample[0]) == plan.key_places
    return found if is_by_key else difference(before, watched.rows, watched.key_of(sample[0]))


def _follow_tally(
    connection: apsw.Connection, watched: Watched, tally: Tally, rows: Sequence[RowChange]
) -> Difference | None:
    before = tally.before(rows)
    if len(before) > KEYS_MAX or any(None in key for key in before):
        return None
    old = watched.rows
    if tally.sums_sql is not None and watched.sums is None:
        # Asked for here, and not whenever the query is run: it costs as much again.
        watched.rows = tuple(fetch_all(connection, watched.sql, watched.parameters))
        [found] = raw_rows(connection, tally.sums_sql, tally.parameters)
        watched.sums = [Sum(count, int(distance)) for count, distance in zip(found[::2], found[1::2], strict=True)]
        return difference(old, watched.rows, watched.key_of(old[0]))
    gone: list[Contribution] = []
    come: list[Contribution] = []
    for key, image in before.items():
        if image is not None:
            gone += raw_rows(connection, tally.before_sql, (*image, *tally.parameters))
        come += raw_rows(connection, tally.now_sql, (*tally.parameters, *key))
    [row] = old
    values = tallied(tally.kinds, row, watched.sums or (), gone, come)
    if values is None:
        return None
    watched.rows = (type(row)(values),)
    return difference(old, watched.rows, watched.key_of(row))


def _fail(subscriptions: Sequence[Subscription], error: Exception) -> None:
    """Say that queries could not be run."""
    if not any(one.on_error for one in subscriptions):
        _log.error("a live query could not be run (%s); it is tried again after the next change", error)
    for one in subscriptions:
        if one.on_error is not None:
            call_hook(one.on_error, error)

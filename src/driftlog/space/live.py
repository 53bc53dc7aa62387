"""Live queries: from what a transaction changed to the callbacks whose answers it changed.

After each commit, whoever wrote takes what was changed, finds through the index which queries may see it, and has the lines
run these. A line is where callbacks are called: in the thread that wrote, or where the app's own `call_soon` takes them.
There the queries are run, on one state of the file, and callbacks called while it stands; so a slow line is told the newest
answer and none in between. A query whose answer is the same tells nobody.

Everything that cannot be proved irrelevant is run again. What is proved, and how, is in `_reactive/reads.py`; which answers
are brought up to date from the changed rows instead, in `_reactive/plan.py`.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from threading import Lock
from typing import Final

import apsw

from driftlog._core.changes import Changes
from driftlog._reactive.index import PredicateIndex
from driftlog._reactive.plan import plan_of
from driftlog._reactive.reads import Reads, SeenThrough, reads_of
from driftlog._reactive.select import Select, parse_select
from driftlog._reactive.tally import tally_of
from driftlog._sqlite.footprint import CLOCKS, UNREPEATABLE, Footprint, Shape, footprint_of, shapes_of
from driftlog._sqlite.reading import marked_query
from driftlog._sqlite.rows import Parameters, SqlValue
from driftlog._sqlite.sqltext import Token, excerpt, fold, statements
from driftlog.errors import DriftlogError, ForbiddenSQL
from driftlog.space.answer import CallSoon, OnAnswer, OnError, Subscription
from driftlog.space.lines import Line, Watched

SUBSCRIPTIONS_MAX: Final = 100_000
"""Of one space. More than any screen shows; an app that reaches it closes none."""
LINES_MAX: Final = 16
"""Of ways to be called: each has a connection of its own. An app has one or two event loops."""
_TEXTS_MAX: Final = 1_000
"""Of query texts whose reading is kept; one that puts values into its texts must not fill the memory."""

_Text = tuple[Footprint, Select | None, tuple[Token, ...]]


class Live:
    """The live queries of one open space."""

    def __init__(
        self,
        want: Callable[[frozenset[str]], bool],
        take: Callable[[], Changes | None],
        foreign_version: Callable[[], int | None],
        views: SeenThrough,
    ) -> None:
        self._views = views
        self._want = want
        self._take = take
        self._foreign_version = foreign_version
        """Says, under the lock that writing holds, which number other processes' writes have; None within a transaction."""
        self._is_wanting = False
        self._lock = Lock()
        self._index: PredicateIndex[Watched] = PredicateIndex()
        self._reads: dict[Watched, Reads] = {}
        self._always: dict[Watched, None] = {}
        """Those that are run after every transaction: they read a clock, or what is no table."""
        self._watched: dict[tuple[object, ...], Watched] = {}
        self._lines: dict[CallSoon | None, Line] = {}
        self._count = 0
        self._texts: dict[str, _Text] = {}
        self._shapes: Mapping[str, Shape] = {}
        self._seen_version: int | None = None
        self._generation = 0

    def is_wanted(self) -> bool:
        """Tell whether anybody is subscribed."""
        return self._count > 0

    def subscribe(
        self,
        connection: apsw.Connection,
        make_line: Callable[[CallSoon | None], Line],
        sql: str,
        parameters: Parameters,
        callback: OnAnswer,
        *,
        key: tuple[str, ...] | None,
        call_soon: CallSoon | None,
        on_error: OnError | None,
    ) -> tuple[Subscription, Line]:
        """Enter a callback, under the lock that writing holds; the line is to be run without it."""
        text = marked_query(sql)
        # The caller's own may change later.
        parameters = _copied(parameters)
        given = _frozen(parameters)
        name = (text, given, tuple(map(type, _values(given))), key, call_soon)
        with self._lock:
            if self._count >= SUBSCRIPTIONS_MAX:
                raise DriftlogError(f"there are {self._count} subscriptions (limit {SUBSCRIPTIONS_MAX}); close some")
            # Before there is a line, which nobody would end if the query is refused.
            read = self._read(connection, text, parameters)
            watched = self._watched.get(name)
            line = self._line(make_line, call_soon)
            if self._seen_version is None:
                # So that the first state to be chosen can be known; of earlier ones nothing is.
                self._seen_version = self._foreign_version()
                self._generation += 1
            if watched is None:
                watched = self._watched[name] = self._watch(read, text, parameters, key, line)
            subscription = Subscription(callback, on_error, partial(self._end, name, watched))
            watched.subscriptions = (*watched.subscriptions, subscription)
            self._count += 1
            line.mark(watched, None)
        return subscription, line

    def deliver(self) -> None:
        """Tell what was committed and not told yet. Called without the write lock, by whoever may have changed something."""
        if not self._count and not self._is_wanting:
            return
        with self._lock:
            if not self._count:
                # Not waited for: if another thread writes, it asks again.
                self._is_wanting = not self._want(frozenset())
                return
        self._mark()
        self._wake(Line.wake)

    def wake_again(self) -> None:
        """Tell what was put off while a transaction was open that has been undone."""
        self._wake(Line.wake_again)

    def _wake(self, wake: Callable[[Line], None]) -> None:
        with self._lock:
            lines = list(self._lines.values())
        with ExitStack() as stack:
            # Each of them, even if a callback of another is interrupted: nobody else would wake it.
            for line in reversed(lines):
                stack.callback(wake, line)

    def catch_up(self) -> int | None:
        """Mark what was committed until now, under the lock that writing holds: each query is due by all that it may see.

        Gives the generation of that state: queries that were run on one of the same have missed nothing but what they are
        due by. None where another process has written, or where this thread is writing: there is no telling then.
        """
        version = self._foreign_version()
        if version is None or version != self._seen_version:
            # Between the state that was chosen and this look there may have been another write: it belongs to neither.
            self._seen_version = version
            self._generation += 1
            return None
        self._mark()
        return self._generation

    def _mark(self) -> None:
        # In one: what another thread has taken and not marked yet would be in a state and due by nobody.
        with self._lock:
            try:
                changes = self._take()
                if changes is None:
                    return
                for watched, rows in self._index.affected(changes).items():
                    watched.line.mark(watched, rows)
                for watched in self._always:
                    watched.line.mark(watched, None)
            except BaseException:
                # An interrupt: which of them were marked is not known.
                for watched in self._watched.values():
                    watched.line.mark(watched, None)
                raise

    def doubt(self) -> None:
        """Read through new connections from now on: the machine has failed under the others."""
        with self._lock:
            self._seen_version = None
            for line in self._lines.values():
                line.doubt()

    def close(self) -> None:
        """Tell nobody any more."""
        with self._lock:
            ended = [one for watched in self._watched.values() for one in watched.subscriptions]
            for subscription in ended:
                subscription.is_closed = True
            lines = list(self._lines.values())
            self._watched.clear()
            self._lines.clear()
            self._reads.clear()
            self._always.clear()
            self._index = PredicateIndex()
            self._count = 0
        with ExitStack() as stack:
            # Each of them, the lines first, even if the disk fails under one.
            for subscription in ended:
                if subscription.on_end is not None:
                    stack.callback(subscription.on_end)
            for line in lines:
                stack.callback(line.close)

    def _line(self, make_line: Callable[[CallSoon | None], Line], call_soon: CallSoon | None) -> Line:
        line = self._lines.get(call_soon)
        if line is None:
            if len(self._lines) >= LINES_MAX:
                raise DriftlogError(f"{LINES_MAX} different call_soon are in use; give the same function again")
            line = self._lines[call_soon] = make_line(call_soon)
        return line

    def _watch(
        self, read: _Text, text: str, parameters: Parameters, key: tuple[str, ...] | None, line: Line
    ) -> Watched:
        footprint, select, statement = read
        asked = (footprint, self._shapes, select, text, statement, parameters)
        plan = plan_of(*asked) or tally_of(*asked)
        watched = Watched(text, parameters, key or _key_of(select, self._shapes), line, plan)
        reads = reads_of(footprint, self._shapes, select, statement, parameters, self._views)
        self._index.add(watched, reads)
        self._reads[watched] = reads
        line.queries += 1
        if footprint.is_opaque or footprint.functions & CLOCKS:
            self._always[watched] = None
        self._rewatch()
        return watched

    def _read(self, connection: apsw.Connection, text: str, parameters: Parameters) -> _Text:
        known = self._texts.get(text)
        if known is not None:
            # Compiled anew, so that a parameter that SQLite cannot take is refused here, and not when it is first run.
            connection.execute(f"EXPLAIN {text}", parameters).close()
            return known
        self._shapes = self._shapes or shapes_of(connection)
        [statement] = statements(text)
        words = {token.word for token in statement}
        footprint = footprint_of(
            connection, self._shapes, text, parameters, joins_by_name=bool(words & {"NATURAL", "USING"})
        )
        wrong = sorted(footprint.functions & UNREPEATABLE)
        if wrong:
            raise ForbiddenSQL(
                f"`{excerpt(text)}` calls {wrong[0]}(), which gives another answer whenever it is asked, so there is no "
                "telling when it changed; leave it out, or ask with space.query"
            )
        if len(self._texts) >= _TEXTS_MAX:
            self._texts.clear()
        self._texts[text] = (footprint, parse_select(statement), statement)
        return self._texts[text]

    def _rewatch(self) -> None:
        tables = self._index.tables()
        if self._always:
            # Any transaction writes here, or to a table of the app.
            tables |= {shape.name for shape in self._shapes.values()}
        self._is_wanting = True
        is_held = self._want(tables)
        assert is_held, "whoever subscribes holds the lock"

    def _end(self, name: tuple[object, ...], watched: Watched, subscription: Subscription) -> None:
        with self._lock:
            if self._watched.get(name) is not watched:
                return
            self._count -= 1
            watched.subscriptions = tuple(one for one in watched.subscriptions if one is not subscription)
            if not watched.subscriptions:
                del self._watched[name]
                self._index.remove(watched, self._reads.pop(watched))
                self._always.pop(watched, None)
                watched.line.forget(watched)
                watched.line.queries -= 1
                if not watched.line.queries:
                    del self._lines[watched.line.call_soon]
                    watched.line.close()


def _copied(parameters: Parameters) -> Parameters:
    if isinstance(parameters, Mapping):
        return {name: _kept(value) for name, value in parameters.items()}
    return tuple(map(_kept, parameters))


def _kept(value: SqlValue) -> SqlValue:
    return bytes(value) if isinstance(value, (bytearray, memoryview)) else value


def _frozen(parameters: Parameters) -> tuple[object, ...]:
    return tuple(sorted(parameters.items())) if isinstance(parameters, Mapping) else tuple(parameters)


def _values(given: tuple[object, ...]) -> list[SqlValue]:
    return [value[1] if isinstance(value, tuple) else value for value in given]  # type: ignore[misc]  # a name and its value


def _key_of(select: Select | None, shapes: Mapping[str, Shape]) -> tuple[str, ...] | None:
    """Give the columns that tell rows apart: the primary key, where the rows of the answer are rows of one table."""
    if select is None or not select.is_row_by_row or len(select.sources) != 1:
        return None
    shape = shapes.get(fold(select.sources[0].table))
    return tuple(shape.columns[column] for column in shape.key) if shape is not None and shape.key else None

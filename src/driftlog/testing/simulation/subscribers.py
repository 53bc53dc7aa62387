"""Live queries on a device: whatever happens to it, each answer is what its query gives, and each difference leads to it.

Drawn for each process that opens a file, from the tables of its version of the app and the engine's views, and only for
some, because they cost. They last as long as the process does. While a callback runs, the query is asked again on the state
that it is told of; between the world's moments, what was told last must be what the query gives now. An error may reach the
hook of a device on a drive that has raised one, and then an answer may be late until something is written again.

Threads are not simulated, so none waits for other processes' writes: while two have the file open, each looks once a second,
and once more when it is alone again.
"""

import random
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple

from driftlog._sqlite.footprint import Shape, shapes_of
from driftlog._sqlite.rows import Row, SqlValue
from driftlog._sqlite.scratch import scratch
from driftlog._sqlite.sqltext import quote
from driftlog._sqlite.wal_writes import hints_for
from driftlog.errors import DriftlogError, StorageError
from driftlog.space.answer import Answer
from driftlog.space.app import App
from driftlog.space.others import Found, Others
from driftlog.space.space import Space
from driftlog.testing.simulation.ledger import Broken
from driftlog.testing.simulation.loop import Host, Killed

if TYPE_CHECKING:
    from driftlog.testing.simulation.device import Device

SHARE: Final = 0.1
"""Of processes that have subscribers, because these are dear: each answer is asked for again."""
QUERIES: Final = 3
"""Of each, besides one of the engine's own state."""
LOOK_MS: Final = 1_000
"""As a thread without hints."""
_APPS_MAX: Final = 8
"""Whose queries are remembered; a run has two."""

_OWN_STATE: Final = (
    "SELECT count(*) FROM driftlog_pending",
    "SELECT * FROM driftlog_pending",
    "SELECT * FROM driftlog_rejected",
    "SELECT * FROM driftlog_held",
    "SELECT * FROM driftlog_unknown",
    "SELECT * FROM driftlog_device",
)


class Asked(NamedTuple):
    """A query, and what gives its one parameter when it is subscribed to, if it has one."""

    sql: str
    parameter_sql: str | None = None


@lru_cache(maxsize=_APPS_MAX)
def queries_of(app: App) -> tuple[Asked, ...]:
    """Give queries on an app's tables: of each table and column, one for each way of keeping an answer, and others."""
    with scratch((*app._tables.statements, *app._local.statements)) as connection:
        shapes = shapes_of(connection)
    # What is SQLite's own may change unseen, and is run after every transaction.
    own = [shape for name, shape in sorted(shapes.items()) if not name.startswith("sqlite_")]
    return tuple(chain.from_iterable(map(_of, own)))


def _of(shape: Shape) -> list[Asked]:
    table = quote(shape.name)
    found = [Asked(f"SELECT * FROM {table}")]
    key = "".join(f", {quote(shape.columns[place])}" for place in shape.key)
    for name in map(quote, shape.columns):
        found += [
            Asked(f"SELECT * FROM {table} ORDER BY {name} DESC{key} LIMIT 3"),
            Asked(f"SELECT count(*), min({name}), max({name}) FROM {table}"),
            # Bounded, for an error that the query itself is to blame for would be no finding.
            Asked(f"SELECT sum({name}), count({name}) FROM {table} WHERE {name} BETWEEN -1000000 AND 1000000"),
            Asked(f"SELECT {name}, count(*) FROM {table} GROUP BY {name}"),
            Asked(f"SELECT * FROM {table} WHERE {name} = ?", f"SELECT {name} FROM {table} LIMIT 1"),
        ]
    return found


class _Subscriber:
    """One callback, and what it was told."""

    def __init__(self, device: "Device", space: Space, host: Host, sql: str, given: tuple[SqlValue, ...]) -> None:
        self._device = device
        self._space = space
        self._name = f"{host.name}, subscribed to `{sql}` with {given},"
        self._sql = sql
        self._given = given
        self._rows: Sequence[Row] | None = None
        self._is_behind = False
        """It was told of an error since it was told an answer."""
        self._raised = 0
        """How many errors of the drive lie behind it."""
        self._note_well()
        space.subscribe(sql, self._hear, given, on_error=self._fail)
        if self._rows is None:
            raise Broken(f"{self._name} was told nothing at once")

    def check(self) -> None:
        """Raise unless what was told last is what the query gives now."""
        if self._is_behind:
            return
        try:
            asked = self._space.query(self._sql, self._given)
        except StorageError as error:
            self._fail(error)
            return
        if self._rows is None or list(self._rows) != asked:
            raise Broken(f"{self._name} was told {_shown(self._rows)} last, and it gives {_shown(asked)}")
        self._note_well()

    def end(self) -> None:
        """Raise unless it was told what it gives now, although something was written since the last error."""
        self._is_behind = False
        self.check()

    def _hear(self, answer: Answer) -> None:
        before, rows = self._rows, list(answer)
        self._device.world.trace.data(b"told %d" % len(rows))
        if answer.difference.apply(before or ()) != rows:
            self._break(f"was told {_shown(rows)} after {_shown(before)} with {answer.difference}")
        elif before is not None and list(before) == rows:
            self._break(f"was told {_shown(rows)} twice")
        self._rows = rows
        self._is_behind = False
        self._note_well()
        try:
            asked = self._space.query(self._sql, self._given)
        except StorageError as error:
            self._fail(error)
            return
        if asked != rows:
            self._break(f"was told {_shown(rows)}, and on that state it gives {_shown(asked)}")

    def _fail(self, error: Exception) -> None:
        self._is_behind = True
        drive = self._device.drive
        if not isinstance(error, StorageError) or drive is None or drive.raised == self._raised:
            self._break(f"met {type(error).__name__}: {self._device.without_path(str(error))}")

    def _note_well(self) -> None:
        drive = self._device.drive
        self._raised = 0 if drive is None else drive.raised

    def _break(self, what: str) -> None:
        # What a callback raises goes to a hook.
        self._device.world.loop.failures.append(Broken(f"{self._name} {what}"))


class Subscribers:
    """Those of one process."""

    def __init__(self, device: "Device", space: Space, host: Host) -> None:
        self._device = device
        self._space = space
        self._host = host
        self._is_looking = False
        engine = space._engine
        # One that begins no thread, as for a space in memory.
        engine.others = Others(engine, engine.live.is_wanted, None, hints_for)
        rng = device.world.random(f"subscribers of {host.name}")
        self._all: list[_Subscriber] = []
        if rng.random() < SHARE:
            # Nobody's doing: no fault of a drive is met.
            with device.world.loop.as_host(device.world.outside):
                self._all = [self._subscriber(asked) for asked in _drawn(device.app, rng)]

    def look_from_now_on(self) -> None:
        """Look for other processes' writes while there are others, if anybody wants to know."""
        if self._all and not self._is_looking:
            self._is_looking = True
            self._host.post_in(LOOK_MS, self._look)

    def check(self) -> None:
        """Raise unless each of them knows the newest answer."""
        if self._is_looking:
            self._catch_up()
        for one in self._all:
            one.check()

    def end(self) -> None:
        """Do as `check`, for a device that is well and has written since it was not."""
        if self._all:
            self._catch_up()
        for one in self._all:
            one.end()

    def _subscriber(self, asked: Asked) -> _Subscriber:
        rows = self._space.query(asked.parameter_sql) if asked.parameter_sql else []
        given = (rows[0][0] if rows else None,) if asked.parameter_sql else ()
        return _Subscriber(self._device, self._space, self._host, asked.sql, given)

    def _look(self) -> None:
        self._is_looking = len(self._device.processes) > 1
        if not self._is_looking:
            return
        self._host.post_in(LOOK_MS, self._look)
        try:
            self._catch_up()
        except DriftlogError as error:
            # As the thread does: the next look may find what this one did not.
            world = self._device.world
            world.note(f"{self._host.name} cannot look: {self._device.without_path(str(error))}")
        except Killed:
            self._host.is_doomed = True

    def _catch_up(self) -> None:
        if self._space._engine.look_for_others() is Found.NEWS:
            self._space._engine.deliver()


def _drawn(app: App, rng: random.Random) -> list[Asked]:
    possible = queries_of(app)
    return [*rng.sample(possible, min(QUERIES, len(possible))), Asked(rng.choice(_OWN_STATE))]


def _shown(rows: Sequence[Row] | None) -> str:
    return "nothing" if rows is None else str([tuple(row) for row in rows[:5]]) + " …" * (len(rows) > 5)

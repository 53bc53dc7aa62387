"""An open space without its public face: store, keys and lock, and the few operations that all else is built of.

The public `Space` and the replica that the sync driver talks to are two views of one engine.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from threading import get_ident
from time import sleep
from typing import Final

import apsw

from driftlog._core.changes import Changes
from driftlog._core.clock import Timestamp
from driftlog._core.event import Event
from driftlog._core.steps import Sealed, Steps
from driftlog._core.version_vector import VersionVector
from driftlog._crypto.keys import Entropy, SpaceKeys
from driftlog._sqlite.connection import Durability
from driftlog._sqlite.rows import Parameters
from driftlog._sqlite.storage_errors import storage_errors
from driftlog._sqlite.transactions import synced_to_disk
from driftlog._sqlite.wal import abandon
from driftlog._sqlite.wal_writes import hints_for
from driftlog._store.batches import Received
from driftlog._store.own_state import seen_through, show_own_state
from driftlog._store.program import Program
from driftlog._store.reading import check_not_upgrading
from driftlog._store.rebuilding import Progress, untold
from driftlog._store.settled import settled
from driftlog._store.store import Store
from driftlog.errors import Closed, DriftlogError, ReadOnly
from driftlog.space.answer import CallSoon, OnAnswer, OnError, Subscription
from driftlog.space.appender import Appender
from driftlog.space.comparing import Comparing
from driftlog.space.connecting import Connecting
from driftlog.space.entries import prepare_events
from driftlog.space.exchange import Exchange
from driftlog.space.held import Held
from driftlog.space.lines import Line
from driftlog.space.listeners import Listeners
from driftlog.space.live import Live
from driftlog.space.looking import Looking
from driftlog.space.others import Found, Others
from driftlog.space.reader import Reader
from driftlog.space.reopening import Reopening
from driftlog.space.standing import SharedStanding, Standing
from driftlog.space.telling import Telling
from driftlog.space.turns import Turns
from driftlog.space.whereabouts import Whereabouts

PAUSE_SECONDS: Final = 0.001
"""Between two steps of a long catch-up, so that another process finds the write lock free: SQLite has no queue for it, and
who waits looks again every millisecond. A step takes 10 to 20 ms."""


class Engine:
    """One open space. Its methods may be called from any thread."""

    def __init__(
        self,
        connection: apsw.Connection,
        program: Program,
        keys: SpaceKeys,
        *,
        path: str,
        clock: Callable[[], int],
        entropy: Entropy,
        progress: Progress = untold,
        durability: Durability = "full",
        vfs: str = "",
    ) -> None:
        self.path = path
        self.program = program
        self.keys = keys
        self.clock = clock
        self.exchange = Exchange(keys, entropy)
        self.changed = Listeners()
        self._connection = connection
        self._connecting = Connecting(connection, path, durability, vfs)
        self.is_read_only = self._connecting.is_read_only
        self._lock = Turns()
        self.whereabouts = Whereabouts(path, self._connecting.system_name, self._empty_wal_of_gone)
        self._is_closed = False
        self._transaction_thread: int | None = None
        self._looking = Looking(self)
        self.reopening = Reopening(self._reopen)
        self._store = self._store_on(connection)
        self._appender = Appender(self._store, self._lock)
        self.live = Live(self._want, self._take_changes, self._foreign_version, seen_through(keys.device_key))
        self.telling = Telling(self._store.verdicts, program, keys.device_key, self.settled)
        if not self.is_read_only:
            self._store.rebuild_if_outdated(progress)
        # A space in memory, or one opened read-only, has a single connection.
        is_shared = self._connecting.is_in_memory or self.is_read_only
        self.reader = Reader(
            connection, self._lock, path, self.reopening, self.whereabouts, is_shared=is_shared, vfs=vfs
        )
        self.comparing = Comparing(self)
        self.others = Others(self, self.live.is_wanted, self._connecting.wal_name, hints_for)

    # --- access to the store -----------------------------------------------------------------------------------------

    def reading(self) -> Held:
        """Hold the lock in a `with`, for what needs the store's own connection but writes nothing."""
        return Held(self)

    @contextmanager
    def writing(self, *, is_synced: bool = False, is_last_in_line: bool = False) -> Iterator[Store]:
        """Hold the lock, in a transaction that an error undoes; `is_synced` even where durability is relaxed.

        `is_last_in_line` lets those go first who wait for the lock. Once it is committed and the lock let go, the app is
        told what it changed.
        """
        self.check_writable()
        lock = self._lock.behind_others() if is_last_in_line else self._lock
        try:
            with storage_errors(self.path), lock, self.reopening.watching():
                self.check_writable()
                self._transaction_thread = get_ident()
                try:
                    with synced_to_disk(self._connection) if is_synced else nullcontext(), self._store.transaction():
                        yield self._store
                finally:
                    self._transaction_thread = None
        except BaseException:
            self.live.wake_again()
            raise
        self.deliver()

    def deliver(self) -> None:
        """Tell the app what was committed, in a thread that holds no lock of the space."""
        # Whoever wrote within a callback reads its own writes from here on.
        self.reader.told.connection = None
        self.telling.deliver()
        self.live.deliver()

    def others_wrote(self) -> None:
        """Take note that another process has written to the file, and tell the app."""
        with self.reading() as store:
            store.watch.note_others()
        self.deliver()

    def look_for_others(self) -> Found:
        """Look whether another process has written to the file, unless this one is at it, and does that itself."""
        return self._looking.look()

    def subscribe(
        self,
        sql: str,
        parameters: Parameters,
        callback: OnAnswer,
        *,
        key: tuple[str, ...] | None,
        call_soon: CallSoon | None,
        on_error: OnError | None,
    ) -> Subscription:
        """Enter a callback for a live query, and have its first answer told."""
        if self._transaction_thread == get_ident():
            raise DriftlogError("inside `with space.transaction() as tx` nothing can be subscribed to; do it after")
        with self.reading() as store:
            show_own_state(store.connection)
            subscription, line = self.live.subscribe(
                store.connection, self._line, sql, parameters, callback, key=key, call_soon=call_soon, on_error=on_error
            )
        self.others.begin()
        line.wake()
        return subscription

    def _line(self, call_soon: CallSoon | None) -> Line:
        if self._connecting.is_in_memory:
            standing: Standing = SharedStanding(self._connection, self._lock, self.reader.told)
        else:
            standing = Standing(self._connecting.for_queries(), self._lock, self.reader.told)
        return Line(standing, call_soon, self._run_within, self.live.catch_up)

    def _run_within(self, run: Callable[[], None]) -> None:
        with storage_errors(self.path), self.reopening.watching():
            self.whereabouts.check_now_and_then()
            run()

    def _want(self, tables: frozenset[str]) -> bool:
        """Watch tables, unless another thread writes; tell whether that was done."""
        if not self._lock.take_if_free():
            return False
        try:
            # Closed meanwhile, by a callback perhaps, there is nothing left to watch.
            if not self._is_closed:
                self._store.watch.want(tables)
        finally:
            self._lock.let_go()
        return True

    def _take_changes(self) -> Changes | None:
        return self._store.watch.take()

    def _foreign_version(self) -> int | None:
        """Give the number that other processes' commits change; None within a transaction of this one. Under the lock."""
        return None if self._connection.in_transaction else self._connection.pragma("data_version")

    # --- operations --------------------------------------------------------------------------------------------------

    def append(self, events: Sequence[Event]) -> tuple[Timestamp, ...]:
        """Append events, all or none, sharing a transaction with other threads' appends."""
        prepared = prepare_events(self.program, events)
        if not prepared:
            return ()
        self.check_writable()
        try:
            timestamps = self._appender.append(prepared)
        except apsw.Error as error:
            self.reopening.note(error)
            with storage_errors(self.path):
                raise
        self.changed.tell()
        # Held events whose time has come take their place with whatever is appended.
        self.deliver()
        return timestamps

    def retract(self, events: Sequence[Timestamp], *, is_redo: bool) -> Timestamp | None:
        """Undo or redo events, all in one."""
        with self.writing() as store:
            at = store.retract(events, is_redo=is_redo)
        if at is not None:
            self.changed.tell()
        return at

    def acknowledge(self) -> Timestamp | None:
        """Say that this device is here, if others have said something since it last spoke."""
        self.check_writable()
        with self.reading() as store:
            if not store.has_unacknowledged():
                return None
        with self.writing() as store:
            at = store.acknowledge()
        if at is not None:
            self.changed.tell()
        return at

    def settled(self) -> Timestamp | None:
        """Give the last event of the settled part of the order."""
        self.check_open()
        with storage_errors(self.path), self.reader.consistent() as connection:
            return settled(connection, self.keys.device_key)

    def take_in(self, sealed: Iterable[Sealed], also: Callable[[Store], None] = lambda _: None) -> Received:
        """Take in verified envelopes, in bounded steps, and do something else in the transaction of the last one.

        A crash between two steps leaves what was taken in until then, and whoever sent it sends the rest again.
        """
        steps = Steps(sealed)
        received = self._take_step(steps, also, is_last_in_line=False)
        while steps:
            sleep(PAUSE_SECONDS)
            received += self._take_step(steps, also, is_last_in_line=True)
        return received

    def _take_step(self, steps: Steps, also: Callable[[Store], None], *, is_last_in_line: bool) -> Received:
        opened = steps.next()
        # With envelopes of this very device, what is pending may be sealed on the way.
        has_own = any(envelope.header.device == self.keys.device_key for envelope, _ in opened)
        with self.writing(is_synced=has_own, is_last_in_line=is_last_in_line) as store:
            received = store.receive(opened)
            if not steps:
                also(store)
        steps.note(received.applied, received.replayed)
        if received.envelopes:
            self.changed.tell()
        return received

    def seal(self) -> int:
        """Seal pending events, on disk when it returns, and give how many envelopes were made."""
        if self.is_read_only:
            return 0
        with self.reading() as store:
            if not store.has_unsealed():
                return 0
        with self.writing(is_synced=True) as store:
            return store.seal_pending()

    def lacks_own(self, theirs: VersionVector) -> bool:
        """Tell whether another has own envelopes that are missing here: this file is then an older copy."""
        own = self.keys.device_key
        with self.reading() as store:
            return theirs.seq(own) > store.chains.version_vector().seq(own)

    def rebuild(self, progress: Progress) -> int:
        """Make the view anew from the log."""
        with self.writing() as store:
            return store.rebuild(progress)

    # --- life and death ----------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Let go of the file, and raise what the disk did meanwhile. May be called twice."""
        # Each step, the last named first, even if one before it fails: nothing may be left of a space that is closed.
        with ExitStack() as unlocked, self._lock, ExitStack() as locked:
            if self._is_closed:
                return
            self._is_closed = True
            unlocked.callback(self.telling.settling.close)
            unlocked.callback(self.others.close)
            locked.callback(self._let_go)
            locked.callback(self.reader.close)
            locked.callback(self.live.close)
            locked.callback(self.telling.close)

    def _empty_wal_of_gone(self) -> None:
        # Not while somebody writes. What fails here is tried once more when the space is closed, and told then. While others
        # still read what the WAL holds, SQLite leaves it as it is, without an error.
        if not self.is_read_only and self._lock.take_if_free():
            try:
                if not self._connection.in_transaction:
                    with suppress(apsw.Error):
                        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            finally:
                self._lock.let_go()

    def _let_go(self) -> None:
        self._connecting.let_go(
            self._connection, is_in_doubt=self.reopening.is_due, is_there=self.whereabouts.is_there()
        )

    def _store_on(self, connection: apsw.Connection) -> Store:
        return Store(
            connection,
            self.program,
            space=self.keys.space,
            device=self.keys.device_key,
            clock=self.clock,
            seal=self.exchange.seal,
            open_envelope=self.exchange.open,
        )

    def _reopen(self) -> None:
        """Open the file anew, as `reopening` says; a space in memory has no file that could fail."""
        if self._connecting.is_in_memory:
            return
        self.whereabouts.check()
        connection = self._connecting.anew(self.keys.space)
        try:
            self.reader.reopen(connection)
        except BaseException:
            abandon(connection)
            raise
        verdicts, watch = self._store.verdicts, self._store.watch
        abandon(self._connection)
        self._connection = connection
        self._store = self._appender.store = self._store_on(connection)
        # The app's callbacks wait for what this one holds.
        self._store.verdicts = verdicts
        self._store.watch = watch
        watch.move_to(connection)
        self.live.doubt()

    def check_open(self) -> None:
        """Raise `Closed` after `close`, and within an upgrade, which may use nothing but its fields.

        Where the machine has failed since, open the file anew first, and raise what that meets.
        """
        check_not_upgrading()
        if self._is_closed:
            raise Closed(f"the space at {self.path} was closed; open it again with app.open(path)")
        self.whereabouts.check_if_gone()
        # Within a transaction, that waits until it is over: it cannot commit any more.
        if self.reopening.is_due and self._transaction_thread != get_ident():
            with storage_errors(self.path), self._lock:
                self.reopening.mend()

    def check_writable(self) -> None:
        """Raise unless this thread may begin to write."""
        self.check_open()
        if self.is_read_only:
            raise ReadOnly(
                f"{self.path} is open for reading only, because the file or its directory cannot be written; "
                "check their permissions and open it again"
            )
        if self._transaction_thread == get_ident():
            raise DriftlogError("inside `with space.transaction() as tx`, append with tx.append(...)")
        self.whereabouts.check_now_and_then()

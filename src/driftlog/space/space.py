"""A space on this device: append events, query the view, exchange envelopes. What an app holds.

Everything here may be called from any thread. Writing goes through one connection under one lock; queries use a
connection of their own and never wait for a writer.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from driftlog._core.clock import Timestamp
from driftlog._core.event import Event
from driftlog._core.version_vector import VersionVector
from driftlog._sqlite.connection import storage_errors
from driftlog._sqlite.reading import query_all
from driftlog._sqlite.rows import Parameters, Row, SqlValue
from driftlog._store.reading import check_not_upgrading
from driftlog._store.rebuilding import Progress, untold
from driftlog._store.restoring import Finding
from driftlog._store.view import view_digest
from driftlog.space.effects import Effects
from driftlog.space.engine import Engine
from driftlog.space.entries import decode_entries
from driftlog.space.past import Past, check_timestamp, view_at
from driftlog.space.rejected import rejected_entries
from driftlog.space.repairing import verify_space
from driftlog.space.settling import settle
from driftlog.space.status import Comparison, LogEntry, Receipt, Rejected, Status, Verdict
from driftlog.space.survey import survey
from driftlog.space.syncing import Sync, Syncing
from driftlog.space.transaction import Transaction
from driftlog.space.why import why_row


class Space:
    """One device's copy of a space: its log, its tables, and its place among the other devices. Made by `app.open`.

    Use it as a context manager, or `close()` it. Methods raise `StorageError` for what the machine did (`DiskFull`, `Busy`);
    nothing is then recorded, and the same call may succeed later.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._syncing = Syncing(engine)
        self._effects = Effects(engine)

    # --- writing -----------------------------------------------------------------------------------------------------

    def append(self, *events: Event) -> tuple[Timestamp, ...]:
        """Append events, all or none, and give their timestamps. They are in the log and the view when it returns.

        Raises `EventRejected` if a materializer refuses one, `InvalidEvent` for a value outside the domain, `NeedsUpgrade`
        while the log holds a critical event that this version of the app does not know; nothing is then appended. Appends
        of several threads share a transaction.
        """
        return self._engine.append(events)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Read, decide and append in one transaction, which an error in the block undoes.

        Other writers wait meanwhile, so keep it short. Append through the object it gives, not through the space.
        """
        with self._engine.writing() as store:
            transaction = Transaction(store, self._engine.program, self._engine.path)
            try:
                yield transaction
            finally:
                transaction._is_over = True
        self._engine.changed.tell()

    def undo(self, *timestamps: Timestamp) -> Timestamp | None:
        """Undo events, own or others', however long ago: the view becomes what it would be had they never been.

        An undo is an event itself: it syncs, and gives its timestamp; None if all of them are undone already. Of several
        undos and redos of an event, the last in the total order counts. Events that depended on what is undone are judged
        anew, so some may become rejected. Naming an undo means what it undid. Costs what a late event in the place of the
        earliest would. Raises `InvalidEvent` for a timestamp that is not in the log.
        """
        return self._engine.retract(timestamps, is_redo=False)

    def redo(self, *timestamps: Timestamp) -> Timestamp | None:
        """Let undone events count again, in their old places; None if none of them is undone. See `undo`."""
        return self._engine.retract(timestamps, is_redo=True)

    def execute_local(self, sql: str, parameters: Parameters = ()) -> None:
        """Run one INSERT, UPDATE or DELETE on the app's local tables, in a transaction of its own. Nothing is appended."""
        with self.transaction() as tx:
            tx.execute_local(sql, parameters)

    def rebuild(self, progress: Progress | None = None) -> int:
        """Make the tables anew from the log, in one transaction, and give the number of events replayed.

        Queries show the old tables until it is done, and it appears in one step; appends wait. `progress(done, in_all)` is
        called at the beginning, every so often and at the end. What it raises cancels the rebuild, and leaves the old tables
        as any error does. A space in memory has one connection: a query in `progress` sees the tables half made.
        """
        return self._engine.rebuild(progress or untold)

    def verify(self) -> list[Finding]:
        """Read all of the file, and give what in it is not as it was written; empty if all is well.

        Every envelope's signature and place, every event's hash, undo data, view, chains and SQLite's own structure.
        `app.repair` mends what is found. Local tables and how far relays were read prove nothing and cannot be verified.
        Makes the space anew in memory to compare with: about 100 µs an envelope and 15 µs an event, and as much memory as
        the file.
        """
        return verify_space(self._engine)

    # --- reading -----------------------------------------------------------------------------------------------------

    def query(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        """Give the rows of a query on the app's tables: `row.id`, `row["id"]`, `row[0]`.

        The engine's own tables begin with `driftlog_`; `driftlog_rejected` is there to be read.
        """
        self._engine.check_open()
        with storage_errors(self._engine.path), self._engine.reader.connection() as connection:
            return query_all(connection, sql, parameters)

    def log(self, after: Timestamp | None = None, before: Timestamp | None = None) -> Iterator[LogEntry]:
        """Give the log's entries in the total order: those after and before the given timestamps, where they are given."""
        self._engine.check_open()
        return decode_entries(self._engine.reader, self._engine.program, after, before)

    def at(self, timestamp: Timestamp) -> Past:
        """Give the view as it was right after the event with this timestamp, as the log is known now: a copy for reading.

        Every event up to and including that place counts, whether or not there is one with just this timestamp, and so do
        late arrivals that belong before it. Held, rejected, unknown and undone events have no part in it, as in the view.

        The tables are copied into memory and taken back: about 1.2 µs a row that there is now, and 2 to 3 µs for each event
        after the timestamp (100,000 rows, 100,000 later events: 0.5 s). No materializer runs. Nobody waits meanwhile, except
        for the copying where the space has one connection only: in memory, or opened read-only. Raises `AppChanged` if
        another version of the app made the tables.
        """
        self._engine.check_open()
        return view_at(self._engine.reader, self._engine.program, timestamp)

    def why(self, table: str, key: SqlValue | Sequence[SqlValue]) -> list[LogEntry]:
        """Give the events that made a row what it is, in order: all that made, changed or removed it, at any time.

        What came over it through cascades and triggers counts. `key` is the row's primary key, a sequence where that has
        several columns; the row need not be there any more. Keys are compared as SQLite does, 'a' and 'A' being one under
        NOCASE. Raises `InvalidKey` for a table or key that the app cannot have.

        Searches the undo data of the whole log: 0.2 to 0.4 µs an event, and up to 5 µs for a key so short that its bytes are
        in most of it, such as the integer 0. Nobody waits meanwhile, except where the space has one connection only.
        """
        self._engine.check_open()
        return why_row(self._engine.reader, self._engine.program, table, key)

    def rejected(self) -> list[Rejected]:
        """Give the rejected events of all devices in the total order, each with the reason and the events it lost against.

        `driftlog_rejected` gives them to `query` without those. Reads the log backwards from each until a writer of all that
        it came across is found, at most 100,000 events that changed the view: 2 to 3 µs for each event read, and none is
        read twice. Nobody waits meanwhile, except where the space has one connection only. Raises `AppChanged` if another
        version of the app made the tables.
        """
        self._engine.check_open()
        return rejected_entries(self._engine.reader, self._engine.program)

    def on_verdict(self, callback: Callable[[Verdict], None], *, of_all_devices: bool = False) -> Callable[[], None]:
        """Call back whenever an event of this device becomes rejected, or is accepted again; of any device, if you say so.

        Being undone and redone are changes, too; `verdict.state` tells them apart.

        Gives the function that ends that: no call begins after it. Each change is told once, in the order of the commits and
        within one in that of the log, after the commit, without any lock of the space, by some thread that wrote to it. So a
        call that wrote may return before its changes were told, if another thread is telling. A callback may use the space;
        it keeps the next ones waiting. What it raises is logged by the logger `driftlog` and ends nothing.

        Only what this open space takes in is told: after a restart, or where several processes have the file open,
        `rejected()` says how things stand. An event is accepted where it is appended, and that is not told.
        """
        self._engine.check_open()
        return self._engine.telling.add(callback, is_for_all=of_all_devices)

    @property
    def settled(self) -> Timestamp | None:
        """The last event of the part of the order in which nothing can change any more; None while there is none.

        Every device of which this one holds anything has been heard from past it, on all branches where a key has forked, so
        nothing can come before it any more, and what became of it and all before it stays. A device that is silent holds it
        back: `status()` names it. It says nothing of devices nobody here has heard of, as one that was invited and has not
        synced yet, and of copies of devices that have not shown themselves: what these bring still takes its place, and may
        put `settled` back. An undo of settled events is a new event.

        Reads a row for each device.
        """
        return self._engine.settled()

    def run_effects(self) -> int:
        """Do what the app's effects say for all events that were settled since the last call, and give how many there were.

        Call it on the one device that is to do them, now and then or from `on_settled`; in one process at a time. What an
        effect raises is passed on: that one is tried again by the next call, and those after it wait, so that the order
        stands. An event that arrives behind the mark, from a device nobody had heard of, has no effect any more.
        """
        return self._effects.run(lambda effect, entry: effect(self, entry))

    def on_settled(self, timestamp: Timestamp, callback: Callable[[Timestamp], None]) -> Callable[[], None]:
        """Call back once, with what is then settled, as soon as an event is: before this returns, if it is already.

        Gives the function that ends the wait. How callbacks are called, and what becomes of their errors, is as with
        `on_verdict`. A wait ends with the space.
        """
        self._engine.check_open()
        check_timestamp(timestamp)

        def reached(settled: Timestamp | None) -> None:
            if settled is not None:
                callback(settled)

        remove = self._engine.telling.settling.add(timestamp, reached)
        self._engine.telling.deliver()
        return remove

    async def asettle(self, timestamp: Timestamp) -> Timestamp:
        """Wait until an event is settled, and give what is settled then; raises `Closed` if the space is closed before."""
        self._engine.check_open()
        check_timestamp(timestamp)
        telling = self._engine.telling
        return await settle(telling.settling, telling.deliver, timestamp, self._engine.path)

    def digest(self) -> bytes:
        """Hash the view: 32 bytes, equal on devices whose tables are equal. Reads every row."""
        self._engine.check_open()
        with storage_errors(self._engine.path), self._engine.reader.consistent() as connection:
            return view_digest(connection, self._engine.program.tables)

    def state_digest(self) -> Timestamp | None:
        """State the digest of the view to the other devices, as an event, and give its timestamp.

        None if this device has said just that last, or another thread has written meanwhile. Syncing does it by itself, at
        most once an hour and after a minute of quiet; exchange by other means calls it. Changes no view. Reads every row.
        """
        return self._engine.comparing.state()

    def compare_digests(self) -> tuple[Comparison, ...]:
        """Compare the view with what other devices have stated about theirs, and give what came of it.

        Compared is what is about the events that this device holds, neither more nor less, and the same version of the app.
        Where there is a difference, the view is rebuilt from the log, at most once a day, and `status()` says what that made
        of it. Syncing does it by itself; exchange by other means calls it. Reads every row if there is anything to compare.
        """
        return self._engine.comparing.compare()

    def on_divergence(self, callback: Callable[[Comparison], None]) -> Callable[[], None]:
        """Call back when this device's view is found to differ from another's, after what was done about it.

        Gives the function that ends that. Called without any lock; what it raises is logged and ends nothing.
        """
        self._engine.check_open()
        return self._engine.comparing.add(callback)

    def status(self) -> Status:
        """Say where this device stands: pending and confirmed events, devices, relays, what is held or rejected."""
        with self._engine.reading() as store:
            return survey(store, self._engine.keys.device_key, self._syncing.states(), is_read_only=self.is_read_only)

    @property
    def device(self) -> bytes:
        """This device's key in this space, 32 bytes: its identity in the log."""
        return self._engine.keys.device_key

    @property
    def space_id(self) -> bytes:
        """The space's id, 32 bytes, equal on all its devices."""
        return self._engine.keys.space

    @property
    def is_read_only(self) -> bool:
        """Whether the file could be opened for reading only."""
        return self._engine.is_read_only

    # --- other devices -----------------------------------------------------------------------------------------------

    def invite(self) -> str:
        """Give a link with which another device joins: `app.join(path, link)`. Whoever holds it is a member."""
        with self._engine.reading() as store:
            return self._engine.exchange.invite(store, self._engine.program.name).link()

    def version_vector(self) -> VersionVector:
        """Say how far this device holds each device's chain of envelopes, its own unsealed events not counted."""
        with self._engine.reading() as store:
            return store.chains.version_vector()

    def envelopes_for(self, version_vector: VersionVector) -> Iterator[bytes]:
        """Give the envelopes that another device lacks, each chain in order. Seals this device's pending events first."""
        self._engine.seal()
        with self._engine.reading() as store:
            missing = store.chains.missing_from(version_vector)
        while True:
            with self._engine.reading():
                outbound = next(missing, None)
            if outbound is None:
                return
            yield outbound.raw

    def receive(self, envelopes: Iterable[bytes]) -> Receipt:
        """Take in envelopes, in any order and with repeats, in one transaction and at most one rebase.

        A long list, of more than 500 events, is taken in steps of about 20 ms, each a transaction that leaves the file
        whole, so that no append waits longer; after a crash between two of them, give the rest again.
        What is altered, of another space or malformed is refused, with the reason, and takes nothing else with it; an
        envelope whose predecessor is missing is kept until that arrives.
        """
        self._engine.check_writable()
        opened, refused = self._engine.exchange.open_all(envelopes)
        received = self._engine.take_in(opened)
        return Receipt(
            envelopes=received.envelopes,
            applied=received.applied,
            replayed=received.replayed,
            held=received.held,
            void=received.void,
            waiting=received.waiting,
            dropped=received.dropped,
            refused=refused,
            way=received.way,
        )

    def acknowledge(self) -> Timestamp | None:
        """Say that this device is here, and give the timestamp of the event that says it; None if nothing asks for it.

        A device that appends nothing would hold back for ever what is settled elsewhere. Syncing does it by itself, a minute
        after others have said something that nothing of this device follows; exchange by other means calls it.
        """
        return self._engine.acknowledge()

    def seal(self) -> int:
        """Put this device's pending events into envelopes, on disk when it returns, and give how many were made.

        Exchanging does it by itself; a read-only space makes none.
        """
        return self._engine.seal()

    def sync(self, *urls: str) -> Sync:
        """Exchange with relays (`ws://`, `wss://`) in the background, until stopped or closed; several at once.

        Returns at once. Being offline is a state, not an error: it is retried with growing delays. `Sync.wait()` blocks
        until everything is exchanged; `space.status()` tells how it stands.
        """
        self._engine.check_writable()
        return self._syncing.start(urls)

    async def sync_forever(self, *urls: str) -> None:
        """Exchange with relays as `sync` does, in the running event loop, until the task is cancelled."""
        self._engine.check_writable()
        await self._syncing.run(urls)

    # --- awaitable forms ---------------------------------------------------------------------------------------------

    async def aappend(self, *events: Event) -> tuple[Timestamp, ...]:
        """`append`, without blocking the event loop."""
        return await asyncio.to_thread(self.append, *events)

    async def aexecute_local(self, sql: str, parameters: Parameters = ()) -> None:
        """`execute_local`, without blocking the event loop."""
        await asyncio.to_thread(self.execute_local, sql, parameters)

    async def aquery(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        """`query`, without blocking the event loop."""
        return await asyncio.to_thread(self.query, sql, parameters)

    async def aclose(self) -> None:
        """`close`, without blocking the event loop."""
        await asyncio.to_thread(self.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    # --- life and death ----------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Stop syncing and let go of the file. May be called twice."""
        check_not_upgrading()
        self._syncing.stop()
        self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        keys = self._engine.keys
        return f"<Space {keys.space[:4].hex()} at {self._engine.path!r}, device {keys.device_key[:4].hex()}>"

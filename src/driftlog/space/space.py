"""A space on this device: append events, query the view, exchange envelopes. What an app holds.

Everything here may be called from any thread. Writing goes through one connection under one lock; queries use a
connection of their own and never wait for a writer.
"""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from driftlog._core.clock import Timestamp
from driftlog._core.event import Event
from driftlog._core.version_vector import VersionVector
from driftlog._sqlite.rows import Parameters, Row
from driftlog._store.damage import Finding
from driftlog._store.reading import check_not_upgrading
from driftlog._store.rebuilding import Progress, untold
from driftlog.space.effects import Effects
from driftlog.space.engine import Engine
from driftlog.space.reading import Reading
from driftlog.space.repairing import verify_space
from driftlog.space.status import Receipt
from driftlog.space.syncing import Sync, Syncing
from driftlog.space.transaction import Transaction
from driftlog.space.watching import Watching


class Space(Reading, Watching):
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
        """Give the envelopes that another device lacks, each chain in order. Seals this device's pending events first.

        Nothing is sealed where the other has more of this device's own chain: this file is then an older copy, and what is
        pending has to follow what it lacks. Receive that first, and ask again.
        """
        if not self._engine.lacks_own(version_vector):
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
        incoming = self._engine.exchange.verify(envelopes)
        received = self._engine.take_in(incoming.sealed)
        return Receipt(
            envelopes=received.envelopes,
            applied=received.applied,
            replayed=received.replayed,
            held=received.held,
            void=received.void,
            waiting=received.waiting,
            dropped=received.dropped,
            refused=incoming.refused(),
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
        self._syncing.close()
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

"""One space's file: every operation on it is one transaction over log, view, chains and cursors.

The store keeps in memory what every append needs (the order's end, the own chain's end, the first held stamp) and reads it
again when another process has written. It does not know how envelopes are sealed: opening and sealing are arguments.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import apsw

from driftlog._core.batch import Batch
from driftlog._core.clock import Hlc, Timestamp, is_held, last_not_held, tick, wall_time
from driftlog._core.envelope import Envelope
from driftlog._core.event import EventType, Record, is_critical, place
from driftlog._core.ids import DeviceKey, SpaceId
from driftlog._core.limits import HLC_MAX
from driftlog._core.merge import Way
from driftlog._core.retraction import CONTROL_VERSION, NAMED_EVENTS_MAX, REDONE, UNDONE, encode_named
from driftlog._core.seen import SEEN, SEEN_PAYLOAD, SEEN_VERSION
from driftlog._core.statement import DIGEST, DIGEST_VERSION, Statement, encode_statement
from driftlog._sqlite.bracket import Bracket
from driftlog._sqlite.storage_errors import ENVIRONMENT_ERRORS
from driftlog._store.batches import Prepared, Received
from driftlog._store.chain import Chains
from driftlog._store.critical import awaited_types
from driftlog._store.fold import Arrival, Fold, Integrated
from driftlog._store.intake import Intake
from driftlog._store.local import Local
from driftlog._store.log import Log, Row
from driftlog._store.meta import Meta
from driftlog._store.program import Program
from driftlog._store.rebuilding import Progress, patient_transaction, untold
from driftlog._store.sealing import OpenEnvelope, SealBatch, seal_pending
from driftlog._store.verdicts import Verdicts
from driftlog._store.view import View
from driftlog._store.watch import Watch
from driftlog.errors import AppChanged, Corrupt, DriftlogError, InvalidEvent, NeedsUpgrade


class Store:
    """The file of one space on one device. Calls must not overlap."""

    def __init__(
        self,
        connection: apsw.Connection,
        program: Program,
        *,
        space: SpaceId,
        device: DeviceKey,
        clock: Callable[[], int],
        seal: SealBatch,
        open_envelope: OpenEnvelope,
    ) -> None:
        self.connection = connection
        self.log = Log(connection)
        self.chains = Chains(connection)
        self.meta = Meta(connection)
        self.view = View(connection, program.tables, program.local.names)
        self.local = Local(connection, program.local, program.tables)
        self.verdicts = Verdicts()
        self.watch = Watch(connection)
        self._fold = Fold(connection, self.log, self.view, program)
        # One cursor for what every transaction says: making another costs as much as what it runs.
        self._control = connection.cursor().execute
        self._program = program
        self._space = space
        self._device = device
        self._clock = clock
        self._seal = seal
        self._open = open_envelope
        self._intake = Intake(self.log, self.chains, self.meta, space, device, clock, open_envelope, self.seal_pending)
        self._failure: BaseException | None = None
        self._data_version = -1
        self._is_stale = True
        self._last: Timestamp | None = None
        self._own_hlc = 0
        self._first_held: int | None = None
        self._awaited: tuple[EventType, ...] = ()

    # --- transactions ------------------------------------------------------------------------------------------------

    def transaction(self) -> Bracket:
        """Give a write transaction to use in a `with`. An error undoes all of it, in memory too, and is passed on."""
        return Bracket(self.begin, self.commit, self.roll_back)

    def append_alone(self, prepared: Sequence[Prepared]) -> tuple[Timestamp, ...]:
        """Append events in a transaction of their own, all or none."""
        # `transaction` in long hand: its `with` would cost every append a microsecond.
        self.begin()
        try:
            timestamps = self.append(prepared)
            self.commit()
        except BaseException:
            self.roll_back()
            raise
        return timestamps

    def begin(self) -> None:
        """Take the write lock, and note what another process may have written. `transaction` calls it."""
        if self.connection.in_transaction:
            raise DriftlogError(
                "a materializer used the space it runs in; read and write with its tx, and append nothing"
            )
        try:
            self._control("BEGIN IMMEDIATE")
            self._failure = None
            self._refresh(may_fold=True)
        except BaseException:
            self.roll_back()
            # What another process wrote may have been seen, and what was remembered not yet been forgotten.
            self._data_version = -1
            raise

    def commit(self) -> None:
        """Commit, unless the machine has failed meanwhile. `transaction` calls it."""
        self.check_sound()
        self._control("COMMIT")
        self._data_version = self.connection.data_version()
        self._fold.commit()
        self.verdicts.commit()
        if self.watch.is_on:
            self.watch.commit()

    def roll_back(self) -> None:
        """Undo what was begun, if SQLite has not already, and forget what is remembered of the file."""
        self._is_stale = True
        self._fold.roll_back()
        self.verdicts.roll_back()
        if self.connection.in_transaction:
            self.watch.roll_back()
            self.connection.execute("ROLLBACK")
            self._data_version = self.connection.data_version()
        else:
            # SQLite undid it by itself, or it was committed and then interrupted.
            self.watch.doubt()

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Run a part of a transaction that can fail alone."""
        self.check_sound()
        last, own_hlc, verdicts = self._last, self._own_hlc, self.verdicts.count()
        with self.noting_failures():
            self.connection.execute("SAVEPOINT driftlog_part")
            try:
                yield
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK TO driftlog_part")
                    self.connection.execute("RELEASE driftlog_part")
                self._last, self._own_hlc = last, own_hlc
                self._fold.roll_back()
                self.verdicts.roll_back(verdicts)
                raise
            self.connection.execute("RELEASE driftlog_part")

    @contextmanager
    def noting_failures(self) -> Iterator[None]:
        """Remember what the machine did within, whoever catches it: after that the transaction cannot go on."""
        try:
            yield
        except ENVIRONMENT_ERRORS as error:
            self._failure = error
            raise

    def check_sound(self) -> None:
        """Raise what broke the transaction, if anything did. SQLite may have undone it all by itself already.

        Without this, a savepoint would begin a transaction of its own there, and commit it.
        """
        if self._failure is not None:
            raise self._failure
        assert self.connection.in_transaction

    def _refresh(self, *, may_fold: bool) -> None:
        # SQLite counts its own commits and, as a transaction begins, that there were others; only then is the answer true.
        version = self.connection.data_version()
        if version != self._data_version:
            self._fold.forget()
            if self.watch.is_on:
                self.watch.note_others()
        if version != self._data_version or self._is_stale:
            self._last = self.log.last_placed()
            self._first_held = self.log.first_held()
            self._awaited = awaited_types(self.connection)
            _, sealed = self.meta.own_branch()
            self._own_hlc = self.log.last_own_after(self._device, sealed) or sealed
            if may_fold and not self.is_view_current():
                raise AppChanged(
                    "another process has opened this file with another version of the app, and rebuilt its tables; "
                    "restart this one with that version"
                )
            self._data_version = version
            self._is_stale = False
        if may_fold and self._first_held is not None and not is_held(self._first_held, self._clock()):
            self._release_held()

    def _release_held(self) -> None:
        due = self.log.held_up_to(last_not_held(self._clock()))
        self._integrate([Arrival(entry.timestamp, entry.record, is_held=True) for entry in due])
        self._first_held = self.log.first_held()

    def _integrate(self, arrived: list[Arrival]) -> Integrated:
        integrated = self._fold.integrate(arrived, self._last)
        self.verdicts.add(integrated.verdicts)
        if integrated.way is Way.REBUILT:
            self.watch.note_everything()
        if arrived:
            newest = max(arrival.timestamp for arrival in arrived)
            self._last = newest if self._last is None else max(self._last, newest)
        if any(is_critical(arrival.record.marked_version) for arrival in arrived):
            self._awaited = awaited_types(self.connection)
        return integrated

    # --- what this device does ---------------------------------------------------------------------------------------

    def append(self, prepared: Sequence[Prepared]) -> tuple[Timestamp, ...]:
        """Append events, all or none, within a transaction or savepoint that a `Rejection` must undo."""
        if not prepared:
            return ()
        if self._awaited:
            raise NeedsUpgrade(self._program.name, self._awaited)
        now_ms = self._clock()
        wall_ms = wall_time(now_ms)
        rows: list[Row] = []
        timestamps: list[Timestamp] = []
        # Within one call the clock stands still, so that each stamp is the one before it and one.
        for hlc, (event, payload) in enumerate(prepared, self._tick(now_ms, len(prepared))):
            record = Record(Hlc(hlc), wall_ms, event.event_name, event.event_marked_version, payload)
            at = place(self._space, self._device, record)
            rows.append(self._fold.apply_new(event, at, record))
            timestamps.append(at)
        self._fold.log_new(rows)
        self._last, self._own_hlc = timestamps[-1], timestamps[-1].hlc
        return tuple(timestamps)

    def retract(self, events: Sequence[Timestamp], *, is_redo: bool) -> Timestamp | None:
        """Append an undo or redo of events that are in the log, within a transaction; None if nothing would change.

        Naming an undo means what it undid, and naming a redo likewise: to undo an undo is to redo.
        """
        if self._awaited:
            raise NeedsUpgrade(self._program.name, self._awaited)
        undone = self._fold.retracted()
        named = [at for at in self._fold.meant_by(events) if (at in undone) is is_redo]
        if not named:
            return None
        if len(named) > NAMED_EVENTS_MAX:
            raise InvalidEvent(
                f"{len(named)} events are meant (limit {NAMED_EVENTS_MAX}); undo or redo them in several calls"
            )
        return self._append_control(REDONE if is_redo else UNDONE, CONTROL_VERSION, encode_named(named))

    def has_unacknowledged(self) -> bool:
        """Tell whether other devices have said something that no event of this one follows yet."""
        return not self.log.has_last_word(self._device)

    def acknowledge(self) -> Timestamp | None:
        """Append the event that says that this device is here, within a transaction; None if there is nothing to answer."""
        return self._append_control(SEEN, SEEN_VERSION, SEEN_PAYLOAD) if self.has_unacknowledged() else None

    def state(self, statement: Statement) -> Timestamp:
        """Append a statement about the view, within a transaction."""
        return self._append_control(DIGEST, DIGEST_VERSION, encode_statement(statement))

    def _tick(self, now_ms: int, count: int) -> Hlc:
        """Give the first of so many stamps after all that this device has given, or has seen in their place."""
        hlc = tick(max(self._own_hlc, self._last.hlc if self._last else 0), now_ms)
        if hlc > HLC_MAX - count:
            # No clock and no member takes a device there, only what has rotted in its own file.
            raise Corrupt(
                f"{self.connection.filename} is damaged: its last stamp is the last there is; run repair on it"
            )
        return hlc

    def _append_control(self, name: str, version: int, payload: bytes) -> Timestamp:
        now_ms = self._clock()
        hlc = self._tick(now_ms, 1)
        record = Record(hlc, wall_time(now_ms), name, version, payload)
        at = place(self._space, self._device, record)
        self._integrate([Arrival(at, record)])
        self._own_hlc = hlc
        return at

    def seal_pending(self) -> int:
        """Put the device's unsealed events into envelopes, within a transaction. Gives how many envelopes were made."""
        return seal_pending(self.log, self.chains, self.meta, self._device, self._seal, self._open)

    def has_unsealed(self) -> bool:
        """Tell whether this device has events that are in no envelope yet."""
        return self.log.last_own_after(self._device, self.meta.own_branch().last_hlc) is not None

    def pending(self) -> int:
        """Count this device's events that no relay is known to hold durably."""
        confirmed = self.meta.confirmed_seq()
        return self.log.count_own_after(self._device, self.chains.last_hlc_at(self._device, confirmed))

    # --- what comes from others --------------------------------------------------------------------------------------

    def receive(self, opened: Sequence[tuple[Envelope, Batch]]) -> Received:
        """Take in envelopes that were verified and opened, within a transaction: at most one rebase for all of them."""
        taken = self._intake.take(opened)
        self._own_hlc = max(self._own_hlc, taken.own_hlc)
        integrated = self._integrate([Arrival(at, record) for at, record in taken.due.items()])
        if taken.held:
            self._first_held = self.log.first_held()
        return Received(
            envelopes=taken.new,
            applied=integrated.applied - integrated.replayed,
            replayed=integrated.replayed,
            held=taken.held,
            void=taken.void,
            waiting=taken.waiting,
            dropped=taken.dropped,
            way=integrated.way,
        )

    # --- the view ----------------------------------------------------------------------------------------------------

    def rebuild_if_outdated(self, progress: Progress = untold) -> None:
        """Make the view anew if another version of the app made it, and local tables that are new, in one transaction.

        Nothing else may fold before: undo data names tables as the other version declared them.
        """
        if self.is_view_current() and self.local.is_current():
            return
        with patient_transaction(self.connection, lambda: progress(0, self.log.count_placed())):
            self.local.prepare()
            # Another process may have made the view while this one waited for the lock.
            if not self.is_view_current():
                self._refresh(may_fold=False)
                self.rebuild(progress)
            self.local.make()
        self._data_version = -1
        # The space is being opened: there is nobody yet to be told.
        self.verdicts.roll_back()

    def rebuild(self, progress: Progress = untold) -> int:
        """Make the view anew from the log, within a transaction, and give the number of events replayed."""
        total = self.log.count_placed()
        progress(0, total)
        integrated = self._fold.rebuild(lambda done: progress(done, total))
        self.watch.note_everything()
        assert integrated.applied == total, "the log stood still meanwhile"
        self.verdicts.add(integrated.verdicts)
        self.meta.set("view", self._program.fingerprint)
        progress(total, total)
        return total

    def is_view_current(self) -> bool:
        """Tell whether the view was made by this version of the app."""
        return self.meta.get("view") == self._program.fingerprint

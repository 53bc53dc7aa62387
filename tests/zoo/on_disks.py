"""Mistakes in what is on the disk when: each is given the cuts of scenarios that should show it, one scenario a trial."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import apsw
import pytest

from driftlog._store import verifying, view
from driftlog._store.meta import Meta
from driftlog._store.store import Store
from driftlog._store.view import View
from driftlog.relay import writing as writing_module
from driftlog.relay.writing import Writing
from driftlog.space import engine as engine_module
from driftlog.space import files, opening, repairing
from driftlog.space.appender import Appender
from driftlog.space.effects import Effects
from driftlog.space.reopening import Reopening
from driftlog.space.replica import SpaceReplica
from driftlog.testing.disk import OneFault, SimulatedDisk
from driftlog.testing.disk.vfs import _File
from tests.disk.cutting import cut_all, random_cuts
from tests.disk.judging import judge
from tests.disk.rot import judge_flip, make_base, prepare
from tests.disk.running import CASES, run_every
from tests.disk.test_io_errors import run as run_with_fault
from tests.disk.world import World, workplace
from tests.zoo.mistakes import Trial, Zoo

ZOO = Zoo()


def cuts_of(*names: str) -> Callable[[], Iterator[Trial]]:
    """Give a trial for each of these scenarios: a cut after every operation of it."""

    def trials() -> Iterator[Trial]:
        for case in [case for name in names for case in CASES if case.name == name]:
            yield lambda case=case: next(iter(run_every(case, ends_at_first=True).failures), None)  # type: ignore[misc]  # mypy infers no default

    return trials


# --- what is synced when -----------------------------------------------------------------------------------------------


def _with_pragma(patch: pytest.MonkeyPatch, module: Any, name: str, pragma: str, value: str) -> None:
    real = getattr(module, name)

    def connect(*arguments: Any, **options: Any) -> apsw.Connection:
        connection: apsw.Connection = real(*arguments, **options)
        if not connection.readonly("main"):
            connection.pragma(pragma, value)
        return connection

    patch.setattr(module, name, connect)


@ZOO.within(1, cuts_of("appending"))
def a_device_acknowledges_before_it_syncs(patch: pytest.MonkeyPatch) -> None:
    """SQLite's WAL with synchronous=NORMAL lost acknowledged writes in 1,944 of 2,938 simulated cuts."""
    _with_pragma(patch, opening, "connect", "synchronous", "normal")


@ZOO.within(1, cuts_of("moving_the_wal"))
def nothing_is_ever_synced(patch: pytest.MonkeyPatch) -> None:
    """synchronous=OFF, from a list of tips: fast, until the power goes, and then the database is malformed."""
    _with_pragma(patch, opening, "connect", "synchronous", "off")


@ZOO.within(1, cuts_of("relaxed"))
def what_is_handed_on_is_not_synced_first(patch: pytest.MonkeyPatch) -> None:
    """After a power cut the device gives a number again that another device has an envelope for."""
    patch.setattr(engine_module, "synced_to_disk", lambda _: nullcontext())


@ZOO.within(1, cuts_of("relay_storing"))
def a_relay_acknowledges_before_it_syncs(patch: pytest.MonkeyPatch) -> None:
    """A broker that synced every two minutes lost 14 % of what it had acknowledged."""
    _with_pragma(patch, writing_module, "open_file", "synchronous", "normal")


@ZOO.within(1, cuts_of("moving_the_wal"))
def the_database_is_not_synced_before_the_wal_begins_anew(patch: pytest.MonkeyPatch) -> None:
    """A checkpoint of half: the log of changes is overwritten while what it held is in a cache."""
    real = _File.xSync

    def sync(self: _File, flags: int) -> None:
        if self.name.endswith("-wal"):
            real(self, flags)

    patch.setattr(_File, "xSync", sync)


@ZOO.within(1, cuts_of("moving_the_wal"))
def the_database_is_written_in_place(patch: pytest.MonkeyPatch) -> None:
    """Without a journal on disk, a torn page is the only copy."""
    _with_pragma(patch, opening, "connect", "journal_mode", "memory")


# --- what is one transaction -------------------------------------------------------------------------------------------


@ZOO.within(1, cuts_of("appending_many_at_once"))
def the_events_of_one_append_are_committed_one_by_one(patch: pytest.MonkeyPatch) -> None:
    """The invoice is there, its lines are not."""
    real = Store.append_alone

    def append_alone(self: Store, prepared: Any) -> Any:
        return tuple(at for one in prepared for at in real(self, [one]))

    patch.setattr(Store, "append_alone", append_alone)
    # Appends that wait for each other share a transaction: the way through it is the one of many threads.
    patch.setattr(Appender, "append", lambda self, prepared: self.store.append_alone(prepared))


@ZOO.within(1, cuts_of("appending"))
def the_log_is_committed_before_the_tables_are_changed(patch: pytest.MonkeyPatch) -> None:
    """A crash between the two, and the tables are no longer those of the log: dual writes."""
    real = Store.append

    def append(self: Store, prepared: Any) -> Any:
        stamps = real(self, prepared)
        rows = self.connection.execute("SELECT * FROM todo").fetchall()
        self.connection.execute("DELETE FROM todo WHERE id = (SELECT max(id) FROM todo)")
        self.connection.execute("COMMIT")
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.executemany("INSERT OR REPLACE INTO todo VALUES (?, ?, ?)", rows)
        return stamps

    patch.setattr(Store, "append", append)


@ZOO.within(1, cuts_of("reading_a_relay"))
def the_cursor_is_committed_before_the_events(patch: pytest.MonkeyPatch) -> None:
    """A sync engine that was killed between the two never booted again."""
    real = SpaceReplica.apply

    def apply(self: SpaceReplica, url: str, birthday: Any, envelopes: Any, cursor: Any) -> int:
        real(self, url, birthday, [], cursor)
        return real(self, url, birthday, envelopes, cursor)

    patch.setattr(SpaceReplica, "apply", apply)


@ZOO.within(1, cuts_of("sealing"))
def an_envelope_is_committed_before_the_end_of_its_chain(patch: pytest.MonkeyPatch) -> None:
    """After a crash in between, the number is given again: a key with two histories."""
    real = Meta.set_own_branch

    def set_own_branch(self: Meta, branch: Any) -> None:
        self._connection.execute("COMMIT")
        self._connection.execute("BEGIN IMMEDIATE")
        real(self, branch)

    patch.setattr(Meta, "set_own_branch", set_own_branch)


@ZOO.within(1, cuts_of("rebuilding"))
def the_tables_are_emptied_before_they_are_made_anew(patch: pytest.MonkeyPatch) -> None:
    """A migration that is killed half way leaves an app without its data."""
    real = View.create

    def create(self: View) -> None:
        real(self)
        if self._connection.in_transaction:
            self._connection.execute("COMMIT")
            self._connection.execute("BEGIN IMMEDIATE")

    patch.setattr(View, "create", create)


@ZOO.within(1, cuts_of("keeping_drafts"))
def a_rebuild_loses_local_tables(patch: pytest.MonkeyPatch) -> None:
    """Everything that is not in the log counts as derived, and the drafts are gone."""
    patch.setattr(view, "local_names", lambda _: frozenset())


@ZOO.within(1, cuts_of("relay_storing"))
def a_relay_commits_envelopes_before_its_heads(patch: pytest.MonkeyPatch) -> None:
    """After a crash it takes the next envelope for a gap, or the last one for a second history."""
    real = Writing._save

    def save(self: Writing, space: Any) -> None:
        self._connection.execute("COMMIT")
        self._connection.execute("BEGIN IMMEDIATE")
        real(self, space)

    patch.setattr(Writing, "_save", save)


# --- effects -------------------------------------------------------------------------------------------------------------


@ZOO.within(1, cuts_of("acting"))
def an_effect_is_marked_as_done_before_it_is_performed(patch: pytest.MonkeyPatch) -> None:
    """At most once where at least once was promised: the letter is never sent."""
    real = Effects._run

    def run(self: Effects, perform: Any) -> int:
        def marked_first(effect: Any, entry: Any) -> None:
            self._keep(entry.timestamp)
            perform(effect, entry)

        return real(self, marked_first)

    patch.setattr(Effects, "_run", run)


@ZOO.within(1, cuts_of("acting"))
def that_an_effect_was_performed_is_kept_in_memory(patch: pytest.MonkeyPatch) -> None:
    """Every start of the app sends the letters again."""
    marks: WeakKeyDictionary[Effects, Any] = WeakKeyDictionary()
    patch.setattr(Effects, "_keep", lambda self, mark: marks.__setitem__(self, mark))
    patch.setattr(Effects, "_mark", lambda self: marks.get(self))


# --- files beside the database -----------------------------------------------------------------------------------------


@ZOO.within(1, cuts_of("founding"))
def the_key_is_written_after_the_database(patch: pytest.MonkeyPatch) -> None:
    """A database that nobody can write to, because its key never reached the disk."""
    real = opening._write

    def write(connection: Any, program: Any, path: Any, *rest: Any) -> Any:
        late: list[tuple[Path, bytes]] = []
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(opening, "write_seed", lambda *arguments: late.append(arguments))
            keys = real(connection, program, path, *rest)
        for arguments in late:
            files.write_seed(*arguments)
        return keys

    patch.setattr(opening, "_write", write)


@ZOO.within(1, cuts_of("founding"))
def the_key_is_not_synced(patch: pytest.MonkeyPatch) -> None:
    """A file of the right name and no content, as applications found it on ext4 when power went soon after they saved."""

    def write_seed(database: Path, seed: bytes) -> None:
        files.key_path(database).write_text(f"{files._MAGIC} {seed.hex()}\n", encoding="ascii")
        files._sync_directory(database.parent)

    patch.setattr(opening, "write_seed", write_seed)


# --- a disk that fails -------------------------------------------------------------------------------------------------


def failing_syncs() -> Iterator[Trial]:
    """Give a trial for each sync of a device that fails once: what it acknowledges after that must survive a cut."""

    def trial(number: int) -> str | None:
        with workplace() as directory, SimulatedDisk(directory) as disk:
            run_with_fault(World.seeded(disk), OneFault(number, "sync"), "relaxed")
            with workplace() as elsewhere:
                plan = random_cuts(disk.journal, 12, number)
                result = cut_all("", disk.journal, plan, partial(judge, is_relaxed=True), elsewhere)
        return next(iter(result.failures), None)

    for number in range(1, 20):
        yield lambda number=number: trial(number)  # type: ignore[misc]  # mypy infers no default


@ZOO.within(19, failing_syncs)
def after_a_failed_sync_the_same_connection_goes_on(patch: pytest.MonkeyPatch) -> None:
    """PostgreSQL's fsyncgate: the failed pages count as written, and the next sync has nothing to do."""
    patch.setattr(Reopening, "note", lambda *_: None)


def flips() -> Iterator[Trial]:
    """Give flipped bits."""
    base = prepare(make_base(1))

    def trial(seed: int) -> str | None:
        try:
            judge_flip(base, seed)
        except AssertionError as error:
            return str(error)
        return None

    for seed in range(300):
        yield lambda seed=seed: trial(seed)  # type: ignore[misc]  # mypy infers no default


@ZOO.within(40, flips)
def a_file_is_sound_if_sqlite_says_so(patch: pytest.MonkeyPatch) -> None:
    """SQLite's integrity_check passed 83 % of the flips that harmed."""
    real = verifying._structure

    def verify(source: Any, _context: Any) -> Any:
        return list(real(source))

    for module in (verifying, repairing):
        if hasattr(module, "verify"):
            patch.setattr(module, "verify", verify)

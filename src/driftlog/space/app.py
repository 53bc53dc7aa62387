"""An app's declaration: its name, its tables, and how each event changes them. Everything a space is opened with."""

import inspect
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from driftlog._core.event import Event, EventType
from driftlog._core.genesis import Invite
from driftlog._core.names import NAME_BYTES_MAX, is_name
from driftlog._crypto.keys import Entropy
from driftlog._sqlite.connection import Durability
from driftlog._sqlite.local import NO_LOCAL_TABLES, check_view_stands_alone, declare_local_tables
from driftlog._sqlite.tables import declare_tables
from driftlog._store.damage import Finding
from driftlog._store.program import Effect, Materializer, Program, Upgrade
from driftlog._store.rebuilding import Progress, untold
from driftlog._store.view_transaction import ViewTransaction
from driftlog.errors import InvalidApp
from driftlog.space.declaring import (
    DeclaredUpgrade,
    check_event_type,
    check_from_version,
    check_upgrade_function,
    check_upgrades,
)
from driftlog.space.opening import Clock, join_space, open_space
from driftlog.space.repairing import repair_space
from driftlog.space.space import Space

_EventT = TypeVar("_EventT", bound=Event)
_UpgradeT = TypeVar("_UpgradeT", bound=Upgrade)
_EffectT = TypeVar("_EffectT", bound=Effect)
_Handler = Callable[[ViewTransaction, _EventT], None]


def system_clock() -> int:
    """Give the machine's wall clock, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class App:
    """Declare an app: tables, event types and materializers. It is a value; `open` makes a device's space of it.

    `name` tells apps apart, for ever: use a reverse domain name. `tables` is SQL, CREATE TABLE, INDEX, VIEW and TRIGGER
    statements; tables are STRICT and have a PRIMARY KEY. Those whose key is not a single INTEGER are made WITHOUT ROWID.
    `floats=True` allows floats in events and REAL columns: exact as long as all devices compute alike, which integers of a
    smaller unit always do. `local_tables` are CREATE TABLE and INDEX statements of STRICT tables for this device alone,
    such as drafts: never synced, in no digest, kept through every rebuild, written with `tx.execute_local`, read with all
    others, and closed to materializers. Raises `InvalidApp` for what could not be replayed alike on every device.
    """

    def __init__(self, name: str, *, tables: str, local_tables: str = "", floats: bool = False) -> None:
        if not is_name(name):
            raise InvalidApp(f"app name {name!r} is not 1 to {NAME_BYTES_MAX} bytes of text without control characters")
        self.name = name
        check_view_stands_alone(tables, local_tables)
        self._tables = declare_tables(tables, is_float_allowed=floats)
        self._local = declare_local_tables(local_tables, self._tables) if local_tables else NO_LOCAL_TABLES
        self._is_float_allowed = floats
        self._materializers: dict[EventType, Materializer] = {}
        self._upgrades: dict[EventType, DeclaredUpgrade] = {}
        self._effects: dict[EventType, Effect] = {}

    def on(self, event_type: type[_EventT]) -> Callable[[_Handler[_EventT]], _Handler[_EventT]]:
        """Declare the decorated function as the materializer of an event type: `(tx, event) -> None`.

        It runs wherever and whenever the event is applied or replayed, so it must depend on nothing but `tx` and `event`:
        no clock, no randomness, no file, no global that changes. It may read and write the app's tables through `tx`, and
        refuse the event with `reject(reason)`.
        """
        check_event_type(event_type)

        def declare(handler: _Handler[_EventT]) -> _Handler[_EventT]:
            if inspect.iscoroutinefunction(handler) or inspect.isgeneratorfunction(handler):
                raise InvalidApp(
                    f"materializer {handler.__qualname__} is a coroutine or generator; make it a plain function"
                )
            key = (event_type.event_name, event_type.event_version)
            if key in self._materializers:
                raise InvalidApp(
                    f"event {key[0]!r} version {key[1]} has the materializer {self._materializers[key].name} already; "
                    "give one of the two another name or version, or do both in one materializer"
                )
            self._materializers[key] = Materializer.of(event_type, handler)
            return handler

        return declare

    def upgrade(self, event_type: type[Event], *, from_version: int) -> Callable[[_UpgradeT], _UpgradeT]:
        """Declare the decorated function as the upgrade of an event type's older version to the next: `(fields) -> fields`.

        It gets the fields of an event of `from_version`, a dict of plain values, and returns those of `from_version + 1`.
        Upgrades chain up to the version that `event_type` declares, whose materializer then gets an ordinary event. The
        log keeps what was appended; the event is upgraded whenever it is read, so the function must depend on nothing but
        the fields. What it raises, `reject(reason)` included, rejects the event, as does a result that does not fit.
        """
        check_event_type(event_type)
        check_from_version(event_type, from_version)

        def declare(function: _UpgradeT) -> _UpgradeT:
            check_upgrade_function(function)
            key = (event_type.event_name, from_version)
            if key in self._upgrades:
                raise InvalidApp(
                    f"event {key[0]!r} has the upgrade {self._upgrades[key].function.__qualname__} from version "
                    f"{from_version} already; keep one of the two, or give the other its own from_version"
                )
            self._upgrades[key] = DeclaredUpgrade(event_type, function)
            return function

        return declare

    def effect(self, event_type: type[Event]) -> Callable[[_EffectT], _EffectT]:
        """Declare the decorated function as what is done outside for each event of a type: `(space, entry) -> None`.

        It runs where `space.run_effects()` is called, and nowhere else, for each event that is applied and settled, in
        order. It may do what it likes, appending included. It runs again if the process ends before it was noted
        that it had run, so what it does must bear being done twice: `entry.timestamp` is the event's identity.
        """
        check_event_type(event_type)

        def declare(function: _EffectT) -> _EffectT:
            if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
                raise InvalidApp(f"effect {function!r} is a coroutine or generator; make it a plain function")
            key = (event_type.event_name, event_type.event_version)
            if key in self._effects:
                raise InvalidApp(f"event {key[0]!r} version {key[1]} has an effect already; do both in one function")
            self._effects[key] = function
            return function

        return declare

    def open(
        self,
        path: str | Path,
        *,
        durability: Durability = "full",
        clock: Clock = system_clock,
        entropy: Entropy = os.urandom,
        progress: Progress | None = None,
        vfs: str = "",
    ) -> Space:
        """Open the space in the file at `path`, or found a new one there if there is no file.

        `":memory:"` gives a space that ends with the process. `durability="full"`: what `append` returned for survives
        a power cut; `"relaxed"`: a power cut may lose the last appends, never consistency, and what another device or a
        relay was given is always kept. `clock` gives milliseconds since 1970, `entropy(n)` n random bytes, `vfs` names the
        SQLite VFS that stands for the disk; they are arguments for tests.

        If the tables, event types or upgrades have changed since the file was last open, the view is rebuilt from the log
        first, at about 10 µs an event. `progress(done, in_all)` is called meanwhile, every so often; what it raises cancels
        the opening, and the file is as it was. Other processes read the old tables until all is done, and wait if they
        write. If another process is rebuilding already, this one waits for it, and `progress` is told 0 every ten seconds.

        Raises `InvalidApp` for upgrades that do not lead to a materializer, an `UnusableFile` (not Driftlog's, from a newer
        version, another app's, without its key file) or a `StorageError`; the file is then as it was. A file that cannot be
        written is opened for reading: `space.is_read_only`.
        """
        return open_space(
            self._program(),
            path,
            durability=durability,
            clock=clock,
            entropy=entropy,
            progress=progress or untold,
            vfs=vfs,
        )

    def join(
        self,
        path: str | Path,
        link: str,
        *,
        durability: Durability = "full",
        clock: Clock = system_clock,
        entropy: Entropy = os.urandom,
        vfs: str = "",
    ) -> Space:
        """Make this device a member of the space that an invite link names, in a new file at `path`.

        The file holds no events until it syncs. Raises `InvalidInvite` or `OtherApp` for a link that is damaged or of
        another app, and `UnusableFile` if there is something at `path` already.
        """
        invite = Invite.parse(link)
        return join_space(self._program(), path, invite, durability=durability, clock=clock, entropy=entropy, vfs=vfs)

    def repair(self, path: str | Path, *, clock: Clock = system_clock) -> list[Finding]:
        """Mend the file at `path`, and give what was damaged; nothing is written if all is well.

        What proves itself is kept: envelopes, events, this device's place. Tables, log and undo data are made anew from
        them. Damaged envelopes are dropped and asked for again by syncing; only an own event that was in none yet is lost,
        and named as such. One transaction, so other processes may have the file open; costs what `space.verify` does, twice.
        Raises `Corrupt` where the file no longer says which space it is, `OtherApp` where it is another app's, and
        `MissingDeviceKey` without its key file.
        """
        return repair_space(self._program(), Path(path), clock=clock)

    def _program(self) -> Program:
        check_upgrades(self._materializers, self._upgrades)
        # Copies: what is declared later belongs to spaces opened later.
        upgrades = {key: upgrade.function for key, upgrade in self._upgrades.items()}
        return Program(
            self.name,
            self._tables,
            self._is_float_allowed,
            dict(self._materializers),
            upgrades,
            self._local,
            dict(self._effects),
        )

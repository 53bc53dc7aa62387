"""Mistakes that fleets show whose disks fail, fill up, and lose power: each is given runs with such faults only."""

from contextlib import nullcontext

import apsw
import pytest

from driftlog._core.envelope import Envelope
from driftlog._core.version_vector import Head
from driftlog._sqlite import connection as connection_module
from driftlog._sqlite import wal as wal_module
from driftlog._store import own_chain_restoring
from driftlog._store.intake import Intake
from driftlog._store.meta import Branch
from driftlog.space import engine as engine_module
from driftlog.space import opening
from tests.zoo.mistakes import Zoo, seeds_named, seeds_of_disks
from tests.zoo.on_disks import _with_pragma

ZOO = Zoo()


@ZOO.within(10, seeds_of_disks)
def a_device_of_a_fleet_acknowledges_before_it_syncs(patch: pytest.MonkeyPatch) -> None:
    """SQLite's default for WAL in many languages' drivers, synchronous=NORMAL, under an app that promises to keep things."""
    _with_pragma(patch, opening, "connect", "synchronous", "normal")


@ZOO.within(40, seeds_of_disks)
def what_a_relaxed_device_hands_on_is_not_synced_first(patch: pytest.MonkeyPatch) -> None:
    """After a power cut it gives a number again that others have an envelope for, and its key has forked."""
    patch.setattr(engine_module, "synced_to_disk", lambda _: nullcontext())


@ZOO.within(1, seeds_named(402715))
def what_a_failed_sync_has_left_is_believed_by_who_opens_the_file(patch: pytest.MonkeyPatch) -> None:
    """The fsync that fails once and then succeeds: who started anew built on pages that were never written."""

    def settle(connection: apsw.Connection) -> None:
        if wal_module._wal_bytes(connection):
            with wal_module._wal(connection) as file:
                file.xSync(apsw.SQLITE_SYNC_FULL)

    patch.setattr(connection_module, "settle_wal", settle)


@ZOO.within(2, seeds_named(405334, 500370))
def another_history_is_followed_although_ones_own_is_not_whole(patch: pytest.MonkeyPatch) -> None:
    """What a device that waits for a lost envelope has not sealed yet counts as sealed, and nobody else ever sees it."""

    def follow(self: Intake, envelope: Envelope, *_: object) -> None:
        head, last_hlc = self._meta.own_branch()
        is_continued = head is not None and envelope.header.previous == head.hash
        end = Head(envelope.header.batch_seq, envelope.hash) if is_continued else head
        self._meta.set_own_branch(Branch(end, max(last_hlc, self._chains.last_hlc(self._device))))

    patch.setattr(Intake, "_follow_own", follow)


@ZOO.within(1, seeds_named(401449))
def a_lost_envelope_is_not_missed_where_another_has_its_number(patch: pytest.MonkeyPatch) -> None:
    """A repair then drops what that envelope held, and what was to follow it."""
    patch.setattr(own_chain_restoring, "_is_any_left", lambda *_: False)

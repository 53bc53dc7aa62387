"""A device's file is copied or rolled back, and both write before they hear: both histories count everywhere, and the key is
seen to have forked. Where one hears first, it goes on after the other: `test_restored.py`.
"""

import shutil
from pathlib import Path

import apsw
import pytest

from driftlog import App, Event, Space, ViewTransaction
from driftlog._core.ids import Birthday
from driftlog._core.version_vector import VersionVector
from driftlog.errors import RelayRefused
from driftlog.space.replica import SpaceReplica
from driftlog.testing import RelayThread, exchange
from tests.todo_app import Clock, TodoAdded, todo_app

APP = todo_app()


def copy_device(source: Path, target: Path) -> None:
    """Copy a closed device with its key, as a backup of its folder would."""
    shutil.copy(source, target)
    shutil.copy(f"{source}-device", f"{target}-device")


def add(space: Space, id_: str) -> None:
    space.append(TodoAdded(id=id_, text="x"))
    space.seal()


def test_both_branches_of_a_copied_device_count_on_every_device(tmp_path: Path) -> None:
    with APP.open(tmp_path / "a.db") as a:
        add(a, "before")
        link = a.invite()
    copy_device(tmp_path / "a.db", tmp_path / "copy.db")

    with (
        APP.open(tmp_path / "a.db") as a,
        APP.open(tmp_path / "copy.db") as copy,
        APP.join(":memory:", link) as c,
        APP.join(":memory:", link) as d,
    ):
        add(a, "1")
        add(a, "2")
        add(copy, "3")
        exchange(a, c)
        exchange(copy, c)
        exchange(copy, d)
        exchange(c, d)
        exchange(a, c)
        exchange(copy, c)

        for space in (a, copy, c, d):
            assert {row.id for row in space.query("SELECT id FROM todo")} == {"before", "1", "2", "3"}
            assert space.digest() == a.digest()
            assert space.version_vector() == a.version_vector()
            assert [device.is_forked for device in space.status().devices if device.envelopes] == [True]


def test_a_forked_device_goes_on_writing_and_is_heard(tmp_path: Path) -> None:
    with APP.open(tmp_path / "a.db") as a:
        add(a, "before")
        link = a.invite()
    copy_device(tmp_path / "a.db", tmp_path / "copy.db")
    with APP.open(tmp_path / "a.db") as a, APP.open(tmp_path / "copy.db") as copy, APP.join(":memory:", link) as c:
        for space, ids in ((a, "123"), (copy, "4")):
            for id_ in ids:
                add(space, id_)
            exchange(space, c)
        exchange(copy, c)
        add(copy, "5")
        exchange(copy, c)

        assert len(c.query("SELECT * FROM todo")) == 6
        assert c.digest() == copy.digest()


def test_a_device_rolled_back_without_new_work_follows_its_own_later_history(tmp_path: Path) -> None:
    with APP.open(tmp_path / "a.db") as a:
        add(a, "1")
        link = a.invite()
    copy_device(tmp_path / "a.db", tmp_path / "backup.db")
    with APP.open(tmp_path / "a.db") as a, APP.join(tmp_path / "b.db", link) as b:
        add(a, "2")
        exchange(a, b)

    with APP.open(tmp_path / "backup.db") as restored, APP.open(tmp_path / "b.db") as b:
        exchange(restored, b)
        add(restored, "3")
        exchange(restored, b)

        assert {row.id for row in b.query("SELECT id FROM todo")} == {"1", "2", "3"}
        assert restored.digest() == b.digest()
        assert not any(device.is_forked for device in b.status().devices)


def test_a_relay_keeps_one_branch_and_says_so_and_nothing_is_lost(tmp_path: Path) -> None:
    relay = RelayThread(tmp_path / "relay.db")
    relay.start()
    try:
        with APP.open(tmp_path / "a.db") as a:
            add(a, "before")
            link = a.invite()
        copy_device(tmp_path / "a.db", tmp_path / "copy.db")
        with APP.open(tmp_path / "a.db") as a, APP.open(tmp_path / "copy.db") as copy:
            add(a, "1")
            add(copy, "2")
            assert a.sync(relay.url).wait(20)
            with pytest.raises(RelayRefused, match="is kept"):
                copy.sync(relay.url).wait(20)

            # What the relay does not take reaches others directly.
            with APP.join(":memory:", link) as c:
                exchange(copy, c)
                assert {row.id for row in c.query("SELECT id FROM todo")} == {"before", "1", "2"}
    finally:
        relay.stop()


def test_a_restored_copy_with_work_of_its_own_is_told_that_the_relay_keeps_the_other_history(tmp_path: Path) -> None:
    relay = RelayThread(tmp_path / "relay.db")
    relay.start()
    try:
        with APP.open(tmp_path / "a.db") as a:
            add(a, "before")
            assert a.sync(relay.url).wait(20)
        copy_device(tmp_path / "a.db", tmp_path / "copy.db")
        with APP.open(tmp_path / "a.db") as a:
            # The relay's head lies past all that the copy holds: only reading tells that it is of another branch.
            for id_ in "1234":
                add(a, id_)
            assert a.sync(relay.url).wait(20)
        with APP.open(tmp_path / "copy.db") as copy:
            add(copy, "mine")

            with pytest.raises(RelayRefused, match="another history"):
                copy.sync(relay.url).wait(20)

            # The other branch is held here too by now, and says nothing of this one.
            assert copy.status().relays[0].confirmed_envelopes == 1
            assert copy.status().pending > 0
    finally:
        relay.stop()


def test_a_restored_copy_without_work_of_its_own_knows_that_all_of_it_is_at_the_relay(tmp_path: Path) -> None:
    relay = RelayThread(tmp_path / "relay.db")
    relay.start()
    try:
        with APP.open(tmp_path / "a.db") as a:
            add(a, "before")
            assert a.sync(relay.url).wait(20)
        copy_device(tmp_path / "a.db", tmp_path / "copy.db")
        with APP.open(tmp_path / "a.db") as a:
            add(a, "1")
            assert a.sync(relay.url).wait(20)
        with APP.open(tmp_path / "copy.db") as copy:
            assert copy.sync(relay.url).wait(20)
            assert (copy.status().pending, copy.status().confirmed) == (0, 2)
    finally:
        relay.stop()


class Noted(Event):
    text: str


def noting(app: App) -> App:
    @app.on(Noted)
    def noted(tx: ViewTransaction, event: Noted) -> None:
        tx.execute("INSERT INTO note VALUES (?, ?)", (tx.new_id(), event.text))

    return app


def test_an_event_that_both_branches_hold_counts_once(tmp_path: Path) -> None:
    """Appended before the copy, sealed by both after it: two envelopes, one event."""
    app = noting(App("org.example.notes", tables="CREATE TABLE note (id TEXT PRIMARY KEY, text TEXT) STRICT"))
    clock = Clock()
    with app.open(tmp_path / "a.db", clock=clock) as a:
        a.append(Noted(text="once"))
        link = a.invite()
    copy_device(tmp_path / "a.db", tmp_path / "copy.db")
    with (
        app.open(tmp_path / "a.db", clock=clock) as a,
        app.open(tmp_path / "copy.db", clock=clock) as copy,
        app.join(":memory:", link, clock=clock) as c,
    ):
        copy.seal()
        exchange(a, c)
        exchange(copy, c)

        assert [row.text for row in c.query("SELECT text FROM note")] == ["once"]
        assert len(list(c.log())) == 1
        assert len(list(c.envelopes_for(VersionVector()))) == 2


def test_of_a_forked_device_whose_last_envelope_was_lost_nothing_is_confirmed_and_syncing_goes_on(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.db"
    APP.open(path).close()
    copy_device(path, tmp_path / "copy.db")
    with APP.open(path) as a, APP.open(tmp_path / "copy.db") as copy:
        add(a, "1")
        add(copy, "2")
        a.receive(copy.envelopes_for(VersionVector()))
        with a._engine.reading() as store:
            first = store.meta.own_branch().head
        add(a, "3")
    # What a repair leaves where the last envelope was damaged: the end of the own chain, and not the envelope.
    connection = apsw.Connection(str(path))
    connection.execute("DELETE FROM driftlog_envelope WHERE batch_seq = 2")
    connection.close()
    APP.repair(path)

    with APP.open(path) as a:
        SpaceReplica(a._engine, lambda *_: None).confirm("ws://relay", Birthday(bytes(16)), first, is_all=False)

        assert [relay.confirmed_envelopes for relay in a.status().relays] == [0]


def test_where_the_other_history_came_in_while_an_own_envelope_was_missing_all_is_sound_when_that_is_back(
    tmp_path: Path,
) -> None:
    path, copied, clock = tmp_path / "a.db", tmp_path / "copy.db", Clock()
    with APP.open(path, clock=clock) as a:
        add(a, "1")
    copy_device(path, copied)
    with APP.open(path, clock=clock) as a:
        add(a, "2")
        own = list(a.envelopes_for(VersionVector()))
    clock.now_ms += 60_000
    with APP.open(copied, clock=clock) as copy:
        add(copy, "3")
        other = list(copy.envelopes_for(VersionVector()))
    connection = apsw.Connection(str(path))
    connection.execute("UPDATE driftlog_envelope SET raw = zeroblob(length(raw)) WHERE batch_seq = 2")
    connection.close()
    APP.repair(path, clock=clock)

    with APP.open(path, clock=clock) as a:
        a.receive(other)
        a.receive(own)

        assert {row.id for row in a.query("SELECT id FROM todo")} == {"1", "2", "3"}
        assert a.verify() == []

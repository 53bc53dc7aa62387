"""What must hold of a device's files after a power cut, given what had been acknowledged by then."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

import apsw

from driftlog import App, Space, Timestamp, VersionVector
from driftlog._core.envelope import parse_envelope
from driftlog.testing import exchange
from driftlog.testing.disk import Image, write_image
from tests.disk.scenarios import URL
from tests.disk.world import (
    NAME,
    Acting,
    Appended,
    Begun,
    Confirmed,
    Done,
    DoneWith,
    Founded,
    Given,
    Kept,
    Note,
    Received,
    acting_app,
    device_app,
)
from tests.todo_app import Clock, TodoAdded

APP = device_app()


@dataclass
class Acknowledged:
    """The notes of a journal up to a cut, sorted."""

    founded: Founded | None = None
    appended: list[Timestamp] = field(default_factory=list)
    received: list[bytes] = field(default_factory=list)
    given: list[bytes] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    confirmed: int = 0
    begun: int = 0
    """Events that were being appended, and of which it is not known whether they are there."""
    acts: bool = False
    """Effects were being run."""
    done: list[Timestamp] = field(default_factory=list)
    done_with: int = 0
    """How many of these may not be done again."""

    @classmethod
    def of(cls, notes: Sequence[object]) -> "Acknowledged":
        self = cls()
        for note in notes:
            self._take(note)
        return self

    def _take(self, note: Note | object) -> None:
        match note:
            case Founded():
                self.founded = self.founded or note
            case Begun(count):
                self.begun = count
            case Appended(timestamps):
                self.appended += timestamps
                self.begun = 0
            case Acting():
                self.acts = True
            case Done(at):
                self.done.append(at)
            case DoneWith():
                self.done_with = len(self.done)
            case Received(envelopes):
                self.received += envelopes
            case Given(envelopes):
                self.given += envelopes
            case Kept():
                self.kept.append(note)
            case Confirmed(batch_seq):
                self.confirmed = batch_seq
            case _:
                raise AssertionError(f"not a note: {note}")


def judge(image: Image, notes: Sequence[object], directory: Path, *, is_relaxed: bool, app: App = APP) -> None:
    """Open the files of an image, and hold them to all that was said by then."""
    known = Acknowledged.of(notes)
    write_image(image, directory)
    path = directory / NAME
    clock = Clock(Clock().now_ms + 4 * 86_400_000)
    with app.open(path, clock=clock) as space:
        if known.founded is not None:
            assert space.device == known.founded.device, "it is another device now"
        check_log(space, known, is_relaxed=is_relaxed)
        check_inside(path, space)
        check_others(space, known, is_relaxed=is_relaxed)
    if known.acts:
        check_done(path, clock, known)
    assert integrity(path) == "ok"


def check_done(path: Path, clock: Clock, known: Acknowledged) -> None:
    """An effect is performed once more at most, and none is left out."""
    again: list[Timestamp] = []
    with acting_app(lambda entry: again.append(entry.timestamp)).open(path, clock=clock) as space:
        space.run_effects()
        left_out = space.query("SELECT id FROM todo WHERE id NOT IN (SELECT id FROM draft WHERE text = 'acted')")
    assert not left_out, f"an effect is left out: {left_out}"
    assert not set(again) & set(known.done[: known.done_with]), "an effect that was marked as done is done again"


def check_log(space: Space, known: Acknowledged, *, is_relaxed: bool) -> None:
    """What was acknowledged is there; where durability is relaxed, all of it up to some moment."""
    logged = [entry.timestamp for entry in space.log()]
    assert len(set(logged)) == len(logged)
    own = [at.hlc for at in logged if at.device == space.device]
    assert len(set(own)) == len(own), "a stamp was given twice"
    there = set(logged)
    expected = known.appended
    if known.begun > 1 and not is_relaxed:
        # What is there beyond what was acknowledged is of the step that was on its way: all of it or nothing.
        beyond = [at for at in own if at > max((made.hlc for made in expected), default=0)]
        assert len(beyond) in (0, known.begun), f"{len(beyond)} of {known.begun} events of one append are there"
    if is_relaxed:
        kept = list(takewhile(there.__contains__, expected))
        assert not there.intersection(expected[len(kept) :]), "what was lost is not a suffix"
    else:
        assert there.issuperset(expected), "an acknowledged event is lost"
        rows = {(row.id, row.text) for row in space.query("SELECT id, text FROM draft")}
        assert rows.issuperset((row.id, row.text) for row in known.kept)
        assert not missing(space, known.received), "an acknowledged envelope is lost"
    assert not missing(space, known.given), "an envelope that another device has is lost"


def missing(space: Space, envelopes: Sequence[bytes]) -> set[bytes]:
    """Give those that are not in the file."""
    there = space._engine._connection.execute("SELECT raw FROM driftlog_envelope").fetchall()
    return set(envelopes) - {raw for (raw,) in there}


def check_inside(path: Path, space: Space) -> None:
    """Log, view, chains and cursors agree with one another."""
    with space.transaction():
        pass  # held events whose time has come take their place with whatever is written
    digest = space.digest()
    space.rebuild()
    assert space.digest() == digest, "the view was not what the log makes of itself"
    with space._engine.reading() as store:
        vector = store.chains.version_vector()
        branch = store.meta.own_branch()
        envelopes = [
            parse_envelope(raw)
            for (raw,) in store.connection.execute(
                "SELECT raw FROM driftlog_envelope WHERE is_chained ORDER BY device, batch_seq"
            )
        ]
        mark = store.meta.relay(URL)
    own = [envelope for envelope in envelopes if envelope.header.device == space.device]
    assert [envelope.header.batch_seq for envelope in own] == list(range(1, len(own) + 1))
    assert (own[-1].hash if own else None) == (branch.head.hash if branch.head else None)
    heads = {envelope.header.device: envelope.hash for envelope in envelopes}
    assert heads == {device: head.hash for device, (head,) in vector.items()}
    if mark is not None:
        assert mark.cursor <= len({envelope.hash for envelope in envelopes} - {envelope.hash for envelope in own})
        assert mark.confirmed_seq <= len(own)


def check_others(space: Space, known: Acknowledged, *, is_relaxed: bool) -> None:
    """The device goes on, with others who know no more of it than they were given."""
    if known.founded is None or not is_relaxed:
        assert space.status().relays == () or space.status().relays[0].confirmed_envelopes >= known.confirmed
    clock = Clock(Clock().now_ms + 4 * 86_400_000)
    link = known.founded.link if known.founded is not None else space.invite()
    with APP.join(":memory:", link, clock=clock) as other:
        assert not other.receive(known.given).refused
        space.append(TodoAdded(id="afterwards", text="x"))
        exchange(space, other)
        other.append(TodoAdded(id="answer", text="x"))
        exchange(space, other)
        assert other.digest() == space.digest()
        assert not any(device.is_forked for device in other.status().devices), "its key has forked"
        assert other.version_vector() != VersionVector()


def integrity(path: Path) -> str:
    """Ask SQLite."""
    connection = apsw.Connection(str(path))
    try:
        return str(connection.execute("PRAGMA integrity_check").get)
    finally:
        connection.close()

"""A relay while the power may go: what it has acknowledged is in its file, and it takes the same envelopes again."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from driftlog._core.envelope import Envelope
from driftlog._protocol.relay_session import Accepted, Outcome, Rejected
from driftlog._sqlite.rows import raw_rows
from driftlog.relay.group_commit import GroupCommit
from driftlog.relay.reading import Reading
from driftlog.relay.store import Job
from driftlog.relay.writing import Writing
from driftlog.testing.disk import Image, Journal, SimulatedDisk, write_image
from tests.disk.judging import integrity
from tests.disk.world import workplace
from tests.protocol.fakes import GENESIS, chain, envelope, keys_of

NAME = "relay.db"
BIRTHDAY = b"b" * 16
DEVICES = tuple(keys_of(name) for name in (1, 2, 3))
WAL_PAGES = 8


@dataclass(frozen=True)
class Born:
    """The relay serves."""


@dataclass(frozen=True)
class Accepts:
    """The relay has acknowledged these."""

    envelopes: tuple[Envelope, ...]


@dataclass(frozen=True)
class Refuses:
    """The relay has refused this one as the second at its place."""

    envelope: Envelope


RelayScenario = Callable[[SimulatedDisk], None]


def opened(disk: SimulatedDisk) -> Writing:
    writing = Writing(str(disk.directory / NAME), birthday=BIRTHDAY, vfs=disk.vfs)
    disk.mark(Born())
    return writing


def store(disk: SimulatedDisk, writing: Writing, *batches: Sequence[Envelope]) -> None:
    outcomes = writing.commit([job(batch) for batch in batches])
    for batch, told in zip(batches, outcomes, strict=True):
        note(disk, batch, told)


def job(batch: Sequence[Envelope]) -> Job:
    return Job(GENESIS.space, GENESIS.encode(), tuple(batch))


def note(disk: SimulatedDisk, batch: Sequence[Envelope], outcomes: Sequence[Outcome]) -> None:
    """Note what the relay has said."""
    for each, outcome in zip(batch, outcomes, strict=True):
        match outcome:
            case Accepted():
                disk.mark(Accepts((each,)))
            case Rejected():
                disk.mark(Refuses(each))


def being_born(disk: SimulatedDisk) -> None:
    opened(disk).close()


def storing(disk: SimulatedDisk) -> None:
    writing = opened(disk)
    for each in chain(DEVICES[0], 6):
        store(disk, writing, [each])
    writing.close()


def storing_many_at_once(disk: SimulatedDisk) -> None:
    writing = opened(disk)
    chains = [chain(device, 12) for device in DEVICES]
    for begin in (0, 6):
        store(disk, writing, *[links[begin : begin + 6] for links in chains])
    writing.close()


def refusing_a_second(disk: SimulatedDisk) -> None:
    writing = opened(disk)
    links = chain(DEVICES[0], 3)
    store(disk, writing, links)
    store(disk, writing, [envelope(DEVICES[0], 2, links[0].hash, salt=1)])
    store(disk, writing, links)
    writing.close()


def moving_the_wal(disk: SimulatedDisk) -> None:
    writing = opened(disk)
    writing._connection.pragma("wal_autocheckpoint", WAL_PAGES)
    for links in zip(*[chain(device, 6) for device in DEVICES], strict=True):
        store(disk, writing, *[[link] for link in links])
    writing.close()


def starting_again(disk: SimulatedDisk) -> None:
    links = chain(DEVICES[0], 4)
    for each in links:
        writing = opened(disk)
        store(disk, writing, [each])
        writing.reopen()
        writing.close()


def telling_many(disk: SimulatedDisk) -> None:
    """Uploads that gather behind a sync are acknowledged together, by another thread than the one that wrote."""

    async def upload(commits: GroupCommit, each: Envelope) -> None:
        note(disk, [each], await commits.store(job([each])))

    async def serve() -> None:
        commits = GroupCommit(opened(disk), lambda _: None)
        for links in zip(*[chain(device, 4) for device in DEVICES], strict=True):
            await asyncio.gather(*[upload(commits, each) for each in links])
        await commits.stop()

    asyncio.run(serve())


RELAY_SCENARIOS: tuple[RelayScenario, ...] = (
    being_born,
    storing,
    storing_many_at_once,
    refusing_a_second,
    moving_the_wal,
    starting_again,
    telling_many,
)


def record_relay(scenario: RelayScenario) -> Journal:
    """Run a scenario, and give all that it did to its disk."""
    with workplace() as directory, SimulatedDisk(directory) as disk:
        scenario(disk)
        return disk.journal


def judge_relay(image: Image, notes: Sequence[object], directory: Path) -> None:
    """Open the relay's file, and hold it to all that it had said by then."""
    write_image(image, directory)
    path = directory / NAME
    accepted = [each for made in notes if isinstance(made, Accepts) for each in made.envelopes]
    writing = Writing(str(path), birthday=b"n" * 16)
    try:
        rows = list(raw_rows(writing._connection, "SELECT id & 0xFFFFFFFFFF, raw FROM envelope ORDER BY id"))
        held = [raw for _, raw in rows]
        assert {each.raw for each in accepted} <= set(held), "an acknowledged envelope is lost"
        assert [position for position, _ in rows] == list(range(1, len(rows) + 1)), "positions have a gap"
        sums = writing._connection.execute("SELECT total(position), total(bytes) FROM space").get
        assert sums == (len(rows), sum(len(each) for each in held))
        proofs = {raw for (raw,) in writing._connection.execute("SELECT raw FROM fork")}
        assert {made.envelope.raw for made in notes if isinstance(made, Refuses)} <= proofs, "a proof is lost"
        # What was not acknowledged is sent again, and what was is accepted again.
        for device in DEVICES:
            (outcomes,) = writing.commit([job(chain(device, 13))])
            assert all(isinstance(outcome, Accepted) for outcome in outcomes)
        reading = Reading(str(path))
        was_born = any(isinstance(made, Born) for made in notes)
        assert reading.birthday == BIRTHDAY or not was_born, "it is another relay now"
        assert len(reading.admit(GENESIS.space).heads) == len(DEVICES)
        reading.close()
    finally:
        writing.close()
    assert integrity(path) == "ok"

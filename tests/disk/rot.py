"""A file with a bit of everything in it, one bit of which is flipped: what is harmed, what is found, and what mends it."""

import random
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import apsw

from driftlog import DriftlogError, Finding, Space, Timestamp, VersionVector
from driftlog._core.ids import Birthday, Position
from driftlog.errors import Corrupt, NewerFormat
from driftlog.space.replica import SpaceReplica
from driftlog.testing import exchange
from driftlog.testing.disk import Image, SimulatedDisk, write_image
from tests.disk.scenarios import URL, added
from tests.disk.world import NAME, World, device_app, workplace
from tests.todo_app import Clock, TodoCompleted, TodoRemoved, TodoRenamed

APP = device_app()
DB, WAL, KEY = NAME, f"{NAME}-wal", f"{NAME}-device"
LOST = "is lost"


@dataclass
class Base:
    """The files of a device, what it answers, and all envelopes that another one has."""

    closed: Image
    open: Image
    envelopes: tuple[bytes, ...]
    link: str
    answers: dict[str, object] = field(default_factory=dict)
    unsealed: set[Timestamp] = field(default_factory=set)
    """This device's events that are in no envelope."""


def make_base(seed: int) -> Base:
    """Run a device for a while, and take its files while it is open, with a WAL, and after it was closed."""
    with workplace() as directory, SimulatedDisk(directory) as disk:
        world = World.seeded(disk, str(seed))
        with world.opened() as space, world.other(space, 1_000) as other:
            live(space, other, world)
            opened = files(directory)
            envelopes = tuple(other.envelopes_for(VersionVector()))
            link = space.invite()
        return Base(files(directory), opened, envelopes, link)


def live(space: Space, other: Space, world: World) -> None:
    """Applied, rejected, undone, tied, held and unsealed events, several envelopes of two devices, a relay, drafts."""
    other.append(*[added(f"theirs-{number}", 300) for number in range(6)])
    space.receive(other.envelopes_for(space.version_vector()))
    stamps = space.append(*[added(number, 200) for number in range(12)])
    space.undo(stamps[3])
    other.append(added("theirs-late"), TodoRenamed(id="4", text="too early"))
    exchange(space, other)
    space._engine._connection.pragma("wal_checkpoint", "TRUNCATE")
    space.append(TodoRenamed(id="theirs-1", text="mine"), TodoRemoved(id="7"))
    other.append(TodoCompleted(id="theirs-1"))
    page = list(other.envelopes_for(space.version_vector()))
    SpaceReplica(space._engine, lambda *_: None).apply(URL, Birthday(b"b" * 16), page, Position(3))
    space.execute_local("INSERT INTO draft VALUES ('1', 'half a thought')")
    exchange(space, other)
    with world.other(space, world.clock.now_ms + 3 * 86_400_000) as ahead:
        ahead.append(added("ahead"))
        exchange(ahead, other)
        exchange(space, other)
    space.append(TodoCompleted(id="5"), added("unsealed", 400))


def files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if not path.name.endswith("-shm")}


def answers(space: Space) -> dict[str, object]:
    """All that a device says, but for what proves nothing."""
    status = space.status()
    return {
        "digest": space.digest(),
        "log": [(entry.timestamp, entry.name, entry.event, entry.state, entry.reason) for entry in space.log()],
        "why": [space.why("todo", f"{number}") for number in range(12)],
        "envelopes": list(space.envelopes_for(VersionVector())) if space.is_read_only else missing_nothing(space),
        "vector": space.version_vector(),
        "counts": (status.pending, status.rejected, status.held, status.events, status.void, status.waiting_envelopes),
        "settled": space.settled,
    }


def missing_nothing(space: Space) -> list[bytes]:
    """Give the sealed envelopes, sealing nothing."""
    with space._engine.reading() as store:
        return [outbound.raw for outbound in store.chains.missing_from(VersionVector())]


def later(space: Space, base: Base) -> dict[str, object]:
    """What it answers after it has gone on: appended, undone, taken in late events, and been rebuilt."""
    first = next(iter(space.log())).timestamp
    space.undo(first)
    space.append(TodoRenamed(id="2", text="later"), TodoCompleted(id="theirs-2"))
    with APP.join(":memory:", base.link, clock=lambda: 2, entropy=random.Random(1).randbytes) as third:
        third.append(added("third"), TodoRenamed(id="theirs-3", text="early"))
        space.receive(third.envelopes_for(VersionVector()))
    digest = space.digest()
    space.rebuild()
    assert space.digest() == digest
    return {"rows": space.query("SELECT * FROM todo ORDER BY id"), "rejected": len(space.rejected())}


def edit(directory: Path, sql: str, parameters: tuple[object, ...] = ()) -> None:
    """Change the file behind the engine's back, by one statement that must find something."""
    with closing(apsw.Connection(str(directory / NAME))) as connection:
        connection.execute(sql, parameters)
        assert connection.changes() or sql.startswith("DROP")


def opened(directory: Path) -> Space:
    return APP.open(directory / NAME, clock=Clock(), entropy=random.Random(0).randbytes)


def prepare(base: Base) -> Base:
    """Ask the sound files what they answer."""
    with workplace() as directory:
        write_image(base.closed, directory)
        with opened(directory) as space:
            assert space.verify() == []
            with space._engine.reading() as store:
                sealed = store.meta.own_branch().last_hlc
            own = (entry.timestamp for entry in space.log() if entry.timestamp.device == space.device)
            base.unsealed = {at for at in own if at.hlc > sealed}
            base.answers = answers(space) | {"later": later(space, base)}
    return base


def flip(image: Image, file: str, rng: random.Random) -> tuple[Image, int]:
    """Flip one bit of a file."""
    content = bytearray(image[file])
    at = rng.randrange(len(content) * 8)
    content[at // 8] ^= 1 << (at % 8)
    return {**image, file: bytes(content)}, at


def judge_flip(base: Base, seed: int) -> Counter[str]:
    """Flip a bit of the database, or of the WAL, and hold verify and repair to what it harmed."""
    rng = random.Random(seed)
    if rng.random() < 0.15:
        return judge_wal_flip(base, rng)
    image, at = flip(base.closed, DB, rng)
    with workplace() as directory:
        write_image(image, directory)
        findings, harm = harmed(base, directory)
        assert findings or not harm, f"bit {at}: {harm}, and verify finds nothing"
    with workplace() as directory:
        write_image(image, directory)
        mended = mend(base, directory, at)
    return Counter({"flips": 1, "harmful": bool(harm), "found": bool(findings), mended: 1})


def harmed(base: Base, directory: Path) -> tuple[list[Finding], str]:
    """Say what verify finds, and what is wrong in answers now and later."""
    try:
        space = opened(directory)
    except DriftlogError as error:
        return [Finding("structure", str(error), "repair")], f"it is refused: {error}"
    with space:
        findings = space.verify()
        try:
            now = answers(space) | {"later": later(space, base)}
        except Exception as error:  # noqa: BLE001 - harm of whatever kind; that verify found it is what counts
            return findings, f"{type(error).__name__}: {error}"
        wrong = [name for name, answer in now.items() if answer != base.answers[name]]
        return findings, f"{wrong} changed" if wrong else ""


def mend(base: Base, directory: Path, at: int) -> str:
    """Repair, exchange with another device, and hold the result to what there was."""
    try:
        found = APP.repair(directory / NAME, clock=Clock())
    except (Corrupt, NewerFormat):
        # What says which space it is, or where SQLite's own tables begin: it says so, and touches nothing.
        return "beyond repair"
    with opened(directory) as space, APP.join(":memory:", base.link, clock=Clock()) as other:
        left = [finding for finding in space.verify() if "some are not here" not in finding.problem]
        assert left == [], f"bit {at}: not mended: {left}"
        other.receive(base.envelopes)
        exchange(space, other)
        assert space.verify() == [], f"bit {at}: {space.verify()}"
        assert space.digest() == other.digest()
        assert not any(device.is_forked for device in space.status().devices), f"bit {at}: forked"
        may_be_lost = any(LOST in finding.remedy for finding in found)
        logged = {entry.timestamp for entry in space.log()}
        missing = {entry[0] for entry in base.answers["log"]} - logged  # type: ignore[attr-defined]
        assert may_be_lost or not missing, f"bit {at}: lost {missing} though nothing said so"
        assert missing <= base.unsealed, f"bit {at}: lost what others have"
        assert missing or space.digest() == base.answers["digest"]
    return "lost an unsealed event" if missing else "mended" if found else "sound"


def judge_wal_flip(base: Base, rng: random.Random) -> Counter[str]:
    """SQLite reads a WAL up to the first frame that fails its checksum: the end is lost, as if it had not been written."""
    image, at = flip(base.open, WAL, rng)
    with workplace() as directory:
        write_image(image, directory)
        with opened(directory) as space, APP.join(":memory:", base.link, clock=Clock()) as other:
            assert space.verify() == [], f"WAL bit {at}"
            all_of_it = [entry[0] for entry in base.answers["log"]]  # type: ignore[attr-defined]
            logged = [entry.timestamp for entry in space.log()]
            assert set(logged) <= set(all_of_it)
            other.receive(base.envelopes)
            exchange(space, other)
            assert space.digest() == other.digest()
            assert space.verify() == []
    return Counter({"flips": 1, "wal": 1, "wal cut": len(logged) < len(all_of_it)})

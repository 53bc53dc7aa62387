"""A relay's file that is not as it was written: what is not sure is not handed out, and what is wrong is said."""

import asyncio
import http.client
import json
import logging
import random
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from driftlog._core.envelope import SIGNATURE_BYTES, Envelope
from driftlog._core.ids import DeviceKey, Position
from driftlog._core.version_vector import VersionVector
from driftlog._crypto.keys import SpaceKeys, found_space
from driftlog._protocol.relay_session import Accepted, PageRead, ReadPage
from driftlog.errors import Corrupt, DriftlogError, StorageError
from driftlog.relay.reading import Reading
from driftlog.relay.schema import APPLICATION_ID, FORMAT, TABLES
from driftlog.relay.server import Relay, RelayConfig
from driftlog.relay.store import DamagedSpace, Job
from driftlog.relay.verifying import verify_file
from driftlog.relay.writing import Writing
from tests.protocol.fakes import GENESIS, chain, entropy, head_of, keys_of

SPACE = GENESIS.space
OTHER_GENESIS, OTHER_EPOCH_KEY = found_space(b"o" * 32, entropy)
OTHER_KEYS = SpaceKeys.of(b"d" * 32, OTHER_GENESIS, OTHER_EPOCH_KEY)
FLIPS = 120
CHAINS = [chain(keys_of(1), 6), chain(keys_of(2), 5), chain(keys_of(3), 3, size=6_000)]
STORED = [links[:-1] for links in CHAINS]
"""The last link of each chain is still to come."""
HEADS = VersionVector({links[0].header.device: (head_of(links[-1]),) for links in STORED})


def job(envelopes: list[Envelope]) -> Job:
    return Job(SPACE, GENESIS.encode(), tuple(envelopes))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("relay") / "relay.db"
    with closing(Writing(str(path), birthday=b"b" * 16)) as writing:
        writing.commit([job(links) for links in STORED])
    return path.read_bytes()


@pytest.fixture
def path(tmp_path: Path, sound: bytes) -> Path:
    path = tmp_path / "relay.db"
    path.write_bytes(sound)
    return path


def pages(reading: Reading, held: dict[DeviceKey, int]) -> list[bytes]:
    """Read all, as a session does; more pages than envelopes would be a circle."""
    raws: list[bytes] = []
    after = Position(0)
    for _ in range(2 + sum(map(len, STORED))):
        found: PageRead = reading.page(SPACE, ReadPage(0, after, 4_000, held))
        raws += [raw for _, raw in found.entries]
        after = found.until
        if found.is_end:
            return raws
    raise AssertionError("reading never ends")


def says_only_what_is_true(path: Path) -> bool:
    """Ask everything of a store; what it says must be true. Tells whether it says all that was stored, signatures too."""
    truth = [envelope.raw for links in STORED for envelope in links]
    with closing(Writing(str(path), birthday=b"n" * 16)) as writing, closing(Reading(str(path))) as reading:
        admitted = reading.admit(SPACE)
        # What an index no longer leads to is as if it had never been stored: a space, or a device's chain.
        assert admitted.position in {0, len(truth)}
        found = pages(reading, {})
        assert unsigned(found) == unsigned(truth[: admitted.position])
        # A head under another name sends who asks for it to its chain, which is then refused.
        assert admitted.heads.items() <= HEADS.items()
        proved = reading.prove(SPACE, HEADS)
        unproved = [
            envelope.raw
            for links in STORED
            for envelope in links
            if admitted.position and envelope.header.batch_seq > proved.seq_by_device.get(envelope.header.device, 0)
        ]
        assert unsigned(pages(reading, dict(proved.seq_by_device))) == unsigned(unproved)
        for links in CHAINS:
            (outcomes,) = writing.commit([job(links)])
            assert all(isinstance(outcome, Accepted) for outcome in outcomes), outcomes
        return found == truth and admitted.heads == HEADS


def test_a_damaged_space_is_named_and_others_are_written_as_before(path: Path) -> None:
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("UPDATE device SET hash = randomblob(32) WHERE device = 2")
    sound = Job(OTHER_GENESIS.space, OTHER_GENESIS.encode(), tuple(chain(OTHER_KEYS, 2)))

    with closing(Writing(str(path), birthday=b"n" * 16)) as writing, closing(Reading(str(path))) as reading:
        with pytest.raises(DamagedSpace) as raised:
            writing.commit([sound, job(CHAINS[0]), job(CHAINS[1])])
        nothing = reading.counts()
        outcomes = writing.commit([sound])

    assert raised.value.space == SPACE
    assert nothing.spaces == 1
    assert outcomes == [(Accepted(Position(1)), Accepted(Position(2)))]


def unsigned(raws: list[bytes]) -> list[bytes]:
    return [raw[:-SIGNATURE_BYTES] for raw in raws]


def test_whatever_bit_of_a_file_flips_nothing_false_is_handed_out_and_verifying_finds_it(
    path: Path, sound: bytes
) -> None:
    rng = random.Random(4)
    told: list[str] = []
    harmful = 0
    for _ in range(FLIPS):
        data = bytearray(sound)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        for end in ("-wal", "-shm"):
            Path(f"{path}{end}").unlink(missing_ok=True)
        path.write_bytes(data)
        try:
            is_found = bool(verify_file(path))
        except DriftlogError:
            is_found = True
        try:
            is_harmed = not says_only_what_is_true(path)
        except DriftlogError as error:
            is_harmed = True
            told.append(str(error))
        harmful += is_harmed
        assert is_found or not is_harmed

    assert harmful > FLIPS // 4
    assert len(told) > FLIPS // 5
    assert all(str(path) in words for words in told)


@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE space SET position = position + 1",
        "UPDATE space SET position = position - 1",
        "UPDATE device SET batch_seq = batch_seq - 1",
        "UPDATE device SET hash = randomblob(32) WHERE device = 2",
        "UPDATE device SET key = randomblob(32) WHERE device = 2",
        "UPDATE envelope SET hash = randomblob(32) WHERE id & 0xFF = 3",
        "UPDATE envelope SET raw = CAST(substr(raw, 1, 150) || x'00' || substr(raw, 152) AS BLOB) WHERE id & 0xFF = 3",
        "UPDATE envelope SET raw = (SELECT raw FROM envelope WHERE id & 0xFF = 2) WHERE id & 0xFF = 3",
        "UPDATE envelope SET device = 9 WHERE id & 0xFF = 3",
        "DELETE FROM envelope WHERE id & 0xFF = 3",
        "DELETE FROM device WHERE device = 2",
        "DROP TABLE fork",
        "DELETE FROM relay",
    ],
)
def test_a_file_that_contradicts_itself_is_refused_and_its_operator_told_what_to_do(path: Path, edit: str) -> None:
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute(edit)

    assert verify_file(path)
    with pytest.raises(Corrupt, match=r"is damaged: .*move the file away .*the devices fill a new one"):
        says_only_what_is_true(path)


def test_an_honest_device_is_not_told_that_its_key_was_used_in_two_places(path: Path) -> None:
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("UPDATE envelope SET hash = randomblob(32) WHERE id & 0xFF = 3")

    with (
        closing(Writing(str(path), birthday=b"n" * 16)) as writing,
        pytest.raises(Corrupt, match="not the one that was"),
    ):
        writing.commit([job(CHAINS[0])])


def test_what_is_held_and_has_rotted_is_not_acknowledged_again(path: Path) -> None:
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("UPDATE envelope SET raw = zeroblob(length(raw)) WHERE id & 0xFF = 2")

    with closing(Writing(str(path), birthday=b"n" * 16)) as writing:
        assert writing.commit([job(CHAINS[0][:1])]) == [(Accepted(Position(1), is_new=False),)]
        with pytest.raises(Corrupt, match="envelope 2 of a device is not the one that was stored"):
            writing.commit([job(CHAINS[0][1:2])])


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        ("UPDATE space SET bytes = bytes + 1", "bytes, and noted are"),
        (
            "UPDATE envelope SET raw = CAST(substr(raw, 1, length(raw) - 1) || x'00' AS BLOB) WHERE id & 0xFF = 3",
            "sign",
        ),
        ("UPDATE device SET hash = randomblob(32) WHERE device = 2", "the ends of 2 chains"),
    ],
)
def test_verifying_finds_what_a_relay_that_runs_does_not_look_at(path: Path, edit: str, words: str) -> None:
    assert verify_file(path) == []
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute(edit)

    assert any(words in problem for problem in verify_file(path))


def health(relay: Relay) -> tuple[int, dict[str, object]]:
    with closing(http.client.HTTPConnection("127.0.0.1", relay.port, timeout=5)) as connection:
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def test_a_relay_that_meets_damage_says_so_in_its_log_and_its_health_and_not_to_devices(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("UPDATE device SET hash = randomblob(32) WHERE device = 2")

    async def main() -> None:
        relay = Relay(RelayConfig(path, port=0))
        await relay.start()
        try:
            well = await asyncio.to_thread(health, relay)
            with pytest.raises(StorageError):
                await relay.admit(SPACE)
            unwell = await asyncio.to_thread(health, relay)
            assert (well[0], well[1]["ok"]) == (200, True)
            assert (unwell[0], unwell[1]["ok"]) == (503, False)
            assert str(path) not in str(unwell)
            assert "move the file away" in relay.damage
        finally:
            await relay.stop()

    with caplog.at_level(logging.ERROR, "driftlog.relay"):
        asyncio.run(main())

    assert any("a read failed" in line and "is damaged" in line for line in caplog.messages)


def test_a_reader_left_within_a_transaction_reads_on_and_calls_no_sound_file_damaged(path: Path) -> None:
    with closing(Writing(str(path), birthday=b"n" * 16)) as writing, closing(Reading(str(path))) as reading:
        reading._connection.execute("BEGIN")
        before = reading.counts()
        writing.commit([job(CHAINS[0])])

        assert reading.admit(SPACE).position == before.envelopes + 1
        assert reading.counts().envelopes == before.envelopes + 1


@pytest.mark.parametrize(
    ("before", "after", "is_sound"),
    [
        ("-- of all its envelopes, for the quota", "-- what it weighs", True),
        ("-- of all its envelopes, for the quota", "\n  -- of all its envelopes, for the quota", True),
        ("bytes    INTEGER", "bytes    BLOB", False),
        ("birthday BLOB NOT NULL            --", "birthday BLOB -- NOT NULL", False),
    ],
)
def test_of_tables_that_were_made_long_ago_the_comments_may_read_otherwise(
    tmp_path: Path, before: str, after: str, *, is_sound: bool
) -> None:
    assert before in TABLES
    path = tmp_path / "relay.db"
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute(TABLES.replace(before, after))
        connection.execute("INSERT INTO relay VALUES (?)", (b"b" * 16,))
        connection.pragma("user_version", FORMAT)
        connection.pragma("application_id", APPLICATION_ID)

    problems = verify_file(path)

    assert (not problems) == is_sound
    assert all("its tables are not as they were made" in problem for problem in problems)


class Unreadable(Reading):
    """A reader that finds no room for itself."""

    def __init__(self, *_: object, **__: object) -> None:
        raise StorageError("out of memory")


def test_a_file_whose_reader_cannot_be_opened_is_let_go_of(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("driftlog.relay.sqlite.Reading", Unreadable)

    with pytest.raises(StorageError, match="out of memory"):
        Relay(RelayConfig(path))

    assert [one for one in apsw.connections() if one.filename == str(path)] == []

"""What is the SQLite store's own: proofs of forks, a full disk, files that are not its.

What every store does is checked by `driftlog.testing.conformance`.
"""

from pathlib import Path

import apsw
import pytest

from driftlog._core.envelope import Envelope
from driftlog._core.ids import NO_ENVELOPE, Position
from driftlog._core.version_vector import VersionVector
from driftlog._protocol import relay_session as rs
from driftlog._protocol.messages import Refusal
from driftlog.errors import DiskFull, NewerFormat, NotADriftlogFile, StorageError
from driftlog.relay.checking import inspect
from driftlog.relay.reading import Reading
from driftlog.relay.store import Job
from driftlog.relay.writing import FORKS_PER_DEVICE_MAX, Writing
from driftlog.testing.disk import OneFault, SimulatedDisk
from tests.protocol.fakes import GENESIS, chain, envelope, head_of, keys_of

SPACE = GENESIS.space


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "relay.db")


def writing(path: str) -> Writing:
    return Writing(path, birthday=b"b" * 16)


def store(writer: Writing, *envelopes: Envelope) -> list[rs.Outcome]:
    (outcomes,) = writer.commit([Job(SPACE, GENESIS.encode(), envelopes)])
    return list(outcomes)


def codes(outcomes: list[rs.Outcome]) -> list[Refusal | int]:
    return [outcome.code if isinstance(outcome, rs.Rejected) else outcome.position for outcome in outcomes]


def test_a_second_envelope_at_one_place_is_refused_and_kept_as_proof_a_few_times(path: str) -> None:
    keys = keys_of(1)
    first = envelope(keys, 1, NO_ENVELOPE)
    forks = [envelope(keys, 1, NO_ENVELOPE, salt=salt) for salt in range(1, 9)]
    after_fork = envelope(keys, 2, forks[0].hash)
    writer = writing(path)

    outcomes = store(writer, first, *forks, after_fork)

    assert codes(outcomes) == [1] + [Refusal.FORK] * 9
    kept = [row[0] for row in apsw.Connection(path).execute("SELECT raw FROM fork")]
    assert len(kept) == FORKS_PER_DEVICE_MAX
    assert set(kept) <= {fork.raw for fork in forks}


def test_garbage_strangers_and_forged_signatures_are_refused() -> None:
    (good,) = chain(keys_of(1), 1)
    forged = good.raw[:-1] + bytes([good.raw[-1] ^ 1])
    other_space = good.raw[:2] + bytes(32) + good.raw[34:]
    found = [inspect(SPACE, raw) for raw in (b"x", forged, other_space, good.raw)]
    codes = [one.code if isinstance(one, rs.Rejected) else one.raw for one in found]
    assert codes == [Refusal.MALFORMED, Refusal.BAD_SIGNATURE, Refusal.OTHER_SPACE, good.raw]


def test_a_full_disk_stores_nothing_of_the_transaction_and_goes_on_once_there_is_room(path: str) -> None:
    small, large = chain(keys_of(1), 1), chain(keys_of(2), 4, size=100_000)
    writer = writing(path)
    writer._connection.pragma("max_page_count", 60)

    with pytest.raises(DiskFull):
        writer.commit([Job(SPACE, GENESIS.encode(), tuple(part)) for part in (small, large)])

    assert Reading(path).counts().envelopes == 0
    writer.reopen()
    assert codes(store(writer, *small, *large)) == [1, 2, 3, 4, 5]


def test_an_io_error_while_a_page_is_read_is_named_and_the_next_page_is_read(tmp_path: Path) -> None:
    path = str(tmp_path / "relay.db")
    envelopes = chain(keys_of(1), 3)
    with SimulatedDisk(tmp_path) as disk:
        writer = Writing(path, birthday=b"b" * 16, vfs=disk.vfs)
        store(writer, *envelopes)
        failed: list[int] = []
        for number in range(1, 20):
            reading = Reading(path, vfs=disk.vfs)
            disk.faults = OneFault(number, "read")
            try:
                reading.page(SPACE, rs.ReadPage(0, Position(0), 1_000, {}))
            except StorageError:
                failed.append(number)
            disk.faults = None
            page = reading.page(SPACE, rs.ReadPage(0, Position(0), 1_000_000, {}))
            assert [raw for _, raw in page.entries] == [e.raw for e in envelopes]
            reading.close()
        writer.close()
    assert failed


def test_one_call_of_a_reader_sees_one_commit_although_another_comes_between_its_statements(path: str) -> None:
    first, second = chain(keys_of(1), 2)
    writer = writing(path)
    store(writer, first)
    reading, waiting = Reading(path), [second]

    def commit_before_the_heads_are_read(_: object, sql: str, __: object) -> bool:
        if "FROM device" in sql and waiting:
            store(writer, waiting.pop())
        return True

    reading._connection.exec_trace = commit_before_the_heads_are_read

    assert reading.admit(SPACE) == rs.Admitted(Position(1), VersionVector({first.header.device: (head_of(first),)}))
    assert waiting == []
    assert reading.admit(SPACE).position == 2


def test_a_file_that_is_not_a_relays_is_left_as_it_is(path: str) -> None:
    other = apsw.Connection(path)
    other.execute("CREATE TABLE mine (x)")
    other.close()
    before = Path(path).read_bytes()
    with pytest.raises(NotADriftlogFile, match=r"relay\.db"):
        writing(path)
    assert Path(path).read_bytes() == before


def test_a_newer_relays_file_is_refused(path: str) -> None:
    writing(path).close()
    apsw.Connection(path).pragma("user_version", 9)
    with pytest.raises(NewerFormat, match="format 9"):
        writing(path)

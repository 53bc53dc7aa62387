"""What the relay stores and refuses, and that it stores a transaction whole or not at all."""

from pathlib import Path

import apsw
import pytest

from driftlog._core.envelope import Envelope
from driftlog._core.ids import NO_ENVELOPE, Position
from driftlog._core.version_vector import VersionVector
from driftlog._protocol import relay_session as rs
from driftlog._protocol.messages import Refusal
from driftlog.errors import DiskFull, NewerFormat, NotADriftlogFile
from driftlog.relay.checking import inspect
from driftlog.relay.reading import Reading
from driftlog.relay.store import Job
from driftlog.relay.writing import FORKS_PER_DEVICE_MAX, SPACE_BYTES_MAX, Writing
from tests.protocol.fakes import GENESIS, chain, envelope, head_of, keys_of

SPACE = GENESIS.space


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "relay.db")


def writing(path: str, *, space_bytes_max: int = SPACE_BYTES_MAX) -> Writing:
    return Writing(path, birthday=b"b" * 16, space_bytes_max=space_bytes_max)


def store(writer: Writing, *envelopes: Envelope) -> list[rs.Outcome]:
    (outcomes,) = writer.commit([Job(SPACE, GENESIS.encode(), envelopes)])
    return list(outcomes)


def codes(outcomes: list[rs.Outcome]) -> list[Refusal | int]:
    return [outcome.code if isinstance(outcome, rs.Rejected) else outcome.position for outcome in outcomes]


def everything(path: str, after: int = 0) -> list[bytes]:
    reading = Reading(path)
    raws: list[bytes] = []
    page = reading.page(SPACE, rs.ReadPage(0, Position(after), 1_000, {}))
    while True:
        raws += [raw for _, raw in page.entries]
        if page.is_end:
            return raws
        page = reading.page(SPACE, rs.ReadPage(0, page.until, 1_000, {}))


def test_envelopes_get_positions_without_gaps_and_come_back_as_they_were(path: str) -> None:
    first, second = chain(keys_of(1), 3), chain(keys_of(2), 2)
    writer = writing(path)

    assert codes(store(writer, *first, *second)) == [1, 2, 3, 4, 5]

    assert everything(path) == [e.raw for e in (*first, *second)]
    assert everything(path, after=3) == [e.raw for e in second]
    admitted = Reading(path).admit(SPACE)
    assert admitted.heads == VersionVector({e.header.device: (head_of(e),) for e in (first[-1], second[-1])})
    assert admitted.position == 5


def test_an_envelope_that_is_there_already_is_accepted_again_at_its_place(path: str) -> None:
    other, sealed = chain(keys_of(2), 3), chain(keys_of(1), 2)
    writer = writing(path)
    store(writer, *other, *sealed)
    assert store(writer, *sealed) == [rs.Accepted(Position(p), is_new=False) for p in (4, 5)]
    assert Reading(path).counts().envelopes == 5


def test_an_envelope_whose_predecessor_is_missing_is_refused(path: str) -> None:
    sealed = chain(keys_of(1), 3)
    assert codes(store(writing(path), sealed[0], sealed[2])) == [1, Refusal.GAP]


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


def test_a_space_past_its_quota_is_refused_and_goes_on_when_there_is_room(path: str) -> None:
    sealed = chain(keys_of(1), 3)
    room_for_two = len(sealed[0].raw) * 2
    writer = writing(path, space_bytes_max=room_for_two)
    assert codes(store(writer, *sealed)) == [1, 2, Refusal.QUOTA]
    writer.close()
    assert codes(store(writing(path), sealed[2])) == [3]


def test_what_heads_prove_is_left_out_and_a_foreign_branch_proves_nothing(path: str) -> None:
    first, second = chain(keys_of(1), 4), chain(keys_of(2), 3)
    store(writing(path), *first, *second)
    reading = Reading(path)
    fork = envelope(keys_of(2), 2, second[0].hash, salt=5)
    want = VersionVector({first[0].header.device: (head_of(first[2]),), second[0].header.device: (head_of(fork),)})

    proved = reading.prove(SPACE, want)
    page = reading.page(SPACE, rs.ReadPage(1, proved.start, 1 << 20, proved.seq_by_device))

    assert proved.start == 3
    assert [raw for _, raw in page.entries] == [e.raw for e in (first[3], *second)]
    assert page.is_end


def test_heads_that_prove_everything_end_the_walk_at_once(path: str) -> None:
    sealed = chain(keys_of(1), 4)
    store(writing(path), *sealed)
    reading = Reading(path)
    proved = reading.prove(SPACE, reading.admit(SPACE).heads)
    assert proved.start == 4
    assert reading.page(SPACE, rs.ReadPage(1, proved.start, 1 << 20, proved.seq_by_device)) == rs.PageRead(
        1, (), Position(4), True
    )


def test_a_full_disk_stores_nothing_of_the_transaction_and_goes_on_once_there_is_room(path: str) -> None:
    small, large = chain(keys_of(1), 1), chain(keys_of(2), 4, size=100_000)
    writer = writing(path)
    writer._connection.pragma("max_page_count", 60)

    with pytest.raises(DiskFull):
        writer.commit([Job(SPACE, GENESIS.encode(), tuple(part)) for part in (small, large)])

    assert everything(path) == []
    writer.reopen()
    assert codes(store(writer, *small, *large)) == [1, 2, 3, 4, 5]


def test_a_relay_keeps_its_birthday_and_its_content_when_opened_again(path: str) -> None:
    sealed = chain(keys_of(1), 2)
    writer = writing(path)
    store(writer, *sealed)
    writer.close()
    again = Writing(path, birthday=b"c" * 16)
    assert Reading(path).birthday == b"b" * 16
    assert codes(store(again, *sealed)) == [1, 2]


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

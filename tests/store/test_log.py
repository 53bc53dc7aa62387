"""The log's rows: in the total order and each of them once, whatever stamps they share."""

from random import Random

import apsw
import pytest

from driftlog._core.clock import Hlc, Timestamp
from driftlog._core.event import Record
from driftlog._core.ids import DeviceKey, EventHash
from driftlog._store import log as log_module
from driftlog._store import meta, schema
from driftlog._store.log import APPLIED, REJECTED, Entry, Log, Row, State, entry_of


@pytest.fixture
def log() -> Log:
    connection = apsw.Connection(":memory:")
    connection.execute(schema.CREATE)
    return Log(connection)


def entry(hlc: int, device: int, hash_: int = 0) -> Entry:
    at = Timestamp(Hlc(hlc), DeviceKey(bytes([device]) * 32), EventHash(bytes([hash_]) * 32))
    return Entry(
        at, Record(Hlc(hlc), 0, "Happened", 1, b"\x80"), State.APPLIED, None, b"undo %d %d" % (hlc, device), None
    )


def row(hlc: int, device: int) -> Row:
    one = entry(hlc, device)
    return (*one.timestamp, *one.record[1:], APPLIED, *one[3:])


def filled(log: Log, seed: int) -> list[Entry]:
    entries = [entry(hlc, device, hash_) for hlc in range(1, 8) for device in range(4) for hash_ in range(2)]
    for one in Random(seed).sample(entries, len(entries)):
        log.insert(*one)
    return sorted(entries)


@pytest.mark.parametrize("seed", range(5))
def test_events_that_share_stamps_are_read_in_the_total_order_from_any_place(
    log: Log, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Pages that end in the midst of events with one stamp.
    monkeypatch.setattr(log_module, "PAGE_ROWS", 3)
    entries = filled(log, seed)

    assert list(log.entries()) == entries
    for at, one in enumerate(entries):
        assert list(log.entries(one.timestamp)) == entries[at:]
        assert log.page_after(one.timestamp) == entries[at + 1 : at + 4]
        assert list(log.undos(one.timestamp)) == [each.undo for each in entries[at:]]
    assert log.last_placed() == entries[-1].timestamp


def test_what_becomes_of_one_event_is_noted_with_that_event_only(log: Log) -> None:
    entries = filled(log, 0)

    for one in entries:
        log.update_all([(REJECTED, str(one.timestamp), None, None, *one.timestamp)])

    assert [one.reason for one in log.entries()] == [str(one.timestamp) for one in entries]


def test_what_becomes_of_many_events_is_noted_whichever_table_each_lies_in(log: Log) -> None:
    entries = filled(log, 0)

    log.update_all([(REJECTED, str(one.timestamp), None, None, *one.timestamp) for one in entries])

    assert [(one.state, one.reason) for one in log.entries()] == [
        (State.REJECTED, str(one.timestamp)) for one in entries
    ]


def test_rows_are_given_in_the_order_asked_for_whichever_table_each_lies_in(log: Log) -> None:
    entries = filled(log, 0)
    missing = entry(9, 9).timestamp

    rows = log.rows_at([missing, *(one.timestamp for one in reversed(entries))])

    assert [entry_of(one) for one in rows] == entries[::-1]
    assert [entry_of(one) for one in log.rows_at([entries[0].timestamp])] == entries[:1]


def test_of_events_logged_together_one_that_is_there_already_is_refused(log: Log) -> None:
    log.insert_all([row(5, 1)])

    with pytest.raises(apsw.ConstraintError):
        log.insert_all([row(4, 1), row(5, 1)])


def test_no_event_is_in_the_log_twice_whichever_of_its_tables_it_lies_in(log: Log) -> None:
    for one in filled(log, 0):
        with pytest.raises(apsw.ConstraintError):
            log.insert(*one)

    assert log.count() == 56


def test_events_appended_together_are_logged_one_by_one_where_they_may_share_a_held_events_stamp(log: Log) -> None:
    log.insert(*entry(5, 9))

    log.insert_all([row(4, 1), row(5, 1), row(6, 1)])

    assert [(one.timestamp.hlc, one.timestamp.device[0]) for one in log.entries()] == [(4, 1), (5, 1), (5, 9), (6, 1)]


@pytest.mark.parametrize("sql", [log_module._FIRST_HELD, log_module._COUNT_HELD, meta._COUNT_STATES])
def test_what_is_rare_is_found_by_its_index(log: Log, sql: str) -> None:
    plan = [str(line[3]) for line in log._connection.execute(f"EXPLAIN QUERY PLAN {sql}")]

    reads = [line for line in plan if "driftlog_" in line]
    assert len(reads) == 2
    assert all("_state" in line for line in reads)


def test_states_are_counted_in_both_tables_and_the_first_held_is_the_least_of_both(log: Log) -> None:
    for hlc, state in ((1, State.APPLIED), (2, State.REJECTED), (4, State.HELD), (5, State.HELD)):
        for device in range(hlc):
            log.insert(*entry(hlc, device)[:2], state)

    rejected, held = log_module.STATES.index(State.REJECTED), log_module.STATES.index(State.HELD)
    assert meta.Meta(log._connection).count_states() == {rejected: 2, held: 9}
    assert log.first_held() == 4
    assert sum(log.count_held_by_device().values()) == 9


def test_the_last_event_of_a_device_is_found_from_the_end(log: Log) -> None:
    for hlc in range(2, 2_000, 2):
        log.insert(*entry(hlc, 0))
    log.insert(*entry(1_501, 1))
    log.insert(*entry(1_991, 1))
    log.insert(*entry(1_990, 1))
    steps = 0

    def step() -> bool:
        nonlocal steps
        steps += 1
        return False

    log._connection.set_progress_handler(step, 1)
    last = log.last_own_after(entry(0, 1).timestamp.device, 0)

    assert last == 1_991
    assert steps < 500
    assert log.last_own_after(entry(0, 1).timestamp.device, 1_991) is None

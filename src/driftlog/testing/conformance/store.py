"""Checks for a relay store, part one: what `commit` answers, and what is there afterwards.

The contract is `driftlog.relay.store`. `make_store()` is a context manager that gives a new, empty store. A check opens
writers and readers of it as a relay would, and as its successor would after a crash: a new writer beside one that was never
closed. Reading is part two, `store_reading`.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final, NoReturn

from driftlog._core.envelope import Envelope
from driftlog._core.ids import NO_ENVELOPE
from driftlog._protocol.limits import HEADS_PER_FRAME_MAX
from driftlog.errors import StorageError
from driftlog.relay.store import Counts, Job
from driftlog.testing.conformance import store_reading as reading
from driftlog.testing.conformance.store_bench import (
    OTHER_BIRTHDAY,
    OTHER_SPACE,
    SPACE,
    MakeStore,
    bench,
    chain,
    fork,
    heads_of,
    job,
    link,
    listed,
    numbered,
    proofs,
)

StoreCheck = Callable[[MakeStore], None]


def check_store(make_store: MakeStore) -> None:
    """Run all checks, each on a new store; raises `Nonconforming` for the first that fails."""
    for check in STORE_CHECKS:
        check(make_store)


def positions_have_no_gaps_and_follow_the_order_of_jobs(make_store: MakeStore) -> None:
    """Rule 1: also across commits, and where an envelope between them is refused."""
    a, b = chain("a", 5), chain("b", 2)
    remedy = "number a space's envelopes from 1, in the order in which they come, and give no number to what is refused"
    with bench(positions_have_no_gaps_and_follow_the_order_of_jobs.__name__, make_store) as on:
        writer = on.writer()
        on.commit(1, writer, [job(a[0], b[0]), job(a[1])], ["1 2", "3"], remedy)
        on.commit(1, writer, [job(a[4], a[2])], ["GAP 4"], remedy)
        on.commit(1, writer, [job(b[1])], ["5"], remedy)
        wanted = listed(numbered([a[0], b[0], a[1], a[2], b[1]]))
        on.expect(1, "a page holds", listed(on.read(on.reader())), wanted, remedy)


def what_does_not_continue_its_chain_is_refused_and_changes_nothing(make_store: MakeStore) -> None:
    """Rule 2: a gap, a second envelope in a place, and one that follows such a one."""
    a = chain("a", 4)
    other = fork(a[1])
    with bench(what_does_not_continue_its_chain_is_refused_and_changes_nothing.__name__, make_store) as on:
        writer = on.writer()
        sent = [job(a[1]), job(a[0], a[1], other), job(link("a", 3, other.hash, mark="'")), job(a[3])]
        on.commit(2, writer, sent, ["GAP", "1 2 FORK", "FORK", "GAP"], "answer as driftlog.relay.judge does")
        reader = on.reader()
        remedy = "leave what is held as it is when an envelope is refused"
        on.expect(2, "a page holds", listed(on.read(reader)), listed(numbered(a[:2])), remedy)
        on.expect(2, "the heads are", reader.admit(SPACE).heads, heads_of(a[1]), remedy)
        on.commit(2, writer, [job(a[2], a[3])], ["3 4"], remedy)


def an_envelope_that_is_held_is_accepted_again_at_its_position(make_store: MakeStore) -> None:
    """Rule 3: from another connection in the same commit, in a later one, and with another signature."""
    a, b = chain("a", 2), chain("b", 1)
    resigned = replace(a[0], raw=a[0].raw[:-1] + b"\x01")
    remedy = "look a place up by device and number, and give the position that is there if the hash is the same"
    with bench(an_envelope_that_is_held_is_accepted_again_at_its_position.__name__, make_store) as on:
        writer = on.writer()
        on.commit(3, writer, [job(b[0], *a), job(*a)], ["1 2 3", "2 again 3 again"], remedy)
        on.commit(3, writer, [job(a[1], resigned, b[0])], ["3 again 2 again 1 again"], remedy)
        reader = on.reader()
        if on.read(reader) != numbered([b[0], *a]):
            seen = f"after repeats, a page holds {listed(on.read(reader))}"
            raise on.failure(3, seen, "keep nothing of a repeat, and the bytes that came first")
        size = sum(len(envelope.raw) for envelope in (*a, *b))
        on.expect(14, "after repeats,", reader.counts(), Counts(1, 3, size), "count nothing twice")


def a_space_past_its_quota_takes_no_more_and_others_go_on(make_store: MakeStore) -> None:
    """Rule 4: to the byte; and a writer with a larger quota goes on."""
    a, other = chain("a", 3), chain("a", 1, space=OTHER_SPACE)
    room = sum(len(envelope.raw) for envelope in a[:2])
    remedy = "compare what the space holds and the envelope's bytes with the writer's space_bytes_max"
    with bench(a_space_past_its_quota_takes_no_more_and_others_go_on.__name__, make_store) as on:
        writer = on.writer(space_bytes_max=room)
        on.commit(4, writer, [job(*a), job(*other), job(a[0])], ["1 2 QUOTA", "1", "1 again"], remedy)
        on.commit(4, writer, [job(a[2])], ["QUOTA"], remedy)
        on.commit(4, on.writer(space_bytes_max=room + 1_000), [job(a[2])], ["3"], remedy)


def a_space_takes_as_many_devices_as_one_frame_can_name(make_store: MakeStore) -> None:
    """Rule 4: `HEADS_PER_FRAME_MAX`; those that are there write on."""
    first = [link(f"d{number}", 1, NO_ENVELOPE) for number in range(HEADS_PER_FRAME_MAX + 1)]
    remedy = f"refuse the first envelope of device {HEADS_PER_FRAME_MAX + 1} of a space"
    with bench(a_space_takes_as_many_devices_as_one_frame_can_name.__name__, make_store) as on:
        writer = on.writer()
        writer.commit([job(*first[:-1])])
        on.commit(4, writer, [job(first[-1])], ["QUOTA"], remedy)
        next_one = link("d0", 2, first[0].hash)
        on.commit(4, writer, [job(next_one)], [f"{HEADS_PER_FRAME_MAX + 1}"], "take what continues a chain")


def of_a_commit_that_raises_nothing_is_kept(make_store: MakeStore) -> None:
    """Rule 5: an error in the middle of the second job, and what came before it in either space."""
    a, b = chain("a", 2), chain("b", 2, space=OTHER_SPACE)
    broken = _Unreadable(b[1].header, b[1].raw, b[1].hash)
    remedy = "do it in one transaction, and roll back what memory knows of it as well"
    with bench(of_a_commit_that_raises_nothing_is_kept.__name__, make_store) as on:
        writer, reader = on.writer(), on.reader()
        on.commit(5, writer, [job(a[0])], ["1"], remedy)
        try:
            writer.commit([job(a[1]), Job(OTHER_SPACE, b"", (b[0], broken))])
        except _Torn:
            pass
        else:
            raise on.failure(5, "commit() returned although an envelope could not be read", "let the error through")
        writer.reopen()
        for space, wanted in ((SPACE, listed(numbered(a[:1]))), (OTHER_SPACE, "nothing")):
            on.expect(5, "after a commit that raised, a page holds", listed(on.read(reader, space)), wanted, remedy)
        on.expect(5, "then there are", reader.counts(), Counts(1, 1, len(a[0].raw)), remedy)
        on.commit(5, writer, [job(*b), job(*a)], ["1 2", "1 again 2"], remedy)


def what_is_accepted_is_seen_by_every_reader_at_once(make_store: MakeStore) -> None:
    """Rule 6: by one that was open before, and by one that is opened then."""
    a = chain("a", 3)
    with bench(what_is_accepted_is_seen_by_every_reader_at_once.__name__, make_store) as on:
        writer, open_before = on.writer(), on.reader()
        for count in range(1, 4):
            writer.commit([job(a[count - 1])])
            for reader in (open_before, on.reader()):
                remedy = "commit and sync before commit() returns; let readers begin anew at each call"
                on.expect(6, "a reader sees", listed(on.read(reader)), listed(numbered(a[:count])), remedy)
                heads = reader.admit(SPACE).heads
                on.expect(6, "the heads are", heads, heads_of(a[count - 1]), "change heads in the same transaction")


def what_is_accepted_outlives_a_writer_that_is_never_closed(make_store: MakeStore) -> None:
    """Rule 6: as after `kill -9`, the next writer finds it, and gives no number again."""
    a, b = chain("a", 2), chain("b", 1)
    remedy = "have on disk what is accepted when commit() returns: close() may never be called"
    with bench(what_is_accepted_outlives_a_writer_that_is_never_closed.__name__, make_store) as on:
        on.writer().commit([job(*a)])
        successor = on.writer(OTHER_BIRTHDAY)
        on.commit(6, successor, [job(*b)], ["3"], remedy)
        wanted = listed(numbered([*a, *b]))
        on.expect(6, "a page holds", listed(on.read(on.reader())), wanted, remedy)


def a_store_that_is_opened_again_is_the_same(make_store: MakeStore) -> None:
    """Rules 8 and 1: birthday, envelopes, heads and numbers stay."""
    a, b = chain("a", 2), chain("b", 1)
    with bench(a_store_that_is_opened_again_is_the_same.__name__, make_store) as on:
        with on.passing_writer() as writer:
            writer.commit([job(*a)])
        birthday = on.reader().birthday
        again, reader = on.writer(OTHER_BIRTHDAY), on.reader()
        remedy = "keep the birthday of the first writer with what it wrote"
        on.expect(8, "opened again, the birthday is", reader.birthday, birthday, remedy)
        on.expect(8, "opened again, a page holds", listed(on.read(reader)), listed(numbered(a)), "keep everything")
        on.commit(1, again, [job(*b)], ["3"], "go on after the highest position that was given")
        on.expect(8, "opened again, heads are", reader.admit(SPACE).heads, heads_of(a[1], b[0]), "keep the heads")


def writers_and_readers_may_be_used_by_another_thread(make_store: MakeStore) -> None:
    """Rule 9: a relay opens them on one, uses them on others, and closes them on the first."""
    a = chain("a", 1)
    remedy = "tie nothing to the thread that opened it (`check_same_thread=False` of sqlite3)"
    with (
        bench(writers_and_readers_may_be_used_by_another_thread.__name__, make_store) as on,
        ThreadPoolExecutor(1) as other,
    ):
        writer, reader = on.writer(), on.reader()
        try:
            other.submit(writer.commit, [job(*a)]).result()
            got = other.submit(on.read, reader).result()
        except Exception as error:
            raise on.failure(9, f"{type(error).__name__} came out of it: {error}", remedy) from error
        on.expect(9, "a reader on another thread sees", listed(got), listed(numbered(a)), remedy)


def two_writers_go_on_from_each_other(make_store: MakeStore) -> None:
    """Rule 9: a relay that is ending, and its successor."""
    a, b = chain("a", 3), chain("b", 2)
    remedy = "read what is there within each commit, under the lock that it writes with"
    with bench(two_writers_go_on_from_each_other.__name__, make_store) as on:
        ending, successor = on.writer(), on.writer()
        for number, (writer, sent) in enumerate(
            [(ending, a[0]), (successor, a[1]), (ending, a[2]), (successor, b[0]), (ending, b[1])], 1
        ):
            on.commit(9, writer, [job(sent)], [f"{number}"], remedy)
        on.commit(9, successor, [job(*a)], ["1 again 2 again 3 again"], remedy)


def spaces_know_nothing_of_each_other(make_store: MakeStore) -> None:
    """Rule 10: one device key writes in two spaces."""
    a, other = chain("a", 3), chain("a", 4, space=OTHER_SPACE)
    remedy = "let the space's id be part of every key and of every WHERE"
    with bench(spaces_know_nothing_of_each_other.__name__, make_store) as on:
        writer = on.writer()
        on.commit(10, writer, [job(*a[:2]), job(*other), job(a[2])], ["1 2", "1 2 3 4", "3"], remedy)
        reader = on.reader()
        for space, held in ((SPACE, a), (OTHER_SPACE, other)):
            on.expect(10, "a page of one space holds", listed(on.read(reader, space)), listed(numbered(held)), remedy)
            on.expect(10, "its heads are", reader.admit(space).heads, heads_of(held[-1]), remedy)
        on.expect(10, "another space's head proves", proofs(reader.prove(SPACE, heads_of(other[3]))), {}, remedy)


class _Torn(StorageError):
    """What the check raises in the middle of a commit."""


class _Unreadable(Envelope):
    """An envelope that can not be written: reading its bytes raises."""

    __slots__ = ()

    def __getattribute__(self, name: str) -> object:
        if name == "raw":
            _tear()
        return super().__getattribute__(name)


def _tear() -> NoReturn:
    raise _Torn("the check lets this commit fail")


STORE_CHECKS: Final[tuple[StoreCheck, ...]] = (
    what_is_accepted_is_seen_by_every_reader_at_once,
    what_is_accepted_outlives_a_writer_that_is_never_closed,
    a_store_that_is_opened_again_is_the_same,
    writers_and_readers_may_be_used_by_another_thread,
    reading.envelopes_come_back_as_they_were,
    positions_have_no_gaps_and_follow_the_order_of_jobs,
    what_does_not_continue_its_chain_is_refused_and_changes_nothing,
    an_envelope_that_is_held_is_accepted_again_at_its_position,
    spaces_know_nothing_of_each_other,
    reading.a_space_never_heard_of_is_empty_and_leaves_nothing_behind,
    a_space_past_its_quota_takes_no_more_and_others_go_on,
    of_a_commit_that_raises_nothing_is_kept,
    two_writers_go_on_from_each_other,
    reading.pages_hold_what_was_asked_for_and_lead_to_the_end,
    reading.what_a_reader_holds_is_left_out_of_its_pages,
    reading.heads_prove_what_is_held_up_to_them_and_foreign_ones_nothing,
    reading.readers_see_whole_commits_only,
    reading.a_page_holds_no_more_envelopes_than_a_frame,
    a_space_takes_as_many_devices_as_one_frame_can_name,
)
"""All checks, for a test of each: `check(make_store)`. What others take for granted comes first, what takes longer last."""

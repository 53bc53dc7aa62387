"""The shipped store, one in memory, and stores with one mistake each."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from driftlog.relay import (
    RelayStore,
    SqliteStore,
    store,
)
from driftlog.relay.server import running_relay_on
from driftlog.testing.conformance import STORE_CHECKS, Nonconforming, StoreCheck, check_store
from driftlog.testing.conformance import store as checks
from driftlog.testing.conformance import store_reading as reading
from tests.testing.conformance import mistaken_stores as wrong
from tests.testing.conformance.memory_store import MemoryReader, MemoryStore, MemoryWriter
from tests.todo_app import TodoAdded, todo_app


@contextmanager
def sqlite() -> Iterator[RelayStore]:
    with TemporaryDirectory() as folder:
        yield SqliteStore(str(Path(folder) / "relay.db"))


@pytest.mark.parametrize("check", STORE_CHECKS, ids=lambda check: check.__name__)
def test_the_shipped_store_conforms(check: StoreCheck) -> None:
    check(sqlite)


def test_a_right_store_in_memory_conforms() -> None:
    check_store(lambda: nullcontext(MemoryStore()))


def test_devices_sync_through_a_relay_on_another_store(tmp_path: Path) -> None:
    app = todo_app()

    def meet(url: str) -> None:
        with app.open(tmp_path / "ann.db") as ann, app.join(tmp_path / "bob.db", ann.invite()) as bob:
            ann.append(TodoAdded(id="1", text="milk"))
            for space in (ann, bob):
                space.sync(url).wait(timeout=20)
            assert bob.query("SELECT text FROM todo") == [("milk",)]

    async def main() -> None:
        async with running_relay_on(MemoryStore()) as relay:
            await asyncio.to_thread(meet, relay.url)

    asyncio.run(main())


Kind = type[MemoryWriter] | type[MemoryReader]

MISTAKES: list[tuple[Kind, StoreCheck, str]] = [
    (
        wrong.WritesLater,
        checks.what_is_accepted_is_seen_by_every_reader_at_once,
        "a reader sees: nothing, and not 1:a1",
    ),
    (
        wrong.SeesTheMomentItWasOpened,
        checks.what_is_accepted_is_seen_by_every_reader_at_once,
        "begin anew at each call",
    ),
    (wrong.ForgetsTheWalk, checks.what_is_accepted_is_seen_by_every_reader_at_once, "a page for walk 7 is for walk: 0"),
    (
        wrong.BeginsEmpty,
        checks.what_is_accepted_outlives_a_writer_that_is_never_closed,
        r"close\(\) may never be called",
    ),
    (
        wrong.CountsFromItsStart,
        checks.what_is_accepted_outlives_a_writer_that_is_never_closed,
        r"of b1, commit\(\) said: \['1'\], and not \['3'\]",
    ),
    (wrong.TidiesUpAtClose, checks.a_store_that_is_opened_again_is_the_same, "opened again, a page holds: nothing"),
    (wrong.IsBornAgain, checks.a_store_that_is_opened_again_is_the_same, "keep the birthday of the first writer"),
    (
        wrong.StaysOnItsThread,
        checks.writers_and_readers_may_be_used_by_another_thread,
        "RuntimeError came out of it: it was made in another thread; tie nothing to the thread",
    ),
    (wrong.CutsLongOnes, reading.envelopes_come_back_as_they_were, "and 65536 bytes, not the same, came back"),
    (wrong.LosesZeros, reading.envelopes_come_back_as_they_were, "keep `raw` in a column of bytes"),
    (wrong.SortsByHash, checks.positions_have_no_gaps_and_follow_the_order_of_jobs, "in the order in which they come"),
    (wrong.TakesGaps, checks.positions_have_no_gaps_and_follow_the_order_of_jobs, "give no number to what is refused"),
    (
        wrong.PutsTheSecondInPlaceOfTheFirst,
        checks.what_does_not_continue_its_chain_is_refused_and_changes_nothing,
        r"a1 a2 a2' \| a3' .*'1 2 FORK', '3', 'FORK'",
    ),
    (wrong.KeepsRepeats, checks.an_envelope_that_is_held_is_accepted_again_at_its_position, "keep nothing of a repeat"),
    (
        wrong.GivesRepeatsTheLastPosition,
        checks.an_envelope_that_is_held_is_accepted_again_at_its_position,
        "'1 2 3', '3 again 3 again'",
    ),
    (
        wrong.TakesAnotherSignatureForAnotherEnvelope,
        checks.an_envelope_that_is_held_is_accepted_again_at_its_position,
        "3 again FORK 1 again",
    ),
    (
        wrong.CountsByTheSlowWay,
        checks.an_envelope_that_is_held_is_accepted_again_at_its_position,
        "count nothing twice",
    ),
    (wrong.KnowsNoSpaces, checks.spaces_know_nothing_of_each_other, "be part of every key and of every WHERE"),
    (wrong.ReadsAllSpaces, checks.spaces_know_nothing_of_each_other, "a page of one space holds: 1:a1 2:a2"),
    (
        wrong.MakesASpaceForARefusal,
        reading.a_space_never_heard_of_is_empty_and_leaves_nothing_behind,
        r"then there are: Counts\(spaces=2",
    ),
    (
        wrong.MakesASpaceByAsking,
        reading.a_space_never_heard_of_is_empty_and_leaves_nothing_behind,
        r"then there are: Counts\(spaces=2",
    ),
    (
        wrong.KnowsNoStrangers,
        reading.a_space_never_heard_of_is_empty_and_leaves_nothing_behind,
        "KeyError came out of the store",
    ),
    (wrong.KnowsNoQuota, checks.a_space_past_its_quota_takes_no_more_and_others_go_on, "'1 2 3', '1', '1 again'"),
    (
        wrong.HasOneQuotaForAll,
        checks.a_space_past_its_quota_takes_no_more_and_others_go_on,
        "'1 2 QUOTA', 'QUOTA', 'QUOTA'",
    ),
    (wrong.WritesInPlace, checks.of_a_commit_that_raises_nothing_is_kept, "a page holds: 1:a1 2:a2, and not 1:a1"),
    (
        wrong.RemembersWhatItRolledBack,
        checks.of_a_commit_that_raises_nothing_is_kept,
        "roll back what memory knows of it",
    ),
    (wrong.SwallowsErrors, checks.of_a_commit_that_raises_nothing_is_kept, "let the error through"),
    (wrong.LooksOnlyOnce, checks.two_writers_go_on_from_each_other, "of a3, commit.*'GAP'.*under the lock"),
    (
        wrong.GivesAllAtOnce,
        reading.pages_hold_what_was_asked_for_and_lead_to_the_end,
        "1 bytes holds: 1:d01 2:d11",
    ),
    (
        wrong.GivesNothingThatIsTooLarge,
        reading.pages_hold_what_was_asked_for_and_lead_to_the_end,
        "the first always comes",
    ),
    (wrong.SaysThatThereIsMore, reading.pages_hold_what_was_asked_for_and_lead_to_the_end, "only then"),
    (wrong.BeginsAgainAfterTheEnd, reading.pages_hold_what_was_asked_for_and_lead_to_the_end, "from another life"),
    (
        wrong.LeavesNothingOut,
        reading.what_a_reader_holds_is_left_out_of_its_pages,
        "one who holds a2, pages hold: 1:a1",
    ),
    (wrong.LeavesOutOneMore, reading.what_a_reader_holds_is_left_out_of_its_pages, "leave out exactly"),
    (wrong.StopsBeforeWhatIsLeftOut, reading.what_a_reader_holds_is_left_out_of_its_pages, "ends at 0|PageRead"),
    (
        wrong.ProvesByNumber,
        reading.heads_prove_what_is_held_up_to_them_and_foreign_ones_nothing,
        r"\{a3 b2\} prove: .*'b': 2",
    ),
    (
        wrong.LooksAtTheLastHeadOnly,
        reading.heads_prove_what_is_held_up_to_them_and_foreign_ones_nothing,
        r"\{a4 b1 b2\} prove",
    ),
    (
        wrong.BeginsAfterTheLastProved,
        reading.heads_prove_what_is_held_up_to_them_and_foreign_ones_nothing,
        "first not proved",
    ),
    (wrong.CommitsInTwoSteps, reading.readers_see_whole_commits_only, "each commit has 20 envelopes, and while it ran"),
    (wrong.GivesMoreThanAFrame, reading.a_page_holds_no_more_envelopes_than_a_frame, "4097 envelopes, more than 4096"),
    (
        wrong.TakesAnyNumberOfDevices,
        checks.a_space_takes_as_many_devices_as_one_frame_can_name,
        "refuse the first envelope of",
    ),
]


@pytest.mark.parametrize(("kind", "meant", "said"), MISTAKES, ids=lambda value: getattr(value, "__name__", ""))
def test_a_store_with_a_mistake_fails_the_check_that_is_meant_for_it(kind: Kind, meant: StoreCheck, said: str) -> None:
    writer = kind if issubclass(kind, MemoryWriter) else MemoryWriter
    reader = kind if issubclass(kind, MemoryReader) else wrong.LooksWhenItIsAsked

    wrong.IS_HALF.clear()
    wrong.LOOKED.clear()

    with pytest.raises(Nonconforming, match=said) as found:
        check_store(lambda: nullcontext(MemoryStore(writer, reader)))

    assert found.value.claim == meant.__name__
    assert str(found.value).startswith(meant.__name__.replace("_", " "))
    assert found.value.rule is None or f"(rule {found.value.rule} of driftlog.relay.store)" in str(found.value)


def test_who_gives_a_store_in_place_of_a_function_is_told_what_to_give(tmp_path: Path) -> None:
    path = str(tmp_path / "relay.db")
    for given, said in ((SqliteStore(path), "is a SqliteStore"), (lambda: SqliteStore(path), "gave a SqliteStore")):
        with pytest.raises(TypeError, match=f"make_store {said}; let it be a function that gives a context manager"):
            check_store(given)  # type: ignore[arg-type]  # the mistake


def test_who_gives_the_same_store_again_is_told_so() -> None:
    same = MemoryStore()
    with pytest.raises(Nonconforming, match="a store that holds 3 envelopes; let it give a new one each time"):
        check_store(lambda: nullcontext(same))


def test_every_check_of_a_store_can_fail() -> None:
    assert {check for _, check, _ in MISTAKES} == set(STORE_CHECKS)


def test_every_rule_of_the_contract_is_checked() -> None:
    rules = re.findall(r"^(\d+)\. ", store.__doc__ or "", re.MULTILINE)
    source = "".join(Path(module.__file__ or "").read_text() for module in (checks, reading))

    assert rules == [str(number) for number in range(1, len(rules) + 1)]
    assert set(rules) == set(re.findall(r"(?:on\.(?:expect|failure|commit)\()(\d+)", source))


def test_the_page_on_testing_shows_what_a_failure_says() -> None:
    with pytest.raises(Nonconforming) as found:
        check_store(lambda: nullcontext(MemoryStore(wrong.LooksOnlyOnce)))

    page = (Path(__file__).parents[3] / "docs" / "testing.md").read_text()
    assert str(found.value) in " ".join(page.split())

"""The shipped store, one in memory, and stores with one mistake each."""

import asyncio
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from driftlog.errors import StorageError
from driftlog.relay import (
    Accepted,
    Birthday,
    Counts,
    DeviceKey,
    Envelope,
    Head,
    Job,
    Outcome,
    PageRead,
    Position,
    Proved,
    ReadPage,
    Refusal,
    Rejected,
    RelayStore,
    SpaceId,
    SqliteStore,
    Standing,
    VersionVector,
    store,
)
from driftlog.relay.server import running_relay_on
from driftlog.testing.conformance import STORE_CHECKS, Nonconforming, StoreCheck, check_store
from driftlog.testing.conformance import store as checks
from driftlog.testing.conformance import store_reading as reading
from tests.testing.conformance.memory_store import Disk, Held, MemoryReader, MemoryStore, MemoryWriter, Spaces
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


# --- writers with one mistake each -------------------------------------------------------------------------------------


class WritesLater(MemoryWriter):
    """Acknowledges before it is durable."""

    later: Spaces | None = None

    def end(self, spaces: Spaces) -> None:
        if self.later is not None:
            self.disk.spaces = self.later
        self.later = spaces

    def close(self) -> None:
        if self.later is not None:
            self.disk.spaces = self.later


class BeginsEmpty(MemoryWriter):
    """Lost on reopen."""

    def __init__(self, disk: Disk, birthday: Birthday, space_bytes_max: int) -> None:
        super().__init__(disk, birthday, space_bytes_max)
        disk.spaces = {}


class CountsFromItsStart(MemoryWriter):
    """A number given twice after a restart."""

    def __init__(self, disk: Disk, birthday: Birthday, space_bytes_max: int) -> None:
        super().__init__(disk, birthday, space_bytes_max)
        self.given = 0

    def keep(self, held: Held, envelope: Envelope) -> Outcome:
        super().keep(held, envelope)
        self.given += 1
        return Accepted(Position(self.given))


class TidiesUpAtClose(MemoryWriter):
    def close(self) -> None:
        self.disk.spaces = {}


class IsBornAgain(MemoryWriter):
    def __init__(self, disk: Disk, birthday: Birthday, space_bytes_max: int) -> None:
        disk.birthday = birthday
        super().__init__(disk, birthday, space_bytes_max)


class StaysOnItsThread(MemoryWriter):
    def __init__(self, disk: Disk, birthday: Birthday, space_bytes_max: int) -> None:
        super().__init__(disk, birthday, space_bytes_max)
        self.thread = threading.current_thread()

    def commit(self, jobs: Sequence[Job]) -> list[tuple[Outcome, ...]]:
        if threading.current_thread() is not self.thread:
            raise RuntimeError("it was made in another thread")
        return super().commit(jobs)


class CutsLongOnes(MemoryWriter):
    def keep(self, held: Held, envelope: Envelope) -> Outcome:
        return super().keep(held, replace(envelope, raw=envelope.raw[:65_536]))


class SortsByHash(MemoryWriter):
    def commit(self, jobs: Sequence[Job]) -> list[tuple[Outcome, ...]]:
        flat = sorted(((job, each) for job in jobs for each in job.envelopes), key=lambda one: one[1].header.device)
        with self.disk.lock:
            spaces = self.begin()
            outcomes = {id(each): self.store(spaces, job.space, each) for job, each in flat}
            self.end(spaces)
        return [tuple(outcomes[id(each)] for each in job.envelopes) for job in jobs]


class TakesGaps(MemoryWriter):
    def store(self, spaces: Spaces, space: SpaceId, envelope: Envelope) -> Outcome:
        outcome = super().store(spaces, space, envelope)
        if isinstance(outcome, Rejected) and outcome.code is Refusal.GAP:
            return self.keep(spaces.setdefault(space, Held()), envelope)
        return outcome


class PutsTheSecondInPlaceOfTheFirst(MemoryWriter):
    def store(self, spaces: Spaces, space: SpaceId, envelope: Envelope) -> Outcome:
        outcome = super().store(spaces, space, envelope)
        if isinstance(outcome, Rejected) and outcome.code is Refusal.FORK:
            held = spaces[space]
            at = held.places[envelope.header.device][envelope.header.batch_seq - 1 :]
            if at:
                held.envelopes[at[0] - 1] = envelope
        return outcome


class KeepsRepeats(MemoryWriter):
    """A duplicate is accepted twice."""

    def store(self, spaces: Spaces, space: SpaceId, envelope: Envelope) -> Outcome:
        outcome = super().store(spaces, space, envelope)
        if isinstance(outcome, Accepted) and not outcome.is_new:
            spaces[space].envelopes.append(envelope)
        return outcome


class GivesRepeatsTheLastPosition(MemoryWriter):
    def store(self, spaces: Spaces, space: SpaceId, envelope: Envelope) -> Outcome:
        outcome = super().store(spaces, space, envelope)
        if isinstance(outcome, Accepted) and not outcome.is_new:
            return replace(outcome, position=Position(len(spaces[space].envelopes)))
        return outcome


class TakesAnotherSignatureForAnotherEnvelope(MemoryWriter):
    def store(self, spaces: Spaces, space: SpaceId, envelope: Envelope) -> Outcome:
        outcome = super().store(spaces, space, envelope)
        if isinstance(outcome, Accepted) and spaces[space].at(outcome.position).raw != envelope.raw:
            return Rejected(Refusal.FORK, "the bytes are not the same")
        return outcome


class KnowsNoSpaces(MemoryWriter):
    """A leak across spaces: a device's chain is looked up by its key alone."""

    def store(self, spaces: Spaces, space: SpaceId, envelope: Envelope) -> Outcome:
        device = envelope.header.device
        for other, held in spaces.items():
            if device in held.places:
                return super().store(spaces, other, envelope)
        return super().store(spaces, space, envelope)


class MakesASpaceForARefusal(MemoryWriter):
    def store(self, spaces: Spaces, space: SpaceId, envelope: Envelope) -> Outcome:
        spaces.setdefault(space, Held())
        return super().store(spaces, space, envelope)


class KnowsNoQuota(MemoryWriter):
    def begin(self) -> Spaces:
        self.space_bytes_max = 1 << 50
        return super().begin()


class HasOneQuotaForAll(MemoryWriter):
    def store(self, spaces: Spaces, space: SpaceId, envelope: Envelope) -> Outcome:
        if sum(held.size for held in spaces.values()) + len(envelope.raw) > self.space_bytes_max:
            return Rejected(Refusal.QUOTA, "full")
        return super().store(spaces, space, envelope)


class WritesInPlace(MemoryWriter):
    """Half a batch is kept when the rest fails."""

    def begin(self) -> Spaces:
        return self.disk.spaces


class RemembersWhatItRolledBack(MemoryWriter):
    remembered: Spaces | None = None

    def begin(self) -> Spaces:
        if self.remembered is None or len(self.disk.spaces) > len(self.remembered):
            self.remembered = super().begin()
        return self.remembered

    def end(self, spaces: Spaces) -> None:
        self.disk.spaces = {space: self.copy(held) for space, held in spaces.items()}


class SwallowsErrors(MemoryWriter):
    def commit(self, jobs: Sequence[Job]) -> list[tuple[Outcome, ...]]:
        try:
            return super().commit(jobs)
        except StorageError:
            return [() for _ in jobs]


class LooksOnlyOnce(MemoryWriter):
    """The second writer's numbers are the first one's."""

    known: Spaces | None = None

    def begin(self) -> Spaces:
        return super().begin() if self.known is None else {key: self.copy(held) for key, held in self.known.items()}

    def end(self, spaces: Spaces) -> None:
        self.disk.spaces = self.known = spaces


class CommitsInTwoSteps(MemoryWriter):
    """Beside a reader, that looks in between."""

    def end(self, spaces: Spaces) -> None:
        if threading.current_thread().name == reading.WRITER and not IS_HALF.is_set():
            super().end({space: self.without_the_last(held) for space, held in spaces.items()})
            IS_HALF.set()
            LOOKED.wait(PATIENCE_SECONDS)
        super().end(spaces)

    def without_the_last(self, held: Held) -> Held:
        half = Held()
        for envelope in held.envelopes[:-1]:
            super().keep(half, envelope)
        return half


IS_HALF, LOOKED = threading.Event(), threading.Event()
PATIENCE_SECONDS = 5


class TakesAnyNumberOfDevices(MemoryWriter):
    def standing(self, held: Held, device: DeviceKey) -> Standing:
        return replace(super().standing(held, device), device_count=0)


# --- readers with one mistake each -------------------------------------------------------------------------------------


class SeesTheMomentItWasOpened(MemoryReader):
    def __init__(self, disk: Disk) -> None:
        super().__init__(Disk(disk.birthday, disk.spaces))


class LosesZeros(MemoryReader):
    def page(self, space: SpaceId, page: ReadPage) -> PageRead:
        read = super().page(space, page)
        return replace(read, entries=tuple((position, raw.rstrip(b"\0")) for position, raw in read.entries))


class ReadsAllSpaces(MemoryReader):
    def held(self, space: SpaceId) -> Held:  # noqa: ARG002 - the mistake
        held = Held()
        for each in self.disk.spaces.values():
            held.envelopes += each.envelopes
            held.places |= each.places
        return held


class MakesASpaceByAsking(MemoryReader):
    def held(self, space: SpaceId) -> Held:
        return self.disk.spaces.setdefault(space, Held())


class KnowsNoStrangers(MemoryReader):
    def held(self, space: SpaceId) -> Held:
        return self.disk.spaces[space]


class CountsByTheSlowWay(MemoryReader):
    """An estimate."""

    def counts(self) -> Counts:
        counts = super().counts()
        return replace(counts, bytes=counts.envelopes * 300)


class GivesAllAtOnce(MemoryReader):
    def page(self, space: SpaceId, page: ReadPage) -> PageRead:
        return super().page(space, replace(page, bytes_max=1 << 40))


class GivesNothingThatIsTooLarge(MemoryReader):
    def page(self, space: SpaceId, page: ReadPage) -> PageRead:
        read = super().page(space, page)
        return read if sum(len(raw) for _, raw in read.entries) <= page.bytes_max else replace(read, entries=())


class SaysThatThereIsMore(MemoryReader):
    def page(self, space: SpaceId, page: ReadPage) -> PageRead:
        read = super().page(space, page)
        return replace(read, is_end=not read.entries)


class BeginsAgainAfterTheEnd(MemoryReader):
    def page(self, space: SpaceId, page: ReadPage) -> PageRead:
        is_past = page.after > len(self.held(space).envelopes)
        return super().page(space, replace(page, after=Position(0) if is_past else page.after))


class ForgetsTheWalk(MemoryReader):
    def page(self, space: SpaceId, page: ReadPage) -> PageRead:
        return replace(super().page(space, page), walk=0)


class GivesMoreThanAFrame(MemoryReader):
    def page(self, space: SpaceId, page: ReadPage) -> PageRead:
        read = super().page(space, page)
        if page.bytes_max < 1 << 30 or read.is_end:
            return read
        rest = super().page(space, replace(page, after=read.until))
        return replace(rest, entries=read.entries + rest.entries)


class LeavesNothingOut(MemoryReader):
    def page(self, space: SpaceId, page: ReadPage) -> PageRead:
        return super().page(space, replace(page, seq_by_device={}))


class LeavesOutOneMore(MemoryReader):
    def page(self, space: SpaceId, page: ReadPage) -> PageRead:
        return super().page(space, replace(page, seq_by_device={key: n + 1 for key, n in page.seq_by_device.items()}))


class StopsBeforeWhatIsLeftOut(MemoryReader):
    def page(self, space: SpaceId, page: ReadPage) -> PageRead:
        read = super().page(space, page)
        until = read.entries[-1][0] if read.entries else page.after
        return replace(read, until=until, is_end=until >= len(self.held(space).envelopes))


class ProvesByNumber(MemoryReader):
    def is_proof(self, envelope: Envelope, head: Head) -> bool:
        return envelope.header.batch_seq == head.batch_seq


class LooksAtTheLastHeadOnly(MemoryReader):
    def prove(self, space: SpaceId, heads: VersionVector) -> Proved:
        return super().prove(space, VersionVector({key: held[-1:] for key, held in heads.items()}))


class BeginsAfterTheLastProved(MemoryReader):
    """The sum of what is proved, as if nothing else lay between."""

    def prove(self, space: SpaceId, heads: VersionVector) -> Proved:
        proved = super().prove(space, heads)
        return replace(proved, start=Position(sum(proved.seq_by_device.values())))


class LooksWhenItIsAsked(MemoryReader):
    """No mistake: the right reader, that lets a writer go on when it has seen something."""

    def page(self, space: SpaceId, page: ReadPage) -> PageRead:
        read = super().page(space, page)
        if read.entries and IS_HALF.is_set():
            LOOKED.set()
        return read


Kind = type[MemoryWriter] | type[MemoryReader]

MISTAKES: list[tuple[Kind, StoreCheck, str]] = [
    (WritesLater, checks.what_is_accepted_is_seen_by_every_reader_at_once, "a reader sees: nothing, and not 1:a1"),
    (SeesTheMomentItWasOpened, checks.what_is_accepted_is_seen_by_every_reader_at_once, "begin anew at each call"),
    (ForgetsTheWalk, checks.what_is_accepted_is_seen_by_every_reader_at_once, "a page for walk 7 is for walk: 0"),
    (BeginsEmpty, checks.what_is_accepted_outlives_a_writer_that_is_never_closed, r"close\(\) may never be called"),
    (
        CountsFromItsStart,
        checks.what_is_accepted_outlives_a_writer_that_is_never_closed,
        r"of b1, commit\(\) said: \['1'\], and not \['3'\]",
    ),
    (TidiesUpAtClose, checks.a_store_that_is_opened_again_is_the_same, "opened again, a page holds: nothing"),
    (IsBornAgain, checks.a_store_that_is_opened_again_is_the_same, "keep the birthday of the first writer"),
    (
        StaysOnItsThread,
        checks.writers_and_readers_may_be_used_by_another_thread,
        "RuntimeError came out of it: it was made in another thread; tie nothing to the thread",
    ),
    (CutsLongOnes, reading.envelopes_come_back_as_they_were, "and 65536 bytes, not the same, came back"),
    (LosesZeros, reading.envelopes_come_back_as_they_were, "keep `raw` in a column of bytes"),
    (SortsByHash, checks.positions_have_no_gaps_and_follow_the_order_of_jobs, "in the order in which they come"),
    (TakesGaps, checks.positions_have_no_gaps_and_follow_the_order_of_jobs, "give no number to what is refused"),
    (
        PutsTheSecondInPlaceOfTheFirst,
        checks.what_does_not_continue_its_chain_is_refused_and_changes_nothing,
        r"a1 a2 a2' \| a3' .*'1 2 FORK', '3', 'FORK'",
    ),
    (KeepsRepeats, checks.an_envelope_that_is_held_is_accepted_again_at_its_position, "keep nothing of a repeat"),
    (
        GivesRepeatsTheLastPosition,
        checks.an_envelope_that_is_held_is_accepted_again_at_its_position,
        "'1 2 3', '3 again 3 again'",
    ),
    (
        TakesAnotherSignatureForAnotherEnvelope,
        checks.an_envelope_that_is_held_is_accepted_again_at_its_position,
        "3 again FORK 1 again",
    ),
    (CountsByTheSlowWay, checks.an_envelope_that_is_held_is_accepted_again_at_its_position, "count nothing twice"),
    (KnowsNoSpaces, checks.spaces_know_nothing_of_each_other, "be part of every key and of every WHERE"),
    (ReadsAllSpaces, checks.spaces_know_nothing_of_each_other, "a page of one space holds: 1:a1 2:a2"),
    (
        MakesASpaceForARefusal,
        reading.a_space_never_heard_of_is_empty_and_leaves_nothing_behind,
        r"then there are: Counts\(spaces=2",
    ),
    (
        MakesASpaceByAsking,
        reading.a_space_never_heard_of_is_empty_and_leaves_nothing_behind,
        r"then there are: Counts\(spaces=2",
    ),
    (
        KnowsNoStrangers,
        reading.a_space_never_heard_of_is_empty_and_leaves_nothing_behind,
        "KeyError came out of the store",
    ),
    (KnowsNoQuota, checks.a_space_past_its_quota_takes_no_more_and_others_go_on, "'1 2 3', '1', '1 again'"),
    (HasOneQuotaForAll, checks.a_space_past_its_quota_takes_no_more_and_others_go_on, "'1 2 QUOTA', 'QUOTA', 'QUOTA'"),
    (WritesInPlace, checks.of_a_commit_that_raises_nothing_is_kept, "a page holds: 1:a1 2:a2, and not 1:a1"),
    (RemembersWhatItRolledBack, checks.of_a_commit_that_raises_nothing_is_kept, "roll back what memory knows of it"),
    (SwallowsErrors, checks.of_a_commit_that_raises_nothing_is_kept, "let the error through"),
    (LooksOnlyOnce, checks.two_writers_go_on_from_each_other, "of a3, commit.*'GAP'.*under the lock"),
    (GivesAllAtOnce, reading.pages_hold_what_was_asked_for_and_lead_to_the_end, "a page of 1 bytes holds: 1:d01 2:d11"),
    (GivesNothingThatIsTooLarge, reading.pages_hold_what_was_asked_for_and_lead_to_the_end, "the first always comes"),
    (SaysThatThereIsMore, reading.pages_hold_what_was_asked_for_and_lead_to_the_end, "only then"),
    (BeginsAgainAfterTheEnd, reading.pages_hold_what_was_asked_for_and_lead_to_the_end, "from another life"),
    (LeavesNothingOut, reading.what_a_reader_holds_is_left_out_of_its_pages, "one who holds a2, pages hold: 1:a1"),
    (LeavesOutOneMore, reading.what_a_reader_holds_is_left_out_of_its_pages, "leave out exactly"),
    (StopsBeforeWhatIsLeftOut, reading.what_a_reader_holds_is_left_out_of_its_pages, "ends at 0|PageRead"),
    (
        ProvesByNumber,
        reading.heads_prove_what_is_held_up_to_them_and_foreign_ones_nothing,
        r"\{a3 b2\} prove: .*'b': 2",
    ),
    (
        LooksAtTheLastHeadOnly,
        reading.heads_prove_what_is_held_up_to_them_and_foreign_ones_nothing,
        r"\{a4 b1 b2\} prove",
    ),
    (
        BeginsAfterTheLastProved,
        reading.heads_prove_what_is_held_up_to_them_and_foreign_ones_nothing,
        "first not proved",
    ),
    (CommitsInTwoSteps, reading.readers_see_whole_commits_only, "each commit has 20 envelopes, and while it ran"),
    (GivesMoreThanAFrame, reading.a_page_holds_no_more_envelopes_than_a_frame, "4097 envelopes, more than 4096"),
    (
        TakesAnyNumberOfDevices,
        checks.a_space_takes_as_many_devices_as_one_frame_can_name,
        "refuse the first envelope of",
    ),
]


@pytest.mark.parametrize(("kind", "meant", "said"), MISTAKES, ids=lambda value: getattr(value, "__name__", ""))
def test_a_store_with_a_mistake_fails_the_check_that_is_meant_for_it(kind: Kind, meant: StoreCheck, said: str) -> None:
    writer = kind if issubclass(kind, MemoryWriter) else MemoryWriter
    reader = kind if issubclass(kind, MemoryReader) else LooksWhenItIsAsked

    IS_HALF.clear()
    LOOKED.clear()

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
        check_store(lambda: nullcontext(MemoryStore(LooksOnlyOnce)))

    page = (Path(__file__).parents[3] / "docs" / "testing.md").read_text()
    assert str(found.value) in " ".join(page.split())

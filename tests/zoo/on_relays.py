"""Mistakes of a relay: what it acknowledges, what it keeps, what it sends to whom."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import pytest

from driftlog._core.ids import Position
from driftlog._protocol.messages import Refusal
from driftlog._protocol.relay_session import Accepted, Outcome, PageRead, Rejected
from driftlog.relay import reading as reading_module
from driftlog.relay.hub import Hub
from driftlog.relay.reading import Reading
from driftlog.relay.store import Job
from driftlog.relay.writing import Writing
from tests.zoo.mistakes import Zoo

ZOO = Zoo()


@ZOO.within(5)
def the_relay_wakes_nobody(patch: pytest.MonkeyPatch) -> None:
    """What is new is seen with the next connection."""
    patch.setattr(Hub, "wake", lambda *_: None)


@ZOO.within(5)
def the_relay_acknowledges_before_it_has_committed(patch: pytest.MonkeyPatch) -> None:
    """A broker that synced every two minutes lost 14 % of what it had acknowledged."""
    real = Writing.commit
    late: WeakKeyDictionary[Writing, list[Job]] = WeakKeyDictionary()

    def commit(self: Writing, jobs: Sequence[Job]) -> list[tuple[Outcome, ...]]:
        before = late.pop(self, [])
        late[self] = list(jobs)
        real(self, before)
        return [tuple(Accepted(Position(1)) for _ in job.envelopes) for job in jobs]

    patch.setattr(Writing, "commit", commit)


@ZOO.within(5)
def of_an_upload_the_first_envelope_is_kept(patch: pytest.MonkeyPatch) -> None:
    """A loop that returns from its first round, and an answer for all of them."""
    real = Writing.commit

    def commit(self: Writing, jobs: Sequence[Job]) -> list[tuple[Outcome, ...]]:
        outcomes = real(self, [replace(job, envelopes=job.envelopes[:1]) for job in jobs])
        return [outcome * len(job.envelopes) for job, outcome in zip(jobs, outcomes, strict=True)]

    patch.setattr(Writing, "commit", commit)


@ZOO.within(25)
def what_finds_no_room_is_acknowledged(patch: pytest.MonkeyPatch) -> None:
    """A queue that drops what it cannot hold, and an answer all the same: the sender believes it is safe."""
    acknowledge_refused(patch, Refusal.QUOTA)


def acknowledge_refused(patch: pytest.MonkeyPatch, code: Refusal) -> None:
    real = Writing._store

    def store(self: Writing, *arguments: Any) -> Outcome:
        outcome = real(self, *arguments)
        return Accepted(Position(1)) if isinstance(outcome, Rejected) and outcome.code is code else outcome

    patch.setattr(Writing, "_store", store)


@ZOO.within(5)
def a_page_forgets_its_last_envelope(patch: pytest.MonkeyPatch) -> None:
    """Off by one at the end of a page: a few rows of each thousand are never seen."""
    real = Reading.page

    def page(self: Reading, space: Any, asked: Any) -> PageRead:
        found = real(self, space, asked)
        return replace(found, entries=found.entries[:-1]) if len(found.entries) > 1 else found

    patch.setattr(Reading, "page", page)


@ZOO.within(5)
def who_joins_is_sent_only_what_comes_after(patch: pytest.MonkeyPatch) -> None:
    """A new device that begins at the present shows an empty app."""
    real = Reading.prove

    def prove(self: Reading, space: Any, heads: Any) -> Any:
        found = real(self, space, heads)
        return replace(found, start=self.admit(space).position)

    patch.setattr(Reading, "prove", prove)


@ZOO.within(5)
def a_page_begins_one_too_late(patch: pytest.MonkeyPatch) -> None:
    """Off by one at its beginning."""
    patch.setattr(reading_module, "_ROWS", reading_module._ROWS.replace("id > ?", "id > 1 + ?"))


@ZOO.within(5)
def pages_are_read_without_an_order(patch: pytest.MonkeyPatch) -> None:
    """The cursor is then past what was not sent yet."""
    patch.setattr(reading_module, "_ROWS", reading_module._ROWS.replace("ORDER BY id", "ORDER BY envelope.hash"))

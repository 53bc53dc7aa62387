"""Mistakes of relays that no seed has shown: what heals them, or hides them, is said of each in `docs/simulation.md`."""

from dataclasses import replace
from typing import Any

import pytest

from driftlog._core.version_vector import Head
from driftlog._protocol import relay_session
from driftlog._protocol.limits import WINDOW_FRAMES
from driftlog._protocol.messages import Read, Refusal
from driftlog._protocol.relay_session import Outcome, PageRead, Paging, Rejected
from driftlog.relay.group_commit import GroupCommit
from driftlog.relay.reading import Reading
from driftlog.relay.writing import Writing
from tests.zoo.mistakes import Zoo
from tests.zoo.on_relays import acknowledge_refused

ZOO = Zoo()


@ZOO.within(40)
def the_relay_wakes_its_readers_before_it_commits(patch: pytest.MonkeyPatch) -> None:
    """They read on from where they are, find nothing, and are not woken again."""
    real = GroupCommit._gather

    def gather(self: GroupCommit, first: Any) -> Any:
        batch, is_last = real(self, first)
        self._growth({waiting.job.space for waiting in batch})  # type: ignore[attr-defined]  # set below
        return batch, is_last

    real_init = GroupCommit.__init__

    def init(self: GroupCommit, store: Any, on_growth: Any) -> None:
        self._growth = on_growth  # type: ignore[attr-defined]
        real_init(self, store, lambda _: None)

    patch.setattr(GroupCommit, "_gather", gather)
    patch.setattr(GroupCommit, "__init__", init)


@ZOO.within(20)
def who_is_woken_while_it_reads_sleeps_on(patch: pytest.MonkeyPatch) -> None:
    """The lost wake-up: the flag is set while it is being looked at."""
    real = relay_session._woken
    patch.setattr(relay_session, "_woken", lambda paging: paging if paging is Paging.ASKED else real(paging))


@ZOO.within(20)
def a_gap_is_acknowledged(patch: pytest.MonkeyPatch) -> None:
    """What cannot be stored is answered as if it were."""
    acknowledge_refused(patch, Refusal.GAP)


@ZOO.within(40)
def what_is_asked_for_is_sent_by_numbers_without_the_hash(patch: pytest.MonkeyPatch) -> None:
    """A device's own branch of a fork counts as the relay's."""

    def proved(_self: Reading, _device: int, last: Head, chain: tuple[Head, ...]) -> int:
        told: int = max((head.batch_seq for head in chain), default=0)
        return min(last.batch_seq, told)

    patch.setattr(Reading, "_proved", proved)


@ZOO.within(40)
def a_page_that_was_read_before_a_new_beginning_counts_for_it(patch: pytest.MonkeyPatch) -> None:
    """An answer to an older question is taken for one to the newer."""
    real = relay_session._live

    def live(session: Any, state: Any, event: Any) -> Any:
        return real(session, state, replace(event, walk=state.walk) if isinstance(event, PageRead) else event)

    patch.setattr(relay_session, "_live", live)


@ZOO.within(40)
def a_relay_keeps_what_continues_nothing(patch: pytest.MonkeyPatch) -> None:
    """Stored without the chain check: its heads then promise what it does not have."""
    real = Writing._store

    def store(self: Writing, job: Any, space: Any, envelope: Any) -> Outcome:
        outcome = real(self, job, space, envelope)
        if isinstance(outcome, Rejected) and outcome.code is Refusal.GAP:
            return self._insert(job, space, self._chain(space, envelope.header.device), envelope)
        return outcome

    patch.setattr(Writing, "_store", store)


@ZOO.within(20)
def frames_that_were_answered_for_count_as_open(patch: pytest.MonkeyPatch) -> None:
    """A window that never opens again: the reader waits, and so does the relay."""
    real = relay_session._heard

    def heard(session: Any, message: Any, verify: Any) -> Any:
        before = session.state
        moved, effects = real(session, message, verify)
        if isinstance(message, Read) and len(before.unanswered) == WINDOW_FRAMES:
            return replace(session, state=replace(before, unanswered=before.unanswered[1:])), ()
        return moved, effects

    patch.setattr(relay_session, "_heard", heard)

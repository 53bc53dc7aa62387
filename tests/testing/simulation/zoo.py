"""Deliberate mistakes in Driftlog, one at a time, each of a kind that some system has shipped: the simulator must find them.

What it cannot find belongs in `docs/simulation.md`: mistakes that the protocol mends by itself, and mistakes in the fold,
which the judge shares.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytest

from driftlog._core import clock
from driftlog._core.ids import Position
from driftlog._protocol import outbox
from driftlog._protocol.relay_session import Accepted, Outcome
from driftlog._store import store as store_module
from driftlog._store.chain import Chains
from driftlog._store.store import Store
from driftlog.relay.hub import Hub
from driftlog.relay.writing import Job, Writing
from driftlog.space.exchange import Exchange
from driftlog.space.replica import SpaceReplica

# `Any` stands for the arguments of the methods that are replaced, which are passed on as they come.

Mutation = Callable[[pytest.MonkeyPatch], None]


class Mistake(NamedTuple):
    """A mistake, and within how many seeds it must be found."""

    make: Mutation
    seeds_max: int


ZOO: dict[str, Mistake] = {}


def mistake(seeds_max: int) -> Callable[[Mutation], Mutation]:
    """Register a mistake under its function's name, read as words."""

    def register(function: Mutation) -> Mutation:
        ZOO[function.__name__.replace("_", " ")] = Mistake(function, seeds_max)
        return function

    return register


@mistake(5)
def the_clock_is_not_advanced_by_what_is_received(patch: pytest.MonkeyPatch) -> None:
    real = Store._integrate

    def integrate(self: Store, arrived: Any) -> Any:
        before = self._last
        found = real(self, arrived)
        self._last = before
        return found

    patch.setattr(Store, "_integrate", integrate)


@mistake(5)
def a_stamp_is_what_the_clock_shows(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(store_module, "tick", lambda _, now_ms: clock.Hlc(max(0, now_ms) << 16))


@mistake(5)
def the_relay_wakes_nobody(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Hub, "wake", lambda *_: None)


@mistake(5)
def a_device_gives_a_relay_its_own_envelopes_only(patch: pytest.MonkeyPatch) -> None:
    real = SpaceReplica.outgoing

    def outgoing(self: SpaceReplica, *arguments: Any) -> Any:
        return [one for one in real(self, *arguments) if one.device == self._engine.keys.device_key]

    patch.setattr(SpaceReplica, "outgoing", outgoing)


@mistake(5)
def the_relay_acknowledges_before_it_has_committed(patch: pytest.MonkeyPatch) -> None:
    real = Writing.commit
    late: dict[int, list[Job]] = {}

    def commit(self: Writing, jobs: Sequence[Job]) -> list[tuple[Outcome, ...]]:
        before = late.pop(id(self), [])
        late[id(self)] = list(jobs)
        real(self, before)
        return [tuple(Accepted(Position(1)) for _ in job.envelopes) for job in jobs]

    patch.setattr(Writing, "commit", commit)


@mistake(40)
def another_processs_commit_goes_unnoticed(patch: pytest.MonkeyPatch) -> None:
    real = Store._refresh

    def refresh(self: Store, *, may_fold: bool) -> None:
        if self._data_version != -1:
            self._data_version = self.connection.data_version()
        real(self, may_fold=may_fold)

    patch.setattr(Store, "_refresh", refresh)


@mistake(5)
def one_bad_envelope_drops_the_batch(patch: pytest.MonkeyPatch) -> None:
    real = Exchange.open_all

    def open_all(self: Exchange, envelopes: Any) -> Any:
        opened, refused = real(self, envelopes)
        return ([] if refused else opened), refused

    patch.setattr(Exchange, "open_all", open_all)
    # The protocol would ask again for what it lacks; this makes the loss last.
    patch.setattr(SpaceReplica, "known_heads", lambda _, relay: relay)


@mistake(10)
def what_waited_for_an_envelope_waits_for_ever(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Chains, "waiting_after", lambda *_: [])


@mistake(30)
def a_relay_that_was_full_is_never_asked_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(outbox, "QUOTA_TICKS", 10**9)


@mistake(20)
def what_is_held_is_held_for_ever(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Store, "_release_held", lambda *_: None)


@mistake(5)
def the_cursor_is_saved_before_the_events(patch: pytest.MonkeyPatch) -> None:
    real = SpaceReplica.apply

    def apply(self: SpaceReplica, url: str, birthday: Any, envelopes: Any, cursor: Any) -> int:
        real(self, url, birthday, [], cursor)
        return real(self, url, birthday, envelopes, cursor)

    patch.setattr(SpaceReplica, "apply", apply)
    patch.setattr(SpaceReplica, "known_heads", lambda _, relay: relay)

"""Mistakes that cost no event: what is sent although it is there, and what is said of a relay that has lost it."""

from typing import Any

import pytest
from msgspec.structs import replace

from driftlog._core.ids import Position
from driftlog._core.version_vector import VersionVector
from driftlog._protocol import live, relay_session
from driftlog._protocol.device_values import Greeting
from driftlog._protocol.position_runs import NO_RUNS
from driftlog._protocol.relay_session import Accepted
from driftlog.relay.reading import Reading
from driftlog.relay.writing import Writing
from driftlog.space import replica as replica_module
from driftlog.space.replica import SpaceReplica
from tests.zoo.mistakes import Zoo, seeds_of_rotting_relays

ZOO = Zoo()


@ZOO.within(8)
def the_cursor_is_forgotten_at_reconnection(patch: pytest.MonkeyPatch) -> None:
    """A mobile client that downloads all of its history whenever it comes out of a tunnel."""
    real = SpaceReplica.greeting

    def greeting(self: SpaceReplica, url: str) -> Greeting:
        found = real(self, url)
        return Greeting(found.genesis, found.device, found.birthday, Position(0), found.vector)

    patch.setattr(SpaceReplica, "greeting", greeting)


@ZOO.within(8)
def everything_is_uploaded_again_after_a_reconnection(patch: pytest.MonkeyPatch) -> None:
    """What a relay says that it has is not looked at: it recognises each envelope, and nobody sees what that costs."""
    real = live.welcomed

    def welcomed(*arguments: Any) -> Any:
        moved = real(*arguments)
        if isinstance(moved, tuple):
            state, effects = moved
            return replace(state, outbox=replace(state.outbox, relay_has=VersionVector())), effects
        return moved

    patch.setattr(live, "welcomed", welcomed)


@ZOO.within(5)
def a_device_is_sent_what_it_has_just_sent(patch: pytest.MonkeyPatch) -> None:
    """An echo: every change costs its author the way down as well."""
    patch.setattr(relay_session, "joined", lambda *_, **__: NO_RUNS)


@ZOO.within(8)
def who_asks_for_what_it_lacks_is_sent_everything(patch: pytest.MonkeyPatch) -> None:
    """A relay that scans and sends a whole history at each connection."""

    def prove(_self: Reading, _space: Any, _heads: Any) -> Any:
        return relay_session.Proved(Position(0), {})

    patch.setattr(Reading, "prove", prove)


@ZOO.within(8)
def what_another_relay_confirmed_is_confirmed_by_the_new_one(patch: pytest.MonkeyPatch) -> None:
    """A wiped server is shown as holding everything."""
    real = replica_module._mark

    def mark(store: Any, url: str, birthday: Any) -> Any:
        before = store.meta.relay(url)
        found = real(store, url, birthday)
        return found if before is None else found._replace(confirmed_seq=before.confirmed_seq)

    patch.setattr(replica_module, "_mark", mark)
    real_confirmed = SpaceReplica._confirmed_seq
    patch.setattr(
        SpaceReplica,
        "_confirmed_seq",
        lambda self, store, before, head, *, is_all: max(
            before, real_confirmed(self, store, before, head, is_all=is_all)
        ),
    )


@ZOO.within(5)
def a_second_history_of_a_device_takes_the_place_of_the_first(patch: pytest.MonkeyPatch) -> None:
    """Upsert by number: the envelope at a place is replaced, and who has read on never sees it."""

    def refuse_fork(self: Writing, chain: Any, envelope: Any, _refusal: Any) -> Accepted:
        self._connection.execute(
            "UPDATE envelope SET hash = ?, raw = ? WHERE device = ? AND batch_seq = ?",
            (envelope.hash, envelope.raw, chain.device, envelope.header.batch_seq),
        )
        return Accepted(Position(1))

    patch.setattr(Writing, "_refuse_fork", refuse_fork)


@ZOO.within(8, seeds_of_rotting_relays)
def a_relay_hands_out_what_its_disk_has_altered(patch: pytest.MonkeyPatch) -> None:
    """A store that believes its disk: one flipped bit is sent to everybody, and each of them passes it over for good."""
    patch.setattr("driftlog.relay.reading.is_as_stored", lambda *_, **__: True)

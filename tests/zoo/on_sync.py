"""Mistakes in how a device converses: cursors, heads, acknowledgements, retries, and what it hands on."""

from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import pytest

from driftlog._core.version_vector import Head, VersionVector
from driftlog._protocol import device as device_module
from driftlog._protocol import live, outbox
from driftlog._protocol.messages import Refusal
from driftlog._protocol.outbox import Outbox, Verdict
from driftlog._store.chain import Chains
from driftlog._store.meta import Meta
from driftlog.space import survey
from driftlog.space.engine import Engine
from driftlog.space.exchange import Exchange
from driftlog.space.listeners import Listeners
from driftlog.space.replica import SpaceReplica
from tests.zoo.mistakes import Zoo

ZOO = Zoo()


def _never_ask_again(patch: pytest.MonkeyPatch) -> None:
    """Say that all is here that a relay has: the protocol would mend the loss by asking for what it lacks."""
    patch.setattr(SpaceReplica, "known_heads", lambda _, relay: relay)


# --- cursors and heads -------------------------------------------------------------------------------------------------


@ZOO.within(5)
def the_cursor_is_saved_before_the_events(patch: pytest.MonkeyPatch) -> None:
    """A sync engine that was killed between the two never booted again."""
    real = SpaceReplica.apply

    def apply(self: SpaceReplica, url: str, birthday: Any, envelopes: Any, cursor: Any) -> int:
        real(self, url, birthday, [], cursor)
        return real(self, url, birthday, envelopes, cursor)

    patch.setattr(SpaceReplica, "apply", apply)
    _never_ask_again(patch)


@ZOO.within(5)
def one_bad_envelope_drops_the_batch(patch: pytest.MonkeyPatch) -> None:
    """What came with it is passed over, and the cursor is past it."""
    real = Exchange.verify

    def verify(self: Exchange, envelopes: Any) -> Any:
        incoming = real(self, envelopes)
        if len(self.open_all(envelopes)) < len(envelopes):
            incoming.sealed = []
        return incoming

    patch.setattr(Exchange, "verify", verify)
    _never_ask_again(patch)


@ZOO.within(5)
def another_relay_is_read_on_from_the_cursor_of_the_one_before(patch: pytest.MonkeyPatch) -> None:
    """A server restored from a backup has other rows at the same positions."""
    real = live.welcomed

    def welcomed(greeting: Any, welcome: Any, *rest: Any) -> Any:
        return real(replace(greeting, birthday=welcome.birthday), welcome, *rest)

    patch.setattr(live, "welcomed", welcomed)


@ZOO.within(12)
def what_a_relay_said_it_has_is_never_compared(patch: pytest.MonkeyPatch) -> None:
    """What a relay withheld, or lost, stays missing, and nobody knows."""
    real = live._settled

    def settled(state: Any, connection: int, effects: Any) -> Any:
        return real(
            replace(state, check=live.Check.DONE) if state.check is live.Check.DUE else state, connection, effects
        )

    patch.setattr(live, "_settled", settled)


@ZOO.within(12)
def the_digest_of_a_version_vector_can_be_cancelled(patch: pytest.MonkeyPatch) -> None:
    """XOR over numbers: two devices with three envelopes each have the digest of none."""

    def digest(self: VersionVector) -> bytes:
        found = 0
        for _, head in self.flat():
            found ^= head.batch_seq
        return found.to_bytes(16, "big")

    patch.setattr(VersionVector, "digest", digest)


@ZOO.within(12)
def a_version_vector_is_compared_by_its_length(patch: pytest.MonkeyPatch) -> None:
    """Equal counts are taken for equal contents."""
    patch.setattr(
        VersionVector,
        "digest",
        lambda self: sum(head.batch_seq for _, head in self.flat()).to_bytes(16, "big"),
    )


# --- what is sent ------------------------------------------------------------------------------------------------------


@ZOO.within(5)
def a_device_gives_a_relay_its_own_envelopes_only(patch: pytest.MonkeyPatch) -> None:
    """What only a lost device had made is then gone with the relay that had it."""
    real = SpaceReplica.outgoing

    def outgoing(self: SpaceReplica, *arguments: Any) -> Any:
        return [one for one in real(self, *arguments) if one.device == self._engine.keys.device_key]

    patch.setattr(SpaceReplica, "outgoing", outgoing)


@ZOO.within(5)
def an_envelope_larger_than_a_page_is_never_sent(patch: pytest.MonkeyPatch) -> None:
    """A limit that is asked before the first: nothing moves any more, and nobody says why."""
    real = SpaceReplica.outgoing

    def outgoing(self: SpaceReplica, relay_has: Any, skipped: Any, bytes_max: int) -> Any:
        found = real(self, relay_has, skipped, bytes_max)
        return found if sum(len(one.raw) for one in found) <= bytes_max else []

    patch.setattr(SpaceReplica, "outgoing", outgoing)


@ZOO.within(20)
def a_local_append_wakes_nobody(patch: pytest.MonkeyPatch) -> None:
    """It goes out with the next connection, whenever that is."""
    patch.setattr(Listeners, "tell", lambda *_: None)


@ZOO.within(12)
def what_was_sent_counts_as_acknowledged(patch: pytest.MonkeyPatch) -> None:
    """Pending falls to none while the only copy is in a socket's buffer."""
    real = SpaceReplica.outgoing

    def outgoing(self: SpaceReplica, *arguments: Any) -> Any:
        found = real(self, *arguments)
        own = [one.head.batch_seq for one in found if one.device == self._engine.keys.device_key]
        if own:
            with self._engine.writing() as store:
                for url, mark in store.meta.relays().items():
                    store.meta.set_relay(url, mark._replace(confirmed_seq=max(mark.confirmed_seq, *own)))
        return found

    patch.setattr(SpaceReplica, "outgoing", outgoing)


@ZOO.within(5)
def events_count_as_pending_from_the_first_envelope_on(patch: pytest.MonkeyPatch) -> None:
    """A count off by one: a user is told for ever that something is not safe yet."""
    real = Meta.confirmed_seq
    patch.setattr(Meta, "confirmed_seq", lambda self: max(0, real(self) - 1))


# --- what is answered ----------------------------------------------------------------------------------------------------


@ZOO.within(25)
def a_relay_that_was_full_is_never_asked_again(patch: pytest.MonkeyPatch) -> None:
    """A write refused by quota was never sent again."""
    patch.setattr(outbox, "QUOTA_TICKS", 10**9)


@ZOO.within(25)
def over_quota_is_taken_for_the_last_word_on_a_device(patch: pytest.MonkeyPatch) -> None:
    """What can be mended by waiting is handled like what cannot."""
    real = outbox.refused

    def refused(box: Outbox, code: Refusal, text: str) -> tuple[Outbox, Verdict]:
        return real(box, Refusal.TOO_LARGE if code is Refusal.QUOTA else code, text)

    patch.setattr(outbox, "refused", refused)


@ZOO.within(5)
def a_device_gives_up_after_five_attempts(patch: pytest.MonkeyPatch) -> None:
    """Who was in the mountains for a weekend syncs no more until the app is started again."""
    real = device_module._rest

    def rest(session: Any, state: Any, shown: Any) -> Any:
        if isinstance(state, device_module.Waiting) and state.attempt >= 5:
            state = device_module.Stopped()
        return real(session, state, shown)

    patch.setattr(device_module, "_rest", rest)


@ZOO.within(12)
def the_pause_between_attempts_grows_without_bound(patch: pytest.MonkeyPatch) -> None:
    """Exponential back-off without a limit: a night offline costs days."""
    patch.setattr(device_module, "RETRY_ATTEMPT_MAX", 40)
    patch.setattr(device_module, "RETRY_DELAY_MS_MAX", 1 << 60)


@ZOO.within(5)
def an_upload_that_is_lost_is_never_repeated(patch: pytest.MonkeyPatch) -> None:
    """After a reconnection what was sent before counts as there."""
    real = SpaceReplica.outgoing
    sent_by: WeakKeyDictionary[SpaceReplica, set[Head]] = WeakKeyDictionary()

    def outgoing(self: SpaceReplica, *arguments: Any) -> Any:
        sent = sent_by.setdefault(self, set())
        found = [one for one in real(self, *arguments) if one.head not in sent]
        sent.update(one.head for one in found)
        return found

    patch.setattr(SpaceReplica, "outgoing", outgoing)


@ZOO.within(5)
def of_a_fork_one_branch_is_handed_on(patch: pytest.MonkeyPatch) -> None:
    """Version vectors break under equivocation: one number stands for two histories."""
    real = Chains.missing_from

    def missing_from(self: Chains, theirs: Any) -> Any:
        seen: set[tuple[bytes, int]] = set()
        for out in real(self, theirs):
            if (out.device, out.head.batch_seq) not in seen:
                seen.add((out.device, out.head.batch_seq))
                yield out

    patch.setattr(Chains, "missing_from", missing_from)


@ZOO.within(5)
def a_fork_is_not_told(patch: pytest.MonkeyPatch) -> None:
    """Two machines with one identity: both say that they are synced."""

    real = survey._devices
    patch.setattr(
        survey, "_devices", lambda *arguments: tuple(replace(one, is_forked=False) for one in real(*arguments))
    )


@ZOO.within(5)
def what_is_sealed_is_not_sealed_before_it_is_handed_on(patch: pytest.MonkeyPatch) -> None:
    """What was written offline waits for the next write."""
    patch.setattr(Engine, "seal", lambda _: 0)

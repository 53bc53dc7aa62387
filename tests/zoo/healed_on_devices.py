"""Mistakes of devices that no seed has shown: what heals them, or hides them, is said of each in `docs/simulation.md`."""

from typing import Any

import pytest

from driftlog._core.clock import Hlc
from driftlog._core.ids import DeviceKey
from driftlog._core.limits import CLOCK_MS_MAX
from driftlog._core.version_vector import Head, VersionVector
from driftlog._protocol import outbox
from driftlog._protocol.messages import Refusal
from driftlog._protocol.outbox import Loading, Outbox, Verdict
from driftlog._store import store as store_module
from driftlog._store.intake import Intake
from driftlog._store.log import Log
from driftlog._store.tail import Tail
from driftlog.space.exchange import Exchange
from tests.zoo.mistakes import Zoo

ZOO = Zoo()


@ZOO.within(40)
def the_counter_of_a_stamp_wraps_around(patch: pytest.MonkeyPatch) -> None:
    """Without a carry, the event after the 65,536th of a millisecond is sorted before them all."""

    def tick(last: int, now_ms: int) -> Hlc:
        wall = now_ms << 16 if now_ms <= CLOCK_MS_MAX else 0
        return Hlc(wall if wall > last else (last & ~0xFFFF) | ((last + 1) & 0xFFFF))

    patch.setattr(store_module, "tick", tick)


@ZOO.within(40)
def own_events_are_held_as_others_are(patch: pytest.MonkeyPatch) -> None:
    """Who sets a clock right that was ahead then misses its own work, when a backup or a relay brings it back."""
    real = Intake._sort_out

    def sort_out(self: Intake, *arguments: Any) -> None:
        own, self._device = self._device, b""  # type: ignore[assignment]  # nobody's
        try:
            real(self, *arguments)
        finally:
            self._device = own

    patch.setattr(Intake, "_sort_out", sort_out)


@ZOO.within(40)
def the_number_is_taken_again_after_a_restore(patch: pytest.MonkeyPatch) -> None:
    """A device set back to a backup goes on over what others have: this field's most repeated incident."""
    patch.setattr(Intake, "_follow_own", lambda *_: None)


@ZOO.within(40)
def what_is_pending_is_forgotten_when_own_history_comes_back(patch: pytest.MonkeyPatch) -> None:
    """ "Client reset loses unsynchronised changes" is the documented behaviour of some engines."""
    real = Intake._follow_own

    def follow(self: Intake, *arguments: Any) -> None:
        seal, self._seal_pending = self._seal_pending, lambda: 0
        try:
            real(self, *arguments)
        finally:
            self._seal_pending = seal
        branch = self._meta.own_branch()
        last = self._log.last_own_after(self._device, branch.last_hlc)
        self._meta.set_own_branch(branch._replace(last_hlc=last or branch.last_hlc))

    patch.setattr(Intake, "_follow_own", follow)


@ZOO.within(40)
def what_is_remembered_outlives_a_rollback(patch: pytest.MonkeyPatch) -> None:
    """The transaction is undone, the cache of it is not."""
    patch.setattr(Tail, "roll_back", lambda *_: None)


@ZOO.within(40)
def settled_does_not_wait_for_what_is_held(patch: pytest.MonkeyPatch) -> None:
    """What is known and not yet applied is overlooked."""
    patch.setattr(Log, "first_held_entry", lambda *_: None)


@ZOO.within(30)
def a_bad_envelope_ends_the_conversation(patch: pytest.MonkeyPatch) -> None:
    """It is read again after every reconnection: any member can shut all others out."""

    real = Exchange.verify

    def verify(self: Exchange, envelopes: Any) -> Any:
        for raw in envelopes:
            self.open(bytes(raw))
        return real(self, envelopes)

    patch.setattr(Exchange, "verify", verify)


@ZOO.within(40)
def heads_are_merged_by_the_lesser(patch: pytest.MonkeyPatch) -> None:
    """`min` where `max` was meant in a version vector."""

    def advanced(vector: VersionVector, heads: list[tuple[DeviceKey, Head]]) -> VersionVector:
        moved: dict[DeviceKey, tuple[Head, ...]] = {}
        for device, head in heads:
            known = moved.get(device) or vector.get(device)
            if not known or head.batch_seq < known[-1].batch_seq:
                moved[device] = (head,)
        return VersionVector({**vector, **moved})

    patch.setattr(outbox, "advanced", advanced)


@ZOO.within(20)
def a_change_while_the_outbox_is_loaded_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    """The flag is cleared after the work and not before it."""
    real = outbox.changed
    patch.setattr(outbox, "changed", lambda box: box if box.loading is Loading.ASKED else real(box))


@ZOO.within(40)
def what_a_relay_lacks_is_refused_and_gone_on_from(patch: pytest.MonkeyPatch) -> None:
    """A gap is logged, and the relay never hears what came before."""
    real = outbox.refused

    def refused(box: Outbox, code: Refusal, text: str) -> tuple[Outbox, Verdict]:
        moved, _ = real(box, code, text)
        return moved, Verdict.GO_ON

    patch.setattr(outbox, "refused", refused)

"""What an outbox makes of pages whose envelopes the relay cannot take."""

from driftlog._core.version_vector import VersionVector
from driftlog._protocol.device_values import Outbound
from driftlog._protocol.limits import UNANSWERED_TICKS_MAX
from driftlog._protocol.messages import Refusal
from driftlog._protocol.outbox import Loading, Outbox, changed, loaded, refused, stored, ticked
from tests.protocol.fakes import chain, head_of, keys_of

OWN, OTHER = keys_of(1), keys_of(2)
BRANCH = tuple(Outbound(OTHER.device_key, head_of(sealed), sealed.raw) for sealed in chain(OTHER, 2))
RELAY = VersionVector({OTHER.device_key: (BRANCH[-1].head,)})


def outbox(*, pause_ticks: int = 0) -> Outbox:
    return Outbox(OWN.device_key, RELAY, loading=Loading.ASKED, pause_ticks=pause_ticks)


def test_behind_a_page_of_a_branch_that_is_left_out_there_may_be_more() -> None:
    moved, fresh = loaded(outbox(), BRANCH, is_caught_up=True)

    assert fresh == ()
    assert moved.skipped == {OTHER.device_key}
    assert moved.loading is Loading.DUE
    assert not moved.is_idle


def test_before_everything_was_read_a_page_of_a_branch_decides_nothing() -> None:
    moved, fresh = loaded(outbox(), BRANCH, is_caught_up=False)

    assert fresh == ()
    assert moved.skipped == frozenset()
    assert moved.loading is Loading.UNCLEAR
    assert not moved.is_idle
    assert changed(moved).loading is Loading.DUE


def test_what_was_asked_for_before_a_refusal_is_not_sent_during_the_pause() -> None:
    envelopes = tuple(Outbound(OWN.device_key, head_of(sealed), sealed.raw) for sealed in chain(OWN, 3))

    paused, fresh = loaded(outbox(pause_ticks=1), envelopes, is_caught_up=True)
    probing, first = loaded(ticked(paused), envelopes, is_caught_up=True)

    assert (fresh, first) == ((), envelopes[:1])
    assert probing.is_probing


def test_each_answer_gives_the_rest_of_what_is_on_its_way_its_whole_time_again() -> None:
    envelopes = tuple(Outbound(OWN.device_key, head_of(sealed), sealed.raw) for sealed in chain(OWN, 3))
    sent, _ = loaded(outbox(), envelopes, is_caught_up=True)

    late = waited(sent, UNANSWERED_TICKS_MAX - 1)
    after_one, _ = stored(late, 1)
    after_two, _ = refused(waited(after_one, UNANSWERED_TICKS_MAX - 1), Refusal.QUOTA, "")

    assert not late.is_forgotten
    assert ticked(late).is_forgotten
    assert not waited(after_one, UNANSWERED_TICKS_MAX - 1).is_forgotten
    assert not ticked(after_two).is_forgotten


def test_where_nothing_is_on_its_way_no_answer_is_missed() -> None:
    assert not waited(outbox(), 2 * UNANSWERED_TICKS_MAX).is_forgotten


def waited(waiting: Outbox, ticks: int) -> Outbox:
    for _ in range(ticks):
        waiting = ticked(waiting)
    return waiting

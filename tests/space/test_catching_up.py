from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from threading import Event as Signal
from threading import Thread

import pytest

from driftlog import Space, VersionVector
from driftlog._core.batch import Batch, decode_batch
from driftlog._core.steps import STEP_GROWTH, Steps
from driftlog._core.wire import Malformed
from driftlog.space.turns import Turns
from tests.todo_app import TodoAdded, todo_app

app = todo_app()
STEP = 10
ENVELOPES = 12


@pytest.fixture(autouse=True)
def short_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("driftlog._core.steps.STEP_EVENTS", STEP)


@pytest.fixture
def other() -> Iterator[Space]:
    with app.open(":memory:") as space:
        for number in range(ENVELOPES):
            space.append(*[TodoAdded(id=f"{number}-{n}", text="x") for n in range(STEP // 2)])
            space.seal()
        yield space


@pytest.fixture
def joined(other: Space, tmp_path: Path) -> Iterator[Space]:
    with app.join(tmp_path / "joined.db", other.invite()) as space:
        yield space


def envelopes_of(space: Space) -> list[bytes]:
    return list(space.envelopes_for(VersionVector()))


def ids(space: Space) -> list[str]:
    return [row.id for row in space.query("SELECT id FROM todo ORDER BY id")]


def test_between_two_steps_of_a_long_catch_up_this_device_can_append(other: Space, joined: Space) -> None:
    seen: list[int] = []

    def append() -> None:
        seen.append(len(ids(joined)))
        if len(seen) == 2:
            joined.append(TodoAdded(id="own", text="x"))

    joined._engine.changed.add(append)
    receipt = joined.receive(envelopes_of(other))

    assert (receipt.envelopes, receipt.applied) == (ENVELOPES, ENVELOPES * STEP // 2)
    # The append itself is told of, too.
    assert seen == [10, 20, 21, 31, 41, 51, 61]
    assert ids(joined) == sorted([*ids(other), "own"])


def test_what_is_to_change_with_a_catch_up_does_so_with_its_last_step(other: Space, joined: Space) -> None:
    engine = joined._engine
    incoming = engine.exchange.verify(envelopes_of(other))
    placed: list[int] = []

    engine.take_in(incoming.sealed, lambda store: placed.append(store.log.count_placed()))

    assert placed == [ENVELOPES * STEP // 2]


def test_a_catch_up_that_broke_off_between_two_steps_is_done_again_without_doing_anything_twice(
    other: Space, joined: Space
) -> None:
    def break_off(*_: object) -> None:
        raise KeyboardInterrupt

    sent = envelopes_of(other)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("driftlog.space.engine.sleep", break_off)
        with pytest.raises(KeyboardInterrupt):
            joined.receive(sent)
    assert len(ids(joined)) == STEP

    receipt = joined.receive(envelopes_of(other))

    assert (receipt.envelopes, receipt.applied) == (ENVELOPES - 2, ENVELOPES * STEP // 2 - STEP)
    assert ids(joined) == ids(other)


def test_a_chain_is_taken_in_its_order_wherever_its_device_has_been_in_time(other: Space, joined: Space) -> None:
    for number in range(3):
        joined.append(TodoAdded(id=f"joined-{number}", text="x"))
        joined.seal()
    incoming = joined._engine.exchange.verify([*envelopes_of(joined), *reversed(envelopes_of(other))])
    steps = Steps(incoming.sealed)

    taken = [pair[0].header for _ in range(len(incoming.sealed)) for pair in steps.next()]

    assert not steps
    for device in {header.device for header in taken}:
        seqs = [header.batch_seq for header in taken if header.device == device]
        assert seqs == list(range(1, len(seqs) + 1))
    assert len(taken) == ENVELOPES + 3


def test_steps_that_replay_more_than_they_bring_grow_and_others_do_not(other: Space, joined: Space) -> None:
    steps = Steps(joined._engine.exchange.verify(envelopes_of(other)).sealed)
    assert len(steps.next()) == 2

    steps.note(applied=STEP, replayed=STEP + 1)
    assert len(steps.next()) == 2 * STEP_GROWTH

    steps.note(applied=STEP, replayed=STEP)
    assert len(steps.next()) == 2


def test_envelopes_are_opened_step_by_step_so_that_never_many_events_are_in_memory(other: Space, joined: Space) -> None:
    still_sealed = ENVELOPES

    def opening(unseal: Callable[[], Batch | None]) -> Batch | None:
        nonlocal still_sealed
        still_sealed -= 1
        return unseal()

    incoming = joined._engine.exchange.verify(envelopes_of(other))
    steps = Steps([(envelope, partial(opening, unseal)) for envelope, unseal in incoming.sealed])

    taken = 0
    while steps:
        taken += len(steps.next())
        assert still_sealed >= ENVELOPES - taken - 1
    assert (taken, still_sealed) == (ENVELOPES, 0)


def test_an_envelope_that_is_found_bad_when_its_turn_comes_is_refused_and_takes_nothing_with_it(
    other: Space, joined: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = envelopes_of(other)
    real = decode_batch

    def decode(plain: bytes) -> Batch:
        if b"\xa4" + b"10-0" in plain:
            raise Malformed("made for this test")
        return real(plain)

    monkeypatch.setattr("driftlog._crypto.seal.decode_batch", decode)
    receipt = joined.receive([b"nonsense", *sent, b"nonsense"])

    assert [refusal.index for refusal in receipt.refused] == [0, 11, 13]
    assert "made for this test" in receipt.refused[1].reason
    assert (receipt.envelopes, receipt.waiting) == (ENVELOPES - 1, 1)
    assert ids(joined) == sorted(f"{number}-{n}" for number in range(10) for n in range(STEP // 2))


# --- turns --------------------------------------------------------------------------------------------------------------


def test_a_long_work_takes_its_next_turn_after_whoever_waits() -> None:
    turns = Turns()
    order: list[str] = []
    stands_at_the_door = Signal()

    class Door:
        """Tells when somebody has come to the door."""

        def __init__(self) -> None:
            self._door = turns._door

        def __enter__(self) -> None:
            self._door.acquire()
            stands_at_the_door.set()

        def __exit__(self, *_: object) -> None:
            self._door.release()

    def wait() -> None:
        with turns:
            order.append("who waited")

    waiting = Thread(target=wait)
    with turns, turns:
        turns._door = Door()  # type: ignore[assignment]
        waiting.start()
        assert stands_at_the_door.wait(10)
    with turns.behind_others():
        order.append("the long work")
    waiting.join()

    assert order == ["who waited", "the long work"]

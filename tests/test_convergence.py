"""Whatever arrived when, every device's view is the fold of the sorted log: judged by the oracle, on real devices.

Each block is fifty full cases (`tests/cases.py`); a failure names its seed and how to run it again. The other tests here
are about one kind of thing each, so that a failure says more than that something is wrong.
"""

import random
from collections import Counter
from pathlib import Path

import pytest

from driftlog import Space, VersionVector
from driftlog.testing import exchange, fleet
from driftlog.testing.simulation.campaign import quiet
from tests.cases import EXPECTED, NOW_MS, CaseFailed, damaged, read_invite, run_case
from tests.machines import Clock, Machine
from tests.oracle import Witness
from tests.programs import VARIANTS, Did, Variant, app_of
from tests.random_programs import Taste
from tests.stranger import Stranger
from tests.vectors.formats import Author, Entry, write_batch, write_envelope
from tests.vectors.msgpack import pack

BLOCKS, BLOCK_CASES = 30, 50


@pytest.mark.slow
@pytest.mark.parametrize("block", range(BLOCKS))
def test_every_devices_view_is_the_fold_of_the_sorted_log(block: int, tmp_path: Path) -> None:
    counts: Counter[str] = Counter()
    for seed in range(block * BLOCK_CASES, (block + 1) * BLOCK_CASES):
        counts += run_case(seed, tmp_path)
    # Cases that stopped meeting something would go on passing.
    assert not [kind for kind in EXPECTED if not counts[kind]], counts


# --- any subset, order and repetition (P17) --------------------------------------------------------------------------


def strange_envelopes(rng: random.Random, space: Space) -> list[bytes]:
    """Let a member write by hand: forks, back-dated events, stamps from next year, payloads that fit nothing."""
    stranger = Stranger(rng, Taste(rng), *read_invite(space.invite()), NOW_MS)
    return [stranger.write()[0] for _ in range(rng.randint(2, 14))]


def machines(variant: Variant, count: int, folder: Path | None = None) -> list[Machine]:
    """Give devices whose clocks agree, in memory or in files."""
    paths = [folder / f"{at}.db" for at in range(count)] if folder else None
    clocks = [Clock(NOW_MS) for _ in range(count)]
    entropy = random.Random(1).randbytes
    spaces = fleet(app_of(variant), count, paths, clocks, entropy)
    invited = read_invite(spaces[0].invite())
    return [
        Machine(
            space, clock, Witness(space.device, *invited), variant, path=paths[at] if paths else None, entropy=entropy
        )
        for at, (space, clock) in enumerate(zip(spaces, clocks, strict=True))
    ]


@pytest.mark.slow
@pytest.mark.parametrize("block", range(10))
def test_any_order_grouping_and_repetition_of_envelopes_gives_the_state_of_their_set(block: int) -> None:
    for seed in range(block * 15, (block + 1) * 15):
        rng = random.Random(seed)
        devices = machines(rng.choice(VARIANTS), 4)
        envelopes = strange_envelopes(rng, devices[0].space)
        subset = rng.sample(envelopes, rng.randint(1, len(envelopes)))
        with quiet():
            for device in devices:
                give(rng, device, subset)
            verdict = devices[0].check()
            for device in devices:
                device.compare(verdict)
        assert len({device.space.digest() for device in devices}) == 1, seed
        assert len({device.space.version_vector() for device in devices}) == 1, seed
        close(devices)


def give(rng: random.Random, device: Machine, envelopes: list[bytes]) -> None:
    """Give all envelopes, some twice, in any order, in one delivery or several."""
    order = envelopes + rng.choices(envelopes, k=rng.randint(0, 3))
    rng.shuffle(order)
    while order:
        cut = rng.randint(1, len(order))
        device.receive(order[:cut])
        order = order[cut:]


def close(devices: list[Machine]) -> None:
    for device in devices:
        device.space.close()


def test_altered_and_truncated_envelopes_change_nothing_and_the_rest_is_taken_in() -> None:
    rng = random.Random(1)
    maker, taker, other = machines(VARIANTS[0], 3)
    for at in range(12):
        maker.append(Did(steps=[["counter_add", "c", at]]))
        maker.space.seal()
    envelopes = maker.envelopes_for(VersionVector())
    before = taker.space.digest(), taker.space.version_vector()
    for raw in envelopes:
        for _ in range(20):
            taker.receive([damaged(rng, raw), b"", b"\1", rng.randbytes(300)], frozenset(range(4)))
    assert (taker.space.digest(), taker.space.version_vector()) == before
    mixed = [part for raw in envelopes for part in (damaged(rng, raw), raw)]
    taker.receive(mixed, frozenset(range(0, len(mixed), 2)))
    other.receive(envelopes)
    taker.compare(other.check())
    close([maker, taker, other])


# --- forks (P13) -----------------------------------------------------------------------------------------------------


def copied_pair(folder: Path, *, is_sealed: bool) -> tuple[Machine, Machine, Machine]:
    """Give a device, a second one from a copy of its files, and a peer. What came before the copy is sealed or not."""
    original, peer = machines(VARIANTS[0], 2, folder)
    original.append(Did(steps=[["item_insert", "a", 5]]))
    if is_sealed:
        original.envelopes_for(VersionVector())
    return original, original.copied(folder / "copy.db"), peer


@pytest.mark.parametrize("is_sealed", [True, False], ids=["sealed before", "unsealed before"])
@pytest.mark.parametrize("ahead_ms", [0, 5, -5], ids=["same stamps", "copy ahead", "copy behind"])
@pytest.mark.parametrize("counts", [(1, 1), (1, 3), (3, 1), (0, 2)], ids=str)
def test_two_devices_from_one_copied_file_converge_and_neither_loses_an_event(
    is_sealed: bool, ahead_ms: int, counts: tuple[int, int], tmp_path: Path
) -> None:
    original, twin, _ = trio = copied_pair(tmp_path, is_sealed=is_sealed)
    twin.move_clock(NOW_MS + 10 + ahead_ms)
    original.move_clock(NOW_MS + 10)
    for machine, count in zip((original, twin), counts, strict=True):
        for at in range(count):
            machine.append(Did(steps=[["counter_add", f"{machine is twin}{at}", 1]]))
    meet(trio)
    assert all(len(machine.witness.facts) == 1 + sum(counts) for machine in trio)
    close(list(trio))


@pytest.mark.parametrize("is_sealed", [True, False], ids=["sealed before", "unsealed before"])
def test_what_a_copied_device_has_not_sealed_survives_the_arrival_of_the_other_branch(
    is_sealed: bool, tmp_path: Path
) -> None:
    original, twin, peer = trio = copied_pair(tmp_path, is_sealed=is_sealed)
    original.append(Did(steps=[["item_upsert", "a", 1]]))
    for at in range(3):
        twin.move_clock(NOW_MS + 1000 + at)
        twin.append(Did(steps=[["item_upsert", "a", 10]]))
        twin.space.seal()
    original.receive(twin.envelopes_for(original.space.version_vector()))
    meet(trio)
    assert [tuple(row) for row in peer.space.query("SELECT qty FROM item")] == [(36,)]
    close(list(trio))


def test_two_copies_that_append_the_same_at_the_same_time_have_made_one_event(tmp_path: Path) -> None:
    original, twin, peer = trio = copied_pair(tmp_path, is_sealed=True)
    is_same_device = twin.space.device == original.space.device
    for machine in (original, twin):
        machine.append(Did(steps=[["item_upsert", "a", 1]]))
    meet(trio)
    expected = 6 if is_same_device else 7
    assert [tuple(row) for row in peer.space.query("SELECT qty FROM item")] == [(expected,)]
    close(list(trio))


def meet(trio: tuple[Machine, Machine, Machine]) -> None:
    """Let everybody exchange with everybody, until nobody lacks anything, and compare all with one verdict."""
    for _ in range(2):
        for giver in trio:
            for taker in trio:
                if taker is not giver:
                    taker.receive(giver.envelopes_for(taker.space.version_vector()))
    assert len({machine.space.version_vector() for machine in trio}) == 1
    for machine in trio:
        assert machine.witness.facts == trio[0].witness.facts
        machine.check()
    assert len({machine.space.digest() for machine in trio}) == 1


def test_the_public_exchange_brings_two_devices_together() -> None:
    one, other = fleet(app_of(VARIANTS[0]), 2, clocks=[Clock(NOW_MS), Clock(NOW_MS)])
    one.append(Did(steps=[["item_insert", "a", 1]]))
    other.append(Did(steps=[["item_insert", "a", 2]]))
    exchange(one, other)
    assert one.digest() == other.digest()
    assert sorted(str(entry.state) for entry in one.log()) == ["applied", "rejected"]
    one.close()
    other.close()


# --- clocks that show anything (P14, P15) ---------------------------------------------------------------------------------

INSANE_MS = (0, -1, -(2**40), 2**46, 2**46 + 1, 2**47, 2**62, 2**63 - 1, 2**63, 2**70, -(2**63) + 1, -(2**63), -(2**70))


@pytest.mark.parametrize("before_ms", [NOW_MS, 2**46], ids=["after a sane time", "after the latest time"])
@pytest.mark.parametrize("now_ms", INSANE_MS)
def test_a_device_whose_clock_shows_anything_can_append_and_is_heard(now_ms: int, before_ms: int) -> None:
    clock, peers_clock = Clock(before_ms), Clock(NOW_MS)
    device, peer = fleet(app_of(VARIANTS[0]), 2, clocks=[clock, peers_clock])
    device.append(Did(steps=[["counter_add", "c", 1]]))
    clock.move(now_ms)
    device.append(Did(steps=[["wall", "d"]]), Did(steps=[["counter_add", "c", 1]]))
    peers_clock.move(2**46)
    exchange(device, peer)
    exchange(device, peer)
    assert [str(entry.state) for entry in peer.log()] == ["applied"] * 3
    assert peer.digest() == device.digest()
    device.close()
    peer.close()


@pytest.mark.parametrize("now_ms", [NOW_MS, 2**46, 2**47, 2**62])
def test_the_greatest_stamp_there_is_stops_nobody_from_appending_whatever_their_clock(now_ms: int) -> None:
    device, peer = fleet(app_of(VARIANTS[0]), 2, clocks=[Clock(now_ms), Clock(NOW_MS)])
    author = Author.of_seed(bytes(32), *read_invite(device.invite()))
    last = Entry(2**63 - 1, NOW_MS, Did.event_name, 1, pack({"steps": []}))
    raw, _ = write_envelope(author, 1, bytes(32), write_batch([last]))
    device.receive([raw])
    device.append(Did(steps=[["counter_add", "c", 1]]))
    exchange(device, peer)
    assert device.version_vector() == peer.version_vector()
    device.close()
    peer.close()


# --- the judge is judged ---------------------------------------------------------------------------------------------

SABOTAGE = {
    "an engine that rewinds nothing": ("driftlog._store.view.View.rewind", lambda _self, _undos: None),
    "an engine that holds nothing": ("driftlog._store.intake.is_held", lambda _hlc, _now: False),
    "an engine whose reject changes nothing": ("driftlog._store.judging.Rejection", ZeroDivisionError),
}


@pytest.mark.slow
@pytest.mark.parametrize(("target", "replacement"), SABOTAGE.values(), ids=SABOTAGE)
def test_the_oracle_finds_out(
    target: str, replacement: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(target, replacement)
    with pytest.raises(CaseFailed, match=r"again: python -m tests\.campaign --replay \d+"):
        run_cases(range(1, 40), tmp_path)


def run_cases(seeds: range, folder: Path) -> None:
    for seed in seeds:
        run_case(seed, folder)

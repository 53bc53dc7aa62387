"""Places in pieces are a sorted list, whatever is put in and taken out where."""

import random

import pytest

from driftlog._core import places
from driftlog._core.clock import Hlc, Timestamp
from driftlog._core.ids import DeviceKey, EventHash
from driftlog._core.places import Places


def at(hlc: int) -> Timestamp:
    return Timestamp(Hlc(hlc), DeviceKey(b"d"), EventHash(b"h"))


@pytest.mark.parametrize("piece_max", [2, 3, 8])
@pytest.mark.parametrize("seed", range(8))
def test_places_are_as_a_sorted_list(monkeypatch: pytest.MonkeyPatch, piece_max: int, seed: int) -> None:
    monkeypatch.setattr(places, "PIECE_MAX", piece_max)
    rng = random.Random(seed)
    kept: list[Timestamp] = []
    sorted_places = Places()

    for _ in range(400):
        if kept and rng.random() < (0.3 if len(kept) < 60 else 0.7):
            gone = rng.choice(kept)
            kept.remove(gone)
            sorted_places.remove(gone)
        else:
            new = at(max(kept)[0] + 2 if kept and rng.random() < 0.4 else rng.randrange(1_000) * 2)
            if new in kept:
                continue
            kept.append(new)
            sorted_places.add(new)
        for hlc in (0, rng.randrange(2_100), 1 << 60):
            later = sorted(one for one in kept if one > at(hlc))
            assert sorted_places.after(at(hlc)) == later
            assert sorted_places.count_after(at(hlc)) == len(later)


def test_no_piece_is_longer_than_its_limit_and_pieces_filled_in_order_are_full() -> None:
    sorted_places = Places()

    for hlc in range(10 * places.PIECE_MAX):
        sorted_places.add(at(hlc))

    assert [len(piece) for piece in sorted_places._pieces] == [places.PIECE_MAX] * 10

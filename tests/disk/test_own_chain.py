"""Rot in a device's own chain, alone or beside a copy that bears its key: what waits is kept, and sealed once it can be."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import pytest

from driftlog import Space, VersionVector
from driftlog._core.ids import DeviceKey
from driftlog.testing import exchange
from driftlog.testing.disk import write_image
from tests.disk.rot import APP, Base, edit, opened
from tests.disk.scenarios import added
from tests.disk.world import NAME
from tests.todo_app import Clock

OF_THE_COPY: Final = 3
"""Events that a copy of the device makes, each in an envelope of its own."""

pytestmark = pytest.mark.slow


@pytest.fixture
def here(base: Base, tmp_path: Path) -> Path:
    """Give the directory of the device's file."""
    return placed(base, tmp_path / "here")


@pytest.fixture
def elsewhere(base: Base, tmp_path: Path) -> list[bytes]:
    """Give the envelopes of a copy of the device that has gone on."""
    with opened(placed(base, tmp_path / "there")) as copied:
        for number in range(OF_THE_COPY):
            copied.append(added(f"there-{number}"))
            assert copied.seal() == 1
        return all_of(copied)


def placed(base: Base, folder: Path) -> Path:
    folder.mkdir()
    write_image(base.closed, folder)
    return folder


def all_of(space: Space) -> list[bytes]:
    return list(space.envelopes_for(VersionVector()))


def loses_an_envelope(folder: Path, number_of: Callable[[Sequence[int]], int]) -> None:
    """Let rot take an own envelope, by its number, and have the file repaired."""
    with opened(folder) as space:
        device = space.device
        numbers = [head.batch_seq for head in space.version_vector()[DeviceKey(device)]]
    edit(folder, "DELETE FROM driftlog_envelope WHERE device = ? AND batch_seq = ?", (device, number_of(numbers)))
    APP.repair(folder / NAME, clock=Clock())


def the_first(_: Sequence[int]) -> int:
    return 1


def ids(space: Space) -> set[str]:
    return {row.id for row in space.query("SELECT id FROM todo")}


def test_a_device_that_lost_an_own_envelope_seals_nothing_until_it_is_back(base: Base, here: Path) -> None:
    loses_an_envelope(here, the_first)

    with opened(here) as space, APP.join(":memory:", base.link, clock=Clock()) as other:
        space.append(added("meanwhile"))
        assert space.seal() == 0
        assert "some are not here" in space.verify()[0].problem
        other.receive(base.envelopes)
        exchange(space, other)

        assert space.verify() == []
        assert space.status().pending > 0
        assert other.query("SELECT 1 FROM todo WHERE id = 'meanwhile'")
        assert not any(each.is_forked for each in other.status().devices)


@pytest.mark.parametrize("is_whole_first", [True, False])
def test_what_was_made_while_an_own_envelope_was_missing_is_sealed_before_another_history_of_the_key_is_followed(
    base: Base, here: Path, tmp_path: Path, is_whole_first: bool
) -> None:
    with opened(placed(base, tmp_path / "there")) as copied:
        copied.seal()
        lost = all_of(copied)
        copied.append(added("there"))
        assert copied.seal() == 1
        # What was lost comes back in one batch with what another has made after it.
        both = all_of(copied)
    loses_an_envelope(here, the_first)

    with opened(here) as space, APP.join(":memory:", base.link, clock=Clock()) as other:
        space.append(added("here"))
        assert space.seal() == 0
        for envelopes in (lost, both) if is_whole_first else (both, lost):
            space.receive(envelopes)
        space.seal()
        exchange(space, other)

        assert {"here", "there"} <= ids(other)
        assert space.digest() == other.digest()
        assert space.verify() == []
        assert any(each.is_forked for each in other.status().devices)


def test_what_came_of_another_history_while_an_own_envelope_was_missing_is_not_sealed_again(
    base: Base, here: Path, elsewhere: list[bytes]
) -> None:
    with opened(here) as space:
        space.append(added("sealed"))
        space.seal()
        own = all_of(space)
    loses_an_envelope(here, max)

    with opened(here) as space, APP.join(":memory:", base.link, clock=Clock()) as other:
        # With stamps that the other history has given, too, because its clock stood at the same.
        space.append(added("before"))
        space.receive(elsewhere)
        space.append(added("after"))
        space.receive(own)
        space.seal()
        made = [raw for raw in all_of(space) if raw not in {*elsewhere, *own}]
        batches = [space._engine.exchange.open(raw)[1] for raw in made]
        assert sum(len(batch.records) for batch in batches) == 2
        exchange(space, other)

        assert {"sealed", "before", "after", "there-0", "there-1", "there-2"} <= ids(other)
        assert space.digest() == other.digest()
        assert space.verify() == other.verify() == []


def test_what_a_lost_own_envelope_held_is_kept_where_the_key_bears_a_longer_history_elsewhere(
    here: Path, elsewhere: list[bytes]
) -> None:
    with opened(here) as space:
        space.seal()
        before = len(list(space.log()))
        space.append(added("here"))
        assert space.seal() == 1
    loses_an_envelope(here, max)
    with opened(here) as space:
        space.receive(elsewhere)
        [finding, *_] = space.verify()
        assert "some are not here" in finding.problem

    APP.repair(here / NAME, clock=Clock())

    with opened(here) as space:
        assert len(list(space.log())) > before
        assert {"here", "there-2"} <= ids(space)
        assert space.seal() == 0


@pytest.mark.parametrize("byte", [7, 8, 39, 45, 47], ids=["number", "hash", "hash's end", "stamp", "stamp's end"])
def test_where_the_end_of_the_own_chain_is_noted_a_bit_may_rot_and_nothing_that_waits_to_be_sealed_is_lost(
    base: Base, here: Path, elsewhere: list[bytes], byte: int
) -> None:
    with opened(here) as space:
        space.seal()
        space.append(added("here"))
        with space._engine.reading() as store:
            noted = bytearray(store.meta.get("own_branch") or b"")
    noted[byte] ^= 1
    edit(here, "UPDATE driftlog_meta SET value = ? WHERE key = 'own_branch'", (bytes(noted),))
    with opened(here) as space:
        space.receive(elsewhere)
        assert "fact" in {finding.part for finding in space.verify()}

    APP.repair(here / NAME, clock=Clock())

    with opened(here) as space, APP.join(":memory:", base.link, clock=Clock()) as other:
        assert space.verify() == []
        assert space.seal() == 1
        other.receive(elsewhere)
        exchange(space, other)
        assert {"here", "there-2"} <= ids(other)
        assert space.digest() == other.digest()
        assert space.verify() == other.verify() == []

"""The end of a run: everybody must hold everything, show the same, and show what a fresh device makes of all envelopes.

The judge is a space that has seen nothing, and is given the union of all envelopes at once, so that nothing is late for it
and each event is applied once, in the total order. It works for any app, and shares the engine with what it judges: that
the engine's own fold is right is tested elsewhere, against models that share nothing with it.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from driftlog._core.clock import Timestamp, hlc_ms
from driftlog._core.ids import DeviceKey, short
from driftlog._core.version_vector import VersionVector
from driftlog._sqlite.rows import raw_rows
from driftlog._store.log import State
from driftlog.errors import Corrupt
from driftlog.space.space import Space
from driftlog.space.status import Status
from driftlog.testing.fleet import exchange
from driftlog.testing.simulation.ledger import Broken
from driftlog.testing.simulation.model import model_of
from driftlog.testing.simulation.world import World

LOOK_MS: Final = 500
CONVERGE_MS_MAX: Final = 15 * 60_000
"""A device that was refused for want of room or spoken to wrongly tries again within a minute; some do so in turn."""
HELD_SLACK_MS: Final = 1_000

_PLACES = "SELECT device, batch_seq, hash FROM driftlog_envelope"


class Line(NamedTuple):
    """An event, and what became of it."""

    timestamp: Timestamp
    state: State
    reason: str | None


def await_convergence(world: World) -> int:
    """Let time pass until nothing is left to be exchanged, and give how long that took, in milliseconds."""
    begin_ms = world.loop.now_ms
    while (left := difference(world)) is not None:
        if world.loop.now_ms - begin_ms > CONVERGE_MS_MAX:
            raise Broken(f"not converged {CONVERGE_MS_MAX // 60_000} minutes after everything was healed: {left}")
        world.run_until(world.loop.now_ms + LOOK_MS)
    return world.loop.now_ms - begin_ms


def difference(world: World) -> str | None:
    """Say what still has to be exchanged through the relays, None if nothing."""
    devices = world.here()
    for device in devices:
        if not device.is_up:
            return f"{device.name} does not run"
    vectors = [device.space.version_vector() for device in devices]
    names = [device.name for device in devices]
    for relay in world.relays:
        if relay.server is None:
            return f"{relay.name} does not run"
        try:
            vectors.append(relay.server.heads(world.space))
        except Corrupt:
            return f"the file of {relay.name} is damaged"
        names.append(relay.name)
    forked = forked_keys([device.space for device in devices])
    shown = [{key: heads for key, heads in vector.items() if key not in forked} for vector in vectors]
    for (name, one), (other_name, other) in pairwise(zip(names, shown, strict=True)):
        if one != other:
            return f"{name} and {other_name} do not hold the same"
    for relay in world.relays:
        assert relay.server is not None
        branches = [(key, head) for key, head in relay.server.heads(world.space).flat() if key in forked]
        for device in devices if branches else ():
            with device.space._engine.reading() as store:
                if relay.url in device.urls and not all(store.chains.holds(*branch) for branch in branches):
                    # It may be the only one that has it, of a device that is gone.
                    return f"{device.name} lacks a branch that {relay.name} holds"
    for device in devices:
        with world.loop.as_host(device.processes[0].host):
            if device.space.seal():
                return f"{device.name} had something to seal"
        # What `status()` shows as pending, without the rest of it: this is asked often.
        with device.space._engine.reading() as store:
            pending = store.pending()
        if pending and device.space.device not in forked:
            return f"{device.name} has {pending} pending events"
    return None


def forked_keys(spaces: Sequence[Space]) -> set[DeviceKey]:
    """Give the devices whose keys bear two histories: two envelopes for one place."""
    found: set[DeviceKey] = set()
    hash_by_place: dict[tuple[DeviceKey, int], bytes] = {}
    for space in spaces:
        with space._engine.reading() as store:
            for key, number, hashed in raw_rows(store.connection, _PLACES, ()):
                if hash_by_place.setdefault((key, number), hashed) != hashed:
                    found.add(key)
    return found


def judge(world: World) -> None:
    """Hold every device to what a fresh one makes of all envelopes, and the fleet to what it acknowledged."""
    spaces = [device.space for device in world.here()]
    _meet(spaces)
    envelopes = {raw: None for space in spaces for raw in space.envelopes_for(VersionVector())}
    last_ms = max((hlc_ms(at.hlc) for device in world.here() for at in device.events()), default=0)
    # The time of every stamp has come; what is held any longer is held past it.
    world.loop.now_ms = max(world.loop.now_ms, last_ms + HELD_SLACK_MS)
    newest = world.versions[-1]
    with newest.app.join(":memory:", world.link, clock=lambda: world.loop.now_ms) as fresh:
        receipt = fresh.receive(envelopes)
        if receipt.refused or (
            receipt.waiting and fresh.status().waiting_envelopes and not world.ledger.has_lost_files
        ):
            raise Broken(f"a fresh device does not take all envelopes: {receipt.refused[:3]}, {receipt.waiting} wait")
        expected = _lines(fresh)
        model = model_of(world.opened(envelopes))
        broken = model.broken({line.timestamp: line.state for line in expected}, fresh._engine.program.readings)
        if broken is not None:
            raise Broken(f"the log of a fresh device {broken}")
        unexplained = model.forked - world.ledger.may_fork
        if unexplained:
            names = ", ".join(short(key) for key in sorted(unexplained))
            raise Broken(f"{names} gave a number twice, though its file was never copied nor set back")
        for device in world.here():
            name, space = device.name, device.space
            space.receive([])  # a transaction in which what is no longer held takes its place
            status = space.status()
            _compare(name, space, status, fresh, expected, has_lost_files=world.ledger.has_lost_files)
            _check_told(name, status, model.forked)
            for process in device.processes:
                process.subscribers.end()
        world.ledger.check_settled({line.timestamp for line in expected})
    missing = world.ledger.missing_from({line.timestamp for line in expected})
    if missing:
        tellers = ", ".join(f"{at} of {world.ledger.acknowledged[at]}" for at in sorted(missing)[:5])
        raise Broken(f"{len(missing)} acknowledged events are gone: {tellers}")


def _meet(spaces: list[Space]) -> None:
    """Let devices whose keys were copied meet the others: a relay takes one of two branches only."""
    if forked_keys(spaces):
        while any(one.version_vector() != other.version_vector() for one, other in pairwise(spaces)):
            for one, other in pairwise(spaces):
                exchange(one, other)


def _compare(
    name: str, space: Space, status: Status, fresh: Space, expected: list[Line], *, has_lost_files: bool
) -> None:
    found = _lines(space)
    if status.held:
        raise Broken(f"{name} holds {status.held} events whose time has come")
    if status.waiting_envelopes and not has_lost_files:
        raise Broken(f"{name} waits for what precedes {status.waiting_envelopes} envelopes")
    if found != expected:
        differing = [f"{line}" for line in set(found) ^ set(expected)][:4]
        raise Broken(f"the log of {name} is not the one of a fresh device: {sorted(differing)}")
    if space.digest() != fresh.digest():
        raise Broken(f"the view of {name} is not the one of a fresh device")


def _check_told(name: str, status: Status, forked: set[DeviceKey]) -> None:
    told = {device.device for device in status.devices if device.is_forked}
    if told != forked:
        raise Broken(f"{name} calls {len(told)} keys forked, and it is {len(forked)}")
    if status.differing:
        raise Broken(f"{name} says that it differs from others: {status.differing}")


def _lines(space: Space) -> list[Line]:
    return [Line(entry.timestamp, entry.state, entry.reason) for entry in space.log()]

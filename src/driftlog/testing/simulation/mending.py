"""What a person does with a device's file that the disk has damaged: verify, repair, and join again where neither helps."""

from contextlib import closing
from typing import TYPE_CHECKING

from driftlog._core.envelope import parse_envelope
from driftlog._core.version_vector import VersionVector
from driftlog.errors import DriftlogError
from driftlog.testing.simulation.ledger import Broken

if TYPE_CHECKING:
    from driftlog._core.clock import Timestamp
    from driftlog.testing.simulation.device import Device

_STUCK = "some are not here"
"""Said by `verify` of own envelopes that are gone: the device seals nothing until they have come back."""


def mend(device: "Device", before: "set[Timestamp]") -> None:
    """Mend the file of a device, which does not run and held `before`, or let the device be lost and a new one join."""
    world = device.world
    world.ledger.may_fork.add(device.key)
    if not _is_mended(device):
        world.note(f"{device.name} is beyond repair")
        world.ledger.losing(device, set(), before)
        device.lose()
        world.later(1_000, world.add_device)
        return
    world.disk.put(device.name, world.disk.take(device.name))
    world.ledger.losing(device, device.events(), before)


def replace_if_stuck(device: "Device") -> None:
    """Let a device join as a new one whose own envelopes are gone everywhere: it would seal nothing any more."""
    if not device.is_up or not device.is_mended:
        return
    world = device.world
    if not any(_STUCK in finding.problem for finding in device.space.verify()):
        return
    with device.space._engine.reading() as store:
        head = store.meta.own_branch().head
    raws = [raw for relay in world.relays for raw in relay.envelopes()]
    others = [other for other in world.up() if other is not device]
    for other in others:
        raws += other.space.envelopes_for(VersionVector())
    if head is not None and head.hash not in {parse_envelope(raw).hash for raw in raws}:
        world.note(f"{device.name} can seal nothing any more")
        if others:
            # It may be the only one that holds what another is waiting for.
            others[0].space.receive(device.space.envelopes_for(VersionVector()))
        world.ledger.losing(device, set())
        device.lose()
        world.add_device()


def _is_mended(device: "Device") -> bool:
    """Open and verify; repair what is found, and verify again. Tells whether the device can go on with its file."""
    try:
        problems = _verified(device)
    except DriftlogError as error:
        device.world.note(f"{device.name} refuses its file: {device.without_path(str(error))}")
        problems = ["it cannot be opened"]
    if problems is not None and problems:
        try:
            device.app.repair(device.path, clock=device.clock)
        except DriftlogError as error:
            device.world.note(f"{device.name} cannot be repaired: {device.without_path(str(error))}")
            return False
        device.is_mended = True
        problems = _verified(device)
        left = [problem for problem in problems or [] if _STUCK not in problem]
        if left:
            raise Broken(f"{device.name} was repaired, and still: {left[:3]}")
    return problems is not None


def _verified(device: "Device") -> list[str] | None:
    """Give what is wrong with a file; None if it holds nothing of the space any more."""
    space = device.app.open(device.path, clock=device.clock, entropy=device.entropy)
    with closing(space):
        if space.space_id != device.world.space:
            return None
        problems = [finding.problem for finding in space.verify()]
    if problems:
        device.world.note(f"{device.name} is damaged: {len(problems)} findings, as {problems[0]}")
    return problems

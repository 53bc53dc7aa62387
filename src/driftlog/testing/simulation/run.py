"""One run of one seed: faults and work as planned, then everything is healed, and the verdict."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from traceback import extract_tb
from typing import Final

from driftlog.testing.simulation.faults import FAULTS, heal
from driftlog.testing.simulation.files import Disk
from driftlog.testing.simulation.plan import WORK, Plan
from driftlog.testing.simulation.signatures import verified_once
from driftlog.testing.simulation.verdict import await_convergence, judge
from driftlog.testing.simulation.versions import Version
from driftlog.testing.simulation.world import World

LOOK_EVERY: Final = 12
"""Moments, after which one device is asked what it calls settled, and each relay held to what it acknowledged."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to."""

    seed: int
    failure: str | None
    """What was broken, None if nothing."""
    trace: str
    """A hash of everything that happened: equal for equal seeds and plans."""
    lines: tuple[str, ...]
    counts: Counter[str]
    """How often each kind of fault fired."""
    converged_ms: int
    """Virtual time from healing to convergence."""
    events: int


def run(plan: Plan, versions: Sequence[Version]) -> Outcome:
    """Run a plan."""
    disk = Disk()
    try:
        return _run(plan, versions, disk)
    finally:
        disk.close()


def _run(plan: Plan, versions: Sequence[Version], disk: Disk) -> Outcome:
    world: World | None = None
    failure: str | None = None
    converged_ms = 0
    world = World(plan.seed, versions, disk, devices=plan.devices, relays=plan.relays, has_drives=plan.has_drives)
    with world.loop, verified_once():
        try:
            _act(world, plan)
            heal(world)
            converged_ms = await_convergence(world)
            judge(world)
        except Exception as error:  # noqa: BLE001 - whatever breaks is what a run looks for
            failure = _described(error)
            world.note(failure)
        finally:
            world.close()
    return Outcome(
        plan.seed,
        failure,
        world.trace.digest(),
        tuple(world.trace.lines),
        world.counts,
        converged_ms,
        len(world.ledger.acknowledged),
    )


def _described(error: Exception) -> str:
    """Say what was raised; without words of its own, such as a bare `assert`, by the line that raised it."""
    name = type(error).__name__
    if str(error):
        return f"{name}: {error}"
    last = extract_tb(error.__traceback__)[-1]
    return f"{name} at `{last.line}`, {Path(last.filename).name}:{last.lineno}"


def _act(world: World, plan: Plan) -> None:
    for number, moment in enumerate(plan.moments):
        world.run_until(world.loop.now_ms + moment.after_ms)
        rng = Random(moment.seed)  # noqa: S311 - to be repeated is what it is for
        if moment.name == WORK:
            up = world.up()
            if up:
                rng.choice(up).work(rng)
        else:
            FAULTS[moment.name].inject(world, rng)
        world.check()
        if number % LOOK_EVERY == 0:
            _look(world, number // LOOK_EVERY)


def _look(world: World, number: int) -> None:
    up = world.up()
    if up:
        world.ledger.note_settled(up[number % len(up)])
    for device in up:
        for process in device.processes:
            process.subscribers.check()
    for relay in world.relays:
        if relay.server is not None:
            world.ledger.check_confirmed(relay, relay.server.places())

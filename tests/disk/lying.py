"""A disk whose syncs only say that they were done, from some moment on: what is then refused, found or healed.

Nothing can be promised of what such a disk held. What is: nothing diverges in silence.
"""

import random
from collections import Counter
from pathlib import Path

from driftlog import DriftlogError
from driftlog.testing import exchange
from driftlog.testing.disk import Image, Journal, cuts, power_cut, write_image
from tests.disk.judging import APP, Acknowledged
from tests.disk.world import NAME
from tests.todo_app import Clock

NOW_MS = Clock().now_ms + 4 * 86_400_000


def judge_lie(journal: Journal, seed: int, directory: Path) -> Counter[str]:
    """Let the syncs lie from a moment of chance on, cut the power later, and say what became of it."""
    rng = random.Random(seed)
    begin = rng.randrange(len(journal))
    end = rng.randrange(begin, len(journal))
    for cut in cuts(journal, lies=lambda _, number: number > begin):
        if cut.number == end:
            return _judge(cut.image(power_cut(seed)), Acknowledged.of(cut.marks), directory)
    raise AssertionError("there is a cut at every number")


def _judge(image: Image, known: Acknowledged, directory: Path) -> Counter[str]:
    write_image(image, directory)
    path = directory / NAME
    outcome: Counter[str] = Counter(lies=1)
    try:
        space = APP.open(path, clock=Clock(NOW_MS))
    except DriftlogError:
        outcome["refused at open"] += 1
        return outcome
    with space:
        if known.founded is not None and space.device != known.founded.device:
            # All of it was lost, and the path is another space's now: nothing of the old one can get into it.
            outcome["as if it had never been"] += 1
            return outcome
        findings = space.verify()
    if findings:
        outcome["found by verify"] += 1
        try:
            APP.repair(path, clock=Clock(NOW_MS))
        except DriftlogError:
            outcome["beyond repair"] += 1
            return outcome
    link = known.founded.link if known.founded is not None else None
    with APP.open(path, clock=Clock(NOW_MS)) as space:
        there = {entry.timestamp for entry in space.log()}
        outcome["lost a suffix"] += not there.issuperset(known.appended) and not findings
        with APP.join(":memory:", link or space.invite(), clock=Clock(NOW_MS)) as other:
            other.receive(known.given)
            # What others have of this device comes in first, as syncing does it.
            space.receive(other.envelopes_for(space.version_vector()))
            exchange(space, other)
            if any("some are not here" in finding.problem for finding in space.verify()):
                # Own envelopes that nobody else had: the device seals nothing any more, and says why.
                outcome["keeps its own events to itself, and says so"] += 1
                return outcome
            assert space.digest() == other.digest(), "they diverge"
            assert space.verify() == [], f"{space.verify()}"
            forked = any(device.is_forked for device in space.status().devices)
            assert forked == any(device.is_forked for device in other.status().devices), "a fork that one cannot see"
            outcome["a fork, seen by both"] += forked
    return outcome

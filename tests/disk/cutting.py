"""From a recorded scenario to verdicts on its cuts: one after every operation, and more by chance.

Many cuts leave the same files. Each is judged once, with all that had been acknowledged by the last cut that leaves it:
whoever sees these files cannot tell which one it was.
"""

import hashlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from driftlog.testing.disk import KEPT, SYNCED, Cut, Image, Journal, Marked, cuts, power_cut
from driftlog.testing.disk.replaying import Choice

Judge = Callable[[Image, tuple[object, ...], Path], None]


@dataclass
class Result:
    """What became of the cuts of a scenario."""

    cuts: int = 0
    images: int = 0
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """Which images to take: at each operation or only at some numbers, and with how many draws of chance."""

    seeds_by_number: dict[int, list[int]]
    every_from: int | None = None

    def choices(self, cut: Cut) -> Iterator[tuple[str, Choice]]:
        """Give the choices to make at a cut, each with a name by which it can be had again."""
        if self.every_from is not None:
            if cut.number < self.every_from:
                return
            yield "kept", KEPT
            yield "synced", SYNCED
        for seed in self.seeds_by_number.get(cut.number, ()):
            yield str(seed), power_cut(seed)


def every_cut(journal: Journal, start: int = 0, first: int = 0) -> Plan:
    """All kept, only what was synced, and one draw, after every operation from the number `first` on."""
    return Plan({number: [start + number] for number in range(len(journal) + 1)}, first)


def random_cuts(journal: Journal, count: int, start: int) -> Plan:
    """So many draws, wherever."""
    rng = random.Random(start)
    plan: dict[int, list[int]] = {}
    for seed in range(start, start + count):
        plan.setdefault(rng.randrange(len(journal) + 1), []).append(seed)
    return Plan(plan)


def cut_all(
    name: str, journal: Journal, plan: Plan, judge: Judge, directory: Path, *, ends_at_first: bool = False
) -> Result:
    """Judge every cut of a plan, or those up to the first that fails."""
    result = Result()
    last: dict[bytes, tuple[int, str]] = {}
    for cut in cuts(journal):
        for choice_name, choice in plan.choices(cut):
            last[fingerprint(cut.image(choice))] = (cut.number, choice_name)
            result.cuts += not isinstance(cut.operation, Marked)
    wanted = set(last.values())
    for cut in cuts(journal):
        for choice_name, choice in plan.choices(cut):
            if (cut.number, choice_name) not in wanted:
                continue
            result.images += 1
            try:
                judge(cut.image(choice), cut.marks, directory)
            except Exception as error:  # noqa: BLE001 - all verdicts are wanted, not the first
                words = f"{type(error).__name__}: {error}".splitlines()[0]
                result.failures.append(f"{name} cut {cut.number} {choice_name} (after {cut.operation!r:.80}): {words}")
                if ends_at_first:
                    return result
    return result


def fingerprint(image: Image) -> bytes:
    """Tell images apart."""
    hasher = hashlib.blake2b(digest_size=16)
    for name in sorted(image):
        hasher.update(f"{name} {len(image[name])} ".encode())
        hasher.update(image[name])
    return hasher.digest()

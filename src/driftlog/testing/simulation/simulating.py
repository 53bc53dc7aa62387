"""Many seeds, one after the other, and what is said of the first that fails."""

import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from driftlog.space.app import App
from driftlog.testing.simulation.plan import FAULTS_MAX, FAULTS_MIN, WORK, Plan, draw
from driftlog.testing.simulation.reduction import reduce
from driftlog.testing.simulation.run import Outcome, run
from driftlog.testing.simulation.versions import Version, Workload

USUAL_FAULTS = (FAULTS_MIN, FAULTS_MAX)


class SimulationFailed(AssertionError):
    """A seed broke a promise; the text says which, how to run it again, and the fewest faults that it takes. Or no seed had
    an event."""


@dataclass
class Simulated:
    """What a simulation came to."""

    seeds: int = 0
    faults: Counter[str] = field(default_factory=Counter[str])
    """How often each kind of fault fired."""
    events: int = 0
    """Events that were appended by users."""
    converged_ms_max: int = 0
    """The longest that a fleet took from the end of all faults to agreement, in virtual milliseconds."""

    def add(self, outcome: Outcome) -> None:
        """Count a run."""
        self.seeds += 1
        self.faults += outcome.counts
        self.events += outcome.events
        self.converged_ms_max = max(self.converged_ms_max, outcome.converged_ms)


def simulate(
    app: App,
    workload: Workload,
    *,
    seeds: Iterable[int] = range(100),
    older: Sequence[tuple[App, Workload]] = (),
    faults: tuple[int, int] = USUAL_FAULTS,
) -> Simulated:
    """Run fleets of devices with your app through faults of all kinds, and see whether they agree in the end.

    For each seed, two to seven devices and one or two relays live some virtual minutes in this process: real spaces, real
    cryptography, the shipped sync and the shipped relay, on simulated clocks and a simulated network. `workload(space,
    random)` is called on one device after another, and does what a user does. Meanwhile between `faults[0]` and `faults[1]`
    faults happen: messages are lost and altered, devices die, are copied, set back and lost, clocks lie, relays forget
    (`docs/simulation.md` has the list). Then all is healed, and all devices must hold the same log, every acknowledged event
    in it, and show the same tables, those of a fresh device. `older` gives older versions of the app, oldest first, that
    some devices run meanwhile.

    Raises `SimulationFailed` for the first seed that breaks a promise, or lets `workload` raise anything but an answer
    that users get (a `DriftlogError` other than `InvalidEvent` and `ForbiddenSQL`), with a command that runs it again and
    the fewest faults that it takes; and if `workload` appended nothing in any of them. A seed costs some 0.3 s, and 0.1 s
    with few faults; nothing is left on disk. The app must be deterministic, as `check_determinism` tests.
    """
    versions = [*(Version(*one) for one in older), Version(app, workload)]
    simulated = Simulated()
    for seed in seeds:
        plan = draw(seed, has_older=bool(older), faults=faults)
        outcome = run(plan, versions)
        if outcome.failure is not None:
            raise SimulationFailed(str(explain(plan, outcome, versions, _command(seed, versions, faults))))
        simulated.add(outcome)
    if simulated.events == 0:
        raise SimulationFailed(nothing_shown(getattr(workload, "__qualname__", repr(workload))))
    return simulated


def nothing_shown(work: str) -> str:
    """Say that a workload, by its name, has appended nothing in any seed.

    Devices without events always agree. Refused ones are answers that users get, so a run lets them pass.
    """
    return f"{work} appended no event, so nothing was shown; is each of its appends refused?"


@dataclass(frozen=True, slots=True)
class Explanation:
    """What went wrong in a run, and the fewest moments of it that still go wrong."""

    seed: int
    failure: str
    command: str
    """Runs the seed again."""
    faults: int
    """How many of them it takes."""
    faults_in_all: int
    moments: tuple[str, ...]
    """The faults and work that it takes, in order."""
    reduced_failure: str
    """What goes wrong with those: mostly the same."""
    lines: tuple[str, ...]
    """The end of what happens then."""

    def __str__(self) -> str:
        """Say it to a person."""
        return "\n".join(
            [
                f"seed {self.seed}: {self.failure}",
                f"run it again: {self.command}",
                f"it fails with {self.faults} of its {self.faults_in_all} faults"
                + (f", as: {self.reduced_failure}" if self.reduced_failure != self.failure else ""),
                *(f"  {moment}" for moment in self.moments),
                "what then happened:",
                *(f"  {line}" for line in self.lines),
            ]
        )


def explain(plan: Plan, outcome: Outcome, versions: Sequence[Version], command: str) -> Explanation:
    """Find out which faults it takes for a run to fail."""
    reduced = reduce(plan, lambda shorter: run(shorter, versions).failure is not None)
    last = run(reduced, versions)
    return Explanation(
        plan.seed,
        str(outcome.failure),
        command,
        len(reduced.faults()),
        len(plan.faults()),
        tuple(f"{moment.after_ms} ms later: {moment.name}" for moment in reduced.moments),
        str(last.failure),
        last.lines[-LINES_SHOWN_MAX:],
    )


LINES_SHOWN_MAX = 60


def _command(seed: int, versions: Sequence[Version], faults: tuple[int, int]) -> str:
    """Give a command that runs a seed again, if app and workload can be named; else the call."""
    named = [_names(version) for version in versions]
    known = [names for names in named if names is not None]
    return command_for(known, faults, seed) if len(known) == len(named) else f"simulate(..., seeds=[{seed}])"


def command_for(named: Sequence[tuple[str, str]], faults: tuple[int, int], seed: int) -> str:
    """Give a command that runs a seed again for apps and workloads by name, oldest first; none are the example's."""
    parts = [f"python -m driftlog.testing.simulation --seed {seed}"]
    options = [*["--older"] * (len(named) - 1), "--app"] if named else []
    for option, names in zip(options, named, strict=True):
        parts.append(f"{option} {shlex.join(names)}")
    if faults != USUAL_FAULTS:
        parts.append(f"--faults {faults[0]} {faults[1]}")
    return " ".join(parts)


def _names(version: Version) -> tuple[str, str] | None:
    where = getattr(version.workload, "__module__", "")
    module = sys.modules.get(where)
    names = [name for name, value in vars(module).items() if value is version.app] if module is not None else []
    function = getattr(version.workload, "__qualname__", "<")
    if not names or "<" in function or where == "__main__":
        return None
    return f"{where}:{names[0]}", f"{where}:{function}"


def faults_of(plan: Plan) -> list[str]:
    """Name the faults of a plan, in order."""
    return [moment.name for moment in plan.moments if moment.name != WORK]

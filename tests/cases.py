"""A full case: several real devices, a hostile member, a network that loses, repeats and mangles, and clocks of all sorts.

Everything is drawn from one seed. A case ends when everybody has been given everything, and then all devices must show
what the oracle says: `python -m tests.campaign --replay SEED` runs one again and finds the shortest prefix that fails.
"""

import random
from base64 import urlsafe_b64decode
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from driftlog import VersionVector, Way
from driftlog._core import merge
from driftlog._store import tail
from driftlog.testing import fleet
from driftlog.testing.simulation.campaign import quiet
from tests.machines import Clock, Machine
from tests.oracle import CONTROLS, DAY_MS, Verdict, Witness
from tests.past import compare_past
from tests.programs import VARIANTS, app_of
from tests.random_programs import Taste
from tests.stranger import Stranger
from tests.vectors import formats

NOW_MS = 1_750_000_000_000
HOUR_MS = 60 * 60 * 1000
CLOCK_STEPS_MS = (
    1, 1000, HOUR_MS, 20 * HOUR_MS, 25 * HOUR_MS, 4 * DAY_MS, -1, -HOUR_MS, -2 * DAY_MS, -3650 * DAY_MS
)  # fmt: skip
ACTIONS_MAX = 60
GENESIS_BYTES = 114

EXPECTED = (
    "late", "flipped", "cascades", "void", "held", "restarts", "rejected", "unknown", "altered", "waiting", "copies",
    "rebuilds", "refused appends", "appends", "forks", "subsets", "undos", "redos", "abandoned", *map(str, Way),
)  # fmt: skip
"""What must occur in every block of cases, or the cases have gone stale."""


class CaseFailed(AssertionError):
    """A case whose devices do not show what they must. Its message says how to see it again."""


class Invited(NamedTuple):
    """What an invite link says, read by this module's own means."""

    space: bytes
    epoch_key: bytes


def read_invite(link: str) -> Invited:
    """Read the space's id and epoch key from an invite."""
    text = link.partition("#")[2]
    data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    genesis, epoch_key = data[1 : 1 + GENESIS_BYTES], data[1 + GENESIS_BYTES : 33 + GENESIS_BYTES]
    return Invited(formats.blake("driftlog space 1", genesis), epoch_key)


def run_case(seed: int, folder: Path, *, actions: int | None = None) -> Counter[str]:
    """Run a case, its files in `folder`, and count what it met. `actions` cuts it short before its end."""
    case = Case(seed, folder)
    try:
        with quiet(), limits_of(seed):
            case.run(actions)
    except Exception as error:
        trace = "\n  ".join(case.trace)
        raise CaseFailed(
            f"case {seed} after\n  {trace}\n{type(error).__name__}: {error}\n"
            f"again: python -m tests.campaign --replay {seed}"
        ) from error
    finally:
        case.close()
    return case.counts()


@contextmanager
def limits_of(seed: int) -> Iterator[None]:
    """Draw the limits that choose between the ways of a rebase: a case's log is too short to reach the real ones."""
    rng = random.Random(f"limits {seed}")
    drawn: tuple[tuple[Any, str, object], ...] = (
        (merge, "UNDONE_ONE_BY_ONE_MIN", rng.choice((0, 2, 16, 1000))),
        (merge, "REWIND_COST", rng.choice((1000, 1, 0))),
        (tail, "TAIL_EVENTS_MAX", rng.choice((5, 200_000, 200_000))),
        (tail, "WAITING_MAX", rng.choice((0, 2, 4_000))),
    )
    real = [getattr(module, name) for module, name, _ in drawn]
    try:
        for module, name, limit in drawn:
            setattr(module, name, limit)
        yield
    finally:
        for (module, name, _), limit in zip(drawn, real, strict=True):
            setattr(module, name, limit)


class Case:
    """The devices of one case, and what goes on between them."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.trace: list[str] = []
        self._rng = rng = random.Random(seed)
        self._variant = rng.choice(VARIANTS)
        self._taste = Taste(rng)
        # Files cost ten times as much as memory, so one case in ten has them; and each block of cases has some.
        self._is_filed = seed % 10 == 0
        self._folder = folder
        self._is_stranger_near = rng.random() < 0.5
        self._counts: Counter[str] = Counter()
        self._air: dict[bytes, bytes] = {}
        """Every envelope that ever left a device, by its hash: what a network may still deliver."""
        count = rng.randint(2, 5) + 1
        paths = [folder / f"case-{seed}-{at}.db" for at in range(count)] if self._is_filed else None
        clocks = [Clock(NOW_MS + self._offset_ms()) for _ in range(count)]
        entropy = random.Random(seed).randbytes
        spaces = fleet(app_of(self._variant), count, paths, clocks, entropy)
        invited = read_invite(spaces[0].invite())
        self._machines = [
            Machine(
                space,
                clock,
                Witness(space.device, *invited),
                self._variant,
                path=paths[at] if paths else None,
                entropy=entropy,
            )
            for at, (space, clock) in enumerate(zip(spaces, clocks, strict=True))
        ]
        # It makes nothing itself, and shows what any set of envelopes amounts to.
        self._observer = self._machines.pop()
        self._stranger = Stranger(rng, self._taste, *invited, NOW_MS)

    def run(self, actions: int | None) -> None:
        """Do what the seed says, then bring everybody together."""
        rng = self._rng
        count = rng.randint(8, ACTIONS_MAX)
        if rng.random() < 0.6:
            self._begin()
        for _ in range(count if actions is None else min(count, actions)):
            self._act()
        self._observe()
        self._gather()
        self._agree()

    def close(self) -> None:
        """Let go of all files."""
        for machine in self._everybody():
            machine.space.close()
            if machine.path is not None:
                for file in machine.path.parent.glob(f"{machine.path.name}*"):
                    file.unlink()

    def counts(self) -> Counter[str]:
        """Count what the case met."""
        return sum((machine.counts for machine in self._everybody()), self._counts)

    def _everybody(self) -> list[Machine]:
        return [*self._machines, self._observer]

    def _offset_ms(self) -> int:
        rng = self._rng
        return rng.choice((0, 0, 0, rng.randint(-5000, 5000), -3650 * DAY_MS, HOUR_MS, 30 * HOUR_MS, 3 * DAY_MS))

    # --- what can happen ----------------------------------------------------------------------------------------------

    def _act(self) -> None:
        rng = self._rng
        at = rng.randrange(len(self._machines))
        machine = self._machines[at]
        roll = rng.random()
        if roll < 0.40:
            self._append(at, machine)
        elif roll < 0.45:
            self._retract(at, machine)
        elif roll < 0.63:
            self._send(at, machine)
        elif roll < 0.71:
            self._deliver(at, machine)
        elif roll < 0.78:
            self._set_clock(at, machine)
        elif roll < 0.80:
            self.trace.append(f"{at} rebuilds")
            machine.rebuild()
        elif roll < 0.89 and self._is_stranger_near:
            self._write_as_stranger()
        elif roll < 0.97 and self._is_filed:
            self._restart(at, machine)
        else:
            self.trace.append(f"{at} is checked")
            machine.check()

    def _begin(self) -> None:
        """Give everybody the same few rows, so that what they do apart can meet in them."""
        for _ in range(3):
            event = self._taste.beginning()
            self.trace.append(f"0 appends {event.steps}")
            self._machines[0].append(event)
        for machine in self._machines[1:]:
            machine.receive(self._machines[0].envelopes_for(machine.space.version_vector()))

    def _append(self, at: int, machine: Machine) -> None:
        if self._rng.random() < 0.1:
            machine.abandon(self._taste.event(is_new=machine.is_new))
        # What is refused where it is made says little about convergence, so there are a few attempts.
        for _ in range(3):
            events = [self._taste.event(is_new=machine.is_new) for _ in range(self._rng.choice((1, 1, 1, 2, 3)))]
            self.trace.append(f"{at} appends {' + '.join(str(event.steps) for event in events)}")
            if machine.append(*events):
                return

    def _retract(self, at: int, machine: Machine) -> None:
        """Undo or redo some of what the device knows of, its own or others'."""
        machine.settle()
        facts, undone = machine.witness.facts, sorted(machine.witness.undone())
        is_redo = bool(undone) and self._rng.random() < 0.5
        places = [place for place in undone if place in facts] if is_redo else sorted(facts)[-12:]
        if some := [
            place
            for place in self._rng.sample(places, min(len(places), self._rng.choice((1, 1, 2, 4))))
            if facts[place].name not in CONTROLS
        ]:
            self.trace.append(f"{at} {'redoes' if is_redo else 'undoes'} {[place[0] for place in some]}")
            machine.retract(some, is_redo=is_redo)

    def _send(self, at: int, machine: Machine) -> None:
        """Send one device what another lacks, through a network that does what it likes."""
        others = [index for index in range(len(self._machines)) if index != at]
        to = self._rng.choice(others)
        receiver = self._machines[to]
        envelopes = machine.envelopes_for(receiver.space.version_vector())
        self._air |= {formats.place_of(raw)[3]: raw for raw in envelopes}
        if self._rng.random() < 0.5:
            self.trace.append(f"{at} sends {to} all it lacks: {names(envelopes)}")
            receiver.receive(envelopes)
        else:
            self._mangle(f"{at} sends {to}", envelopes, receiver)
        if self._rng.random() < 0.4:
            receiver.check()

    def _deliver(self, at: int, machine: Machine) -> None:
        """Deliver anything that was ever sent, in any order, with gaps."""
        envelopes = list(self._air.values())
        some = self._rng.sample(envelopes, self._rng.randint(0, len(envelopes)))
        self._mangle(f"the air brings {at}", some, machine)

    def _mangle(self, what: str, envelopes: list[bytes], receiver: Machine) -> None:
        rng = self._rng
        run: list[bytes] = []
        altered = set()
        for raw in envelopes:
            roll = rng.random()
            if roll < 0.15:
                continue
            if roll < 0.25:
                altered.add(len(run))
                run.append(damaged(rng, raw))
            run += [raw] * (2 if roll > 0.9 else 1)
        if not altered and rng.random() < 0.5:
            rng.shuffle(run)
        self.trace.append(f"{what} {names(run)}, altered {sorted(altered)}")
        receiver.receive(run, frozenset(altered))

    def _set_clock(self, at: int, machine: Machine) -> None:
        rng = self._rng
        shown = machine.clock.now_ms
        now_ms = NOW_MS if rng.random() < 0.2 else shown + rng.choice(CLOCK_STEPS_MS)
        self.trace.append(f"{at}'s clock goes from {shown - NOW_MS:+} to {now_ms - NOW_MS:+}")
        machine.move_clock(now_ms)

    def _write_as_stranger(self) -> None:
        raw, what = self._stranger.write()
        self._air[formats.place_of(raw)[3]] = raw
        self.trace.append(f"the stranger writes {what}")

    def _restart(self, at: int, machine: Machine) -> None:
        assert machine.path is not None
        if self._rng.random() < 0.4 and len(self._machines) < 6:
            self.trace.append(f"{at} is copied, and is now also {len(self._machines)}")
            copy = machine.path.with_name(f"{machine.path.stem}-copy{len(self.trace)}.db")
            self._machines.append(machine.copied(copy))
            return
        is_new = self._rng.random() < 0.6
        self.trace.append(f"{at} restarts with the {'newer' if is_new else 'older'} app")
        machine.restart(is_new=is_new)

    # --- how it ends --------------------------------------------------------------------------------------------------

    def _observe(self) -> None:
        """Show the observer any subset of all envelopes, with gaps and repeats: it must show the state of that set."""
        for machine in self._machines:
            self._air |= {formats.place_of(raw)[3]: raw for raw in machine.envelopes_for(VersionVector())}
        for _ in range(self._rng.choice((1, 1, 2))):
            envelopes = list(self._air.values())
            some = self._rng.choices(envelopes, k=self._rng.randint(0, len(envelopes))) if envelopes else []
            self._mangle("the observer is shown", some, self._observer)
            self._observer.check()
            self._counts["subsets"] += 1

    def _gather(self) -> None:
        """Give everybody everything: the air to the first, then from each to each, twice, as in a ring."""
        self.trace.append("everybody meets")
        first = self._machines[0]
        first.receive(list(self._air.values()))
        everybody = self._everybody()
        for giver, taker in 2 * [*pairwise(everybody), (everybody[-1], first)]:
            taker.receive(giver.envelopes_for(taker.space.version_vector()))
        vectors = [machine.space.version_vector() for machine in everybody]
        assert vectors == [vectors[0]] * len(vectors), "who has exchanged everything holds the same"
        heads = {(device, *head) for device, head in vectors[0].flat()}
        assert heads == first.witness.heads(), "a version vector names the ends of all chains"
        self._counts["forks"] += any(len(heads) > 1 for heads in vectors[0].values())

    def _agree(self) -> None:
        """Let all clocks show one time, and compare everybody with one verdict, before and after a rebuild."""
        everybody = self._everybody()
        # A stamp that is just not held can make an honest device's next one carry past the limit: that one its maker has
        # applied and others hold. A second later nothing of an honest device is held by anybody, and one verdict fits all.
        now_ms = max(machine.clock.latest_ms for machine in everybody) + 1000
        self.trace.append(f"all clocks show {now_ms - NOW_MS:+}")
        verdict: Verdict | None = None
        digest = b""
        for machine in everybody:
            if not machine.is_new:
                machine.count(machine.check())
                machine.restart(is_new=True)
            machine.move_clock(now_ms)
            if verdict is None:
                verdict, digest = machine.check(), machine.space.digest()
                machine.count(verdict)
            assert machine.witness.facts == everybody[0].witness.facts, "an event was lost on the way"
            machine.settle()
            machine.compare(verdict)
            assert machine.space.digest() == digest, "equal views have equal digests"
            machine.check_undo()
        # Before any rebuild: the undo data is as the rebases have left it.
        if places := sorted(everybody[0].witness.placed):
            compare_past(self._rng.choice(everybody), self._variant, [self._rng.choice(places)])
        for machine in self._rng.sample(everybody, 2):
            machine.rebuild()
            machine.compare(verdict or machine.check())


def damaged(rng: random.Random, raw: bytes) -> bytes:
    """Alter a bit, or cut the end off."""
    at = rng.randrange(len(raw))
    return raw[:at] if rng.random() < 0.3 else formats.altered(raw, at, lambda byte: byte ^ 1 << rng.randrange(8))


def names(envelopes: list[bytes]) -> str:
    """Name envelopes by device and number, as in `3f2a:4`."""
    places = [formats.place_of(raw) for raw in envelopes]
    return " ".join(f"{device[:2].hex()}:{number}" for device, number, _, _ in places) or "nothing"

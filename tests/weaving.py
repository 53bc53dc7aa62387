"""Small cases of the fold alone, by the million: events arrive in any order and in any batches, and some are undone.

No keys, envelopes, files or clocks: a store's log and view in memory, the real fold, and the models of `tests/models.py` as
its judge. `python -m tests.weaving --cases 1000000 --jobs 2` looks where nobody has looked; `--replay SEED` shows one again.
"""

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

import apsw

from driftlog._core.clock import Hlc, Timestamp
from driftlog._core.event import Record, encode_event
from driftlog._core.ids import DeviceKey, EventHash
from driftlog._core.merge import Way
from driftlog._core.places import Place
from driftlog._core.retraction import REDONE, UNDONE, encode_named
from driftlog._core.touch import UNTOUCHED, Cell
from driftlog._sqlite.connection import connect
from driftlog._store import schema
from driftlog._store.fold import Arrival, Fold
from driftlog._store.log import BEFORE_ALL, Log, Touching
from driftlog._store.view import View
from driftlog.testing.simulation.blocks import add_limits, limits, side_by_side, spans
from driftlog.testing.simulation.campaign import quiet
from tests.cases import limits_of
from tests.models import Model
from tests.programs import TABLES, VARIANTS, Variant, app_of
from tests.random_programs import Taste

EVENTS_MAX = 14
DEVICES = [DeviceKey(bytes([number]) * 32) for number in range(3)]
CASES = 100_000
"""Of a command that says neither how many nor how long."""

BLOCK_CASES = 500
FAILURES_SHOWN_MAX = 5

EXPECTED = (*map(str, Way), "applied", "rejected", "retracted", "replayed")
"""What must occur in every block of cases: where one of the ways is rare, the others are all that is tested."""

Steps = list[list[str | int | None]]


class Drawn(NamedTuple):
    """An event of a case: the steps that its handler takes, none for an undo or redo, which names others."""

    arrival: Arrival
    steps: Steps | None
    named: tuple[Timestamp, ...] = ()


class Bench:
    """A log and a view in memory. Each case is a transaction on them that is rolled back."""

    def __init__(self, variant: Variant) -> None:
        program = app_of(variant)._program()
        self.connection = connect(":memory:")
        schema.create(self.connection)
        self.log = Log(self.connection)
        self.view = View(self.connection, program.tables)
        self.view.create()
        self.fold = Fold(self.connection, self.log, self.view, program)

    def rows(self, table: str) -> set[tuple[object, ...]]:
        """Give a table's rows."""
        return set(self.connection.execute(f"SELECT * FROM {table}"))


@lru_cache
def bench_of(variant: Variant) -> Bench:
    """Give a bench, one a variant and process, so that statements are compiled once for many cases."""
    return Bench(variant)


def run_weaving(seed: int) -> Counter[str]:
    """Run a case, and count what it met."""
    rng = random.Random(f"weaving {seed}")
    variant = rng.choice(VARIANTS)
    bench = bench_of(variant)
    events = drawn(rng)
    counts: Counter[str] = Counter()
    with quiet(), limits_of(seed):
        bench.connection.execute("BEGIN")
        try:
            _arrive(rng, bench, variant, events, counts)
            _take_back(bench)
        finally:
            bench.connection.execute("ROLLBACK")
            bench.fold.forget()
    return counts


def drawn(rng: random.Random) -> list[Drawn]:
    """Draw a case's events, in the total order: first some that make rows to meet in."""
    taste = Taste(rng)
    stamps = sorted(rng.choices(range(1, EVENTS_MAX), k=rng.randint(3, EVENTS_MAX)))
    places = sorted({(stamp, rng.choice(DEVICES)): rng.randbytes(32) for stamp in stamps}.items())
    events: list[Drawn] = []
    for number, ((stamp, device), hashed) in enumerate(places):
        at = Timestamp(Hlc(stamp), device, EventHash(hashed))
        if events and rng.random() < 0.12:
            named = tuple(rng.sample([one.arrival.timestamp for one in events], rng.randint(1, min(3, len(events)))))
            name = rng.choice((UNDONE, UNDONE, REDONE))
            events.append(Drawn(Arrival(at, Record(Hlc(stamp), 0, name, 1, encode_named(named))), None, named))
        else:
            event = taste.beginning() if number < 2 else taste.event(is_new=True)
            payload = encode_event(event, is_float_allowed=False)
            record = Record(Hlc(stamp), stamp, event.event_name, event.event_version, payload)
            events.append(Drawn(Arrival(at, record), event.steps))
    return events


def _arrive(rng: random.Random, bench: Bench, variant: Variant, events: list[Drawn], counts: Counter[str]) -> None:
    left = list(events)
    if rng.random() < 0.7:
        # Mostly in order, with a few that come late; else in no order at all.
        late = rng.sample(left, rng.randint(1, max(1, len(left) // 3)))
        left = [one for one in left if one not in late] + late
    else:
        rng.shuffle(left)
    placed: list[Drawn] = []
    while left:
        count = rng.choice((1, 1, 1, 2, 5, len(left)))
        batch, left = left[:count], left[count:]
        last = max((one.arrival.timestamp for one in placed), default=None)
        integrated = bench.fold.integrate([one.arrival for one in batch], last)
        counts[str(integrated.way)] += 1
        counts["replayed"] += integrated.replayed
        placed += batch
        if not left or rng.random() < 0.3:
            _compare(bench, variant, sorted(placed), counts)


def _compare(bench: Bench, variant: Variant, placed: list[Drawn], counts: Counter[str]) -> None:
    undone: dict[Timestamp, bool] = {}
    for one in placed:
        undone |= dict.fromkeys(one.named, one.arrival.record.name == UNDONE)
    model = Model(variant)
    states: list[tuple[str, str | None]] = []
    for (at, record, _), steps, _ in placed:
        if steps is None:
            states.append(("applied", None))
        elif undone.get(at):
            states.append(("retracted", None))
        else:
            refused = model.apply(at.hlc, at.event_hash, record.wall_ms, steps)
            states.append(("rejected", refused.reason) if refused is not None else ("applied", None))
    logged = list(bench.log.entries())
    assert [entry.timestamp for entry in logged] == [one.arrival.timestamp for one in placed]
    for entry, (state, reason) in zip(logged, states, strict=True):
        assert str(entry.state) == state, f"{entry.timestamp} is {entry.state} ({entry.reason}) and should be {state}"
        assert reason is None or entry.reason == reason, f"{entry.timestamp} is rejected for {entry.reason!r}"
        counts[state] += 1
    for table in TABLES:
        assert bench.rows(table) == set(model.tables[table].values()), f"table {table} is not the fold of the log"
    _compare_index(bench)


def _compare_index(bench: Bench) -> None:
    """What is remembered of who touches what, if anything, is what the log says now."""
    tail = bench.fold.tail
    if tail._index is not None:
        logged = _touching(bench, bench.log.touches(tail._index.start))
        held = tail._index._touch_by_event | _touching(bench, tail._waiting.values())
        assert _of_those_that_touch(held) == _of_those_that_touch(logged), "the touch index is not that of the log"


_Touched = dict[Place, tuple[tuple[Cell, ...], tuple[Cell, ...]]]


def _touching(bench: Bench, touches: Iterable[Touching]) -> _Touched:
    return {at: bench.view.touch(undo, touch) for at, undo, touch in touches}


def _of_those_that_touch(touched: _Touched) -> _Touched:
    return {at: touch for at, touch in touched.items() if touch != UNTOUCHED}


def _take_back(bench: Bench) -> None:
    bench.view.rewind(bench.log.undos(BEFORE_ALL))
    for table in TABLES:
        assert not bench.rows(table), f"the undo data leaves rows in {table}"


# --- by the million ------------------------------------------------------------------------------------------------------


def run_block(first: int, count: int) -> tuple[Counter[str], list[tuple[int, str]]]:
    """Run consecutive seeds, and go on after a failure. Gives what they met, and the seeds that failed, with why."""
    counts: Counter[str] = Counter(cases=count)
    failures = []
    for seed in range(first, first + count):
        try:
            counts += run_weaving(seed)
        except (AssertionError, apsw.Error) as error:
            failures.append((seed, f"{type(error).__name__}: {error}"))
    return counts, failures


def campaign(start: int, cases: int | None, seconds: float | None, jobs: int) -> int:
    """Run a campaign of so many cases or so long, say how it goes, and give the number of cases that failed."""
    total: Counter[str] = Counter()
    failed = done = 0
    began = told = time.monotonic()
    for counts, failures in side_by_side(run_block, spans(start, cases, BLOCK_CASES), jobs, seconds=seconds):
        total += counts
        done += counts["cases"]
        failed += len(failures)
        for seed, why in failures[:FAILURES_SHOWN_MAX]:
            print(f"{seed}: {why}\nagain: python3 tasks.py weaving --replay {seed}", flush=True)
        if time.monotonic() - told > 10 or done == cases:
            told = time.monotonic()
            print(f"{done} cases, {failed} failed, {(told - began) / done * 1000:.2f} ms a case", flush=True)
    print(f"seeds {start} to {start + done - 1}: {', '.join(f'{n} {kind}' for kind, n in total.most_common())}")
    if missing := [kind for kind in EXPECTED if not total[kind]]:
        print(f"never occurred: {', '.join(missing)}")
    return failed


def main() -> int:
    """Run what the command line says; the exit code tells whether anything failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.weaving", description=__doc__)
    add_limits(parser, "cases", CASES)
    parser.add_argument("--start", type=int, default=1_000_000, help="the first seed (default: 1000000)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--replay", type=int, help="run one seed again, and show its events")
    arguments = parser.parse_args()
    if arguments.replay is None:
        number, seconds = limits(arguments, "cases", CASES)
        return int(campaign(arguments.start, number, seconds, arguments.jobs) > 0)
    rng = random.Random(f"weaving {arguments.replay}")
    print(rng.choice(VARIANTS))
    for one in drawn(rng):
        print(one.arrival.timestamp, one.steps if one.steps is not None else (one.arrival.record.name, one.named))
    print(run_weaving(arguments.replay))
    return 0


if __name__ == "__main__":
    sys.exit(main())

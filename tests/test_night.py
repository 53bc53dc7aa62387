"""A night runs every campaign, writes what came of each at once, and fails if anything did."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE, Popen
from sys import executable

import pytest

from driftlog.testing.simulation.blocks import side_by_side, spans
from tests.night import HEAD, INTERRUPTED, PARTS, Done, Part, run_night

ROOT = Path(__file__).parent.parent
FIRST = 20
"""A seed whose block of kills is of the kind that takes least time."""


SECONDS_MAX = 60
"""Until what was told nothing ends by itself, and its test fails."""


def good(_first: int, count: int) -> Done:
    time.sleep(0.001)
    return Done(count, [])


def bad(first: int, count: int) -> Done:
    return Done(count, [f"a | b\nc; again: replay {first}"] if first == FIRST else [])


def broken(_first: int, _count: int) -> Done:
    raise OSError("no such device")


def interrupted(first: int, count: int) -> Done:
    if first > FIRST:
        raise KeyboardInterrupt
    return Done(count, [])


def stuck(_first: int, _count: int) -> Done:
    # In one write: two processes say it at once.
    os.write(1, b"at work\n")
    time.sleep(SECONDS_MAX)
    raise AssertionError("nobody told it to end")


def part(run: Callable[[int, int], Done]) -> Part:
    return Part(run.__name__, "cases", 0.01, run, 5)


def night(*parts: Part, seconds: float = 1.0) -> tuple[int, list[str], list[str]]:
    written: list[str] = []
    told: list[str] = []
    code = run_night(parts, start=FIRST, seconds=seconds, jobs=1, write=written.append, tell=told.append)
    assert tuple(written[: len(HEAD)]) == HEAD
    return code, written[len(HEAD) :], told


def test_a_part_is_a_row_and_ends_with_its_share() -> None:
    code, rows, told = night(part(good), part(good))

    assert (code, len(rows), told) == (0, 2, [])
    assert all(row.startswith("| good | 20 | ") and row.endswith(" | 0 |  |") for row in rows)


def test_what_fails_is_told_with_what_runs_it_again_and_the_night_goes_on_and_fails() -> None:
    code, rows, told = night(part(bad), part(good))

    assert code == 1
    assert told == [f"bad: a | b\nc; again: replay {FIRST}"]
    assert rows[0].endswith(f" | 1 | a \\| b c; `replay {FIRST}` |")
    assert rows[1].startswith("| good ")


def test_a_campaign_that_breaks_fails_its_part_and_no_other() -> None:
    code, rows, told = night(part(broken), part(good))

    assert code == 1
    assert told[0].startswith("broken: it broke, OSError: no such device; again: ")
    assert "no such device" in rows[0]
    assert rows[1].startswith("| good ")


def test_a_part_that_had_no_time_has_failed() -> None:
    code, _, told = night(part(good), seconds=0)

    assert code == 1
    assert told[0].startswith("good: nothing was run")


def test_a_night_that_is_interrupted_writes_what_was_run_and_ends() -> None:
    code, rows, _ = night(part(interrupted), part(good))

    assert code == INTERRUPTED
    [row] = rows
    assert row.startswith("| interrupted | 20 | 5 cases | ")
    assert row.endswith(" | 0 | interrupted |")


def test_the_shares_are_a_whole_night() -> None:
    assert sum(each.share for each in PARTS) == pytest.approx(1)


@pytest.mark.slow
@pytest.mark.parametrize("each", PARTS, ids=[each.name for each in PARTS])
def test_each_part_runs_what_it_is_to(each: Part) -> None:
    done = each.run(FIRST, 1)

    assert done.units > 0
    assert list(done.failures) == []


def test_blocks_are_of_all_seeds_and_of_no_other() -> None:
    assert list(spans(7, 12, 5)) == [(7, 5), (12, 5), (17, 2)]
    endless = spans(7, None, 5)
    assert [next(endless) for _ in range(3)] == [(7, 5), (12, 5), (17, 5)]


@pytest.mark.parametrize("jobs", [1, 2])
def test_without_end_of_orders_the_time_ends_it(jobs: int) -> None:
    done = list(side_by_side(good, spans(0, None, 5), jobs, seconds=0.05))

    assert done
    assert all(each == good(0, 5) for each in done)


def test_all_that_is_ordered_is_done_without_a_time() -> None:
    assert sum(each.units for each in side_by_side(good, spans(0, 12, 5), 2)) == 12


INTERRUPTED_NIGHT = """
from tests.night import run_night
from tests.test_night import part, stuck

def say(line):
    print(line, flush=True)

raise SystemExit(run_night([part(stuck)], start=0, seconds=6000, jobs=2, write=say, tell=say))
"""


@pytest.mark.skipif(os.name == "nt", reason="no process can be sent what Ctrl-C sends there")
def test_ctrl_c_ends_the_processes_that_are_at_work() -> None:
    with Popen([executable, "-c", INTERRUPTED_NIGHT], cwd=ROOT, stdout=PIPE, text=True) as process:
        assert process.stdout is not None
        said = [process.stdout.readline().strip() for _ in range(4)]
        # Whatever was said: nobody else would end it.
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()

    assert said == [*HEAD, "at work", "at work"]
    # Read to its end: nobody holds the pipe any more, so the processes are gone as well.
    assert process.returncode == INTERRUPTED
    assert rest.endswith(" | 0 | interrupted |\n")

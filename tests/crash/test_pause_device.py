"""Two processes that write one file, one of them stopped again and again: nothing is lost, and nothing is given twice."""

import os
import random
from pathlib import Path

import pytest

from tests.crash.checks import Acknowledged, check_device
from tests.crash.processes import Children

PAUSES = 20
PAUSE_SECONDS_MAX = 0.03
LINES = 8
ROUNDS = 2

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="Windows stops processes otherwise")]


def test_a_process_stopped_anywhere_delays_another_that_writes_the_same_file_and_breaks_nothing(tmp_path: Path) -> None:
    rng = random.Random(6)
    path = tmp_path / "todos.db"
    acknowledged = Acknowledged()
    with Children("device") as children:
        for _ in range(ROUNDS):
            one, two = children.next(), children.next()
            one.begin(path, rng.getrandbits(32))
            while one.line("that it has opened the file") != "open":
                pass
            two.begin(path, rng.getrandbits(32))
            for _ in range(PAUSES):
                rng.choice((one, two)).pause(rng.uniform(0, PAUSE_SECONDS_MAX))
                for _ in range(LINES):
                    one.line("what it has done")
                    two.line("what it has done")
            for child in (one, two):
                acknowledged.take(child.kill(rng))
            check_device(path, acknowledged)
    assert len(acknowledged.events) > ROUNDS * PAUSES * LINES

"""Live queries of a process that is idle, while another one writes to the file, and is killed."""

import random
from pathlib import Path
from queue import Queue

from tests.crash.processes import Child
from tests.todo_app import TodoAdded, todo_app

SECONDS_MAX = 20


def test_an_idle_process_is_told_of_each_append_of_another_one(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    child = Child("neighbour")
    try:
        with todo_app().open(path, durability="relaxed") as space:
            child.begin(path, "watch")
            assert child.line("that there is nothing") == "0"
            for number in range(20):
                space.append(TodoAdded(id=str(number), text="a"))
                assert child.line(f"that it was told of append {number}") == str(number + 1)
    finally:
        child.end()


def test_what_a_writer_had_committed_when_it_was_killed_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    rng = random.Random(4)
    child = Child("neighbour")
    told: Queue[int] = Queue()
    try:
        with todo_app().open(path, durability="relaxed") as space:
            space.subscribe("SELECT count(*) FROM todo", lambda answer: told.put(answer[0][0]))
            child.begin(path, "write")
            for _ in range(20):
                child.line("what it has done")
            lines = child.kill(rng)
            acknowledged = len(lines) - 1
            rows = space.query("SELECT count(*) FROM todo")[0][0]
            counts = [0]
            while counts[-1] < rows:
                counts.append(told.get(timeout=SECONDS_MAX))
    finally:
        child.end()

    assert rows >= acknowledged >= 20
    assert counts == sorted(counts)

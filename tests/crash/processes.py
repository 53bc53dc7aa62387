"""Child processes that are killed without warning, and the lines they had written by then.

A child is started ahead of time and waits for a word, so that a round does not wait for Python to start. What it writes
to its standard output goes out line by line; a line that was cut off by the end does not count.
"""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Timer
from types import TracebackType
from typing import Final, Self

ROOT: Final = Path(__file__).parents[2]
ANSWER_SECONDS_MAX: Final = 60
"""For a line of a child: long past what any takes on a busy machine; a child that never answers fails its test by then."""
KILLED: Final = 1 if sys.platform == "win32" else -signal.SIGKILL
"""What `kill` leaves for a child's exit code."""
DELAY_SECONDS_MAX: Final = 0.004
"""The last moment of chance: a few appends long, so that the end comes at any place within one."""


class Child:
    """A process of `python -m tests.crash.<program>`, which has started, and has not begun."""

    def __init__(self, program: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"tests.crash.{program}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self._lines: list[str] = []

    def begin(self, *arguments: object) -> None:
        """Wait until it is ready, and say the word: the arguments of what it is to do."""
        assert self.line("that it is ready") == "ready"
        assert self._process.stdin is not None
        self._process.stdin.write("\t".join(map(str, arguments)) + "\n")
        self._process.stdin.flush()

    def line(self, awaited: str, *, seconds_max: float = ANSWER_SECONDS_MAX) -> str:
        """Wait for its next line, which is to say what is `awaited`; one that does not come in time is its end."""
        assert self._process.stdout is not None
        # The child's end is the end of its output, which a read comes back from, on every system.
        too_late = Timer(seconds_max, self._process.kill)
        too_late.start()
        try:
            line = self._process.stdout.readline()
        finally:
            too_late.cancel()
            # What it has begun it ends: whether it was too late is known from here on.
            too_late.join()
        if not line.endswith("\n"):
            is_late = self._process.wait() == KILLED
            what = f"did not say within {seconds_max} s" if is_late else "ended by itself and did not say"
            raise AssertionError(f"the child {what} {awaited}; its last lines: {self._lines[-3:]}")
        self._lines.append(line)
        return line.strip()

    def pause(self, seconds: float) -> None:
        """Stop it wherever it is, perhaps with a lock in its hand, and let it go on after a while."""
        self._process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self._process.send_signal(signal.SIGCONT)

    def kill(self, rng: random.Random, delay_seconds_max: float = DELAY_SECONDS_MAX) -> list[list[str]]:
        """Kill it after a moment of chance, and give the words of all lines it had written."""
        time.sleep(rng.uniform(0, delay_seconds_max))
        self._process.kill()
        assert self._process.stdout is not None
        # Not `communicate`, which does not know what `readline` has read ahead.
        rest = self._process.stdout.read()
        self.end()
        assert self._process.returncode != 0, "it was alive until it was killed"
        whole = rest[: rest.rfind("\n") + 1]
        return [line.split() for line in (*self._lines, *whole.splitlines())]

    def end(self) -> None:
        """Let nothing of it be left. May be called twice, and after `kill`."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()


class Children:
    """Children of one program, one after the other: while one works, the next one starts."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._started: list[Child] = []

    def next(self) -> Child:
        """Give the one that waits, and start another."""
        waiting = self._started[-1]
        self._started.append(Child(self._program))
        return waiting

    def __enter__(self) -> Self:
        self._started.append(Child(self._program))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in self._started:
            child.end()


def order() -> list[str]:
    """In a child: wait for the word, and give its arguments."""
    say("ready")
    line = sys.stdin.readline()
    if not line:
        raise SystemExit(0)
    return line.rstrip("\n").split("\t")


def say(*words: object) -> None:
    """In a child: write a line, at once."""
    print(*words, flush=True)

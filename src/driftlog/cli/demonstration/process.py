"""The conductor's handle on a process of the demo: starts it, asks it, hears it, kills it."""

import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue
from typing import Final, TypeVar

import msgspec

from driftlog.cli.demonstration import messages as m
from driftlog.errors import DriftlogError

ANSWER_SECONDS_MAX: Final = 60
"""Nothing the demo asks takes that long; a process that does is stuck, and the demo fails instead of hanging."""

QUIT_SECONDS_MAX: Final = 5

_AnswerT = TypeVar("_AnswerT")


class DemoFailed(DriftlogError):
    """A process of the demo did not do what was asked."""


class Process:
    """One process, which may be killed and started again. A thread of the conductor listens to it."""

    def __init__(self, name: str, module: str, directory: Path) -> None:
        self.name = name
        self.tick = m.Tick()
        self.acknowledged: list[str] = []
        """Stamps of the events that this process has said are on its disk, over all its lives."""
        self.refused = 0
        self._module = module
        self._errors = directory / f"{name.lower()}.stderr"
        self._heard = threading.Condition()
        self._answers: Queue[m.Answer | None] = Queue()
        self._process: subprocess.Popen[bytes] | None = None
        self._listener: threading.Thread | None = None

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process is not None, "start() comes first"
        return self._process.pid

    def start(self, *arguments: str) -> None:
        """Start the process; it says `Opened` when it is ready."""
        self._answers = Queue()
        with self._errors.open("ab") as errors:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and modules
                [sys.executable, "-m", self._module, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                # Its own session, so that Ctrl-C reaches the conductor alone, which then ends everything in order.
                start_new_session=True,
            )
        self._listener = threading.Thread(target=self._listen, args=(self._process, self._answers), daemon=True)
        self._listener.start()

    def ask(self, ask: m.Ask) -> None:
        """Ask, without waiting."""
        assert self._process is not None, "start() comes first"
        assert self._process.stdin is not None, "it was asked for"
        # One that has ended is noticed when its answer is taken, with its reason.
        with suppress(OSError):
            self._process.stdin.write(m.encode(ask) + b"\n")
            self._process.stdin.flush()

    def take(self, kind: type[_AnswerT]) -> _AnswerT:
        """Wait for the answer to what was asked, or raise `DemoFailed` with what the process says went wrong."""
        try:
            answer = self._answers.get(timeout=ANSWER_SECONDS_MAX)
        except Empty:
            raise DemoFailed(f"{self.name} has not answered for {ANSWER_SECONDS_MAX} s; try again") from None
        if isinstance(answer, m.Failed):
            raise DemoFailed(f"{self.name}: {answer.reason}")
        if not isinstance(answer, kind):
            raise DemoFailed(f"the process of {self.name} has ended: {self._last_words()}")
        return answer

    def wait_acknowledged(self, count: int) -> None:
        """Wait until the process has acknowledged so many events."""
        deadline = time.monotonic() + ANSWER_SECONDS_MAX
        with self._heard:
            while len(self.acknowledged) < count:
                if not self._heard.wait(max(0.0, deadline - time.monotonic())):
                    raise DemoFailed(f"{self.name} acknowledged {len(self.acknowledged)} of {count} events; try again")

    def kill(self) -> int:
        """Kill the process (SIGKILL), hear what it had still said, and give its exit code."""
        assert self._process is not None, "start() comes first"
        self._process.kill()
        return self._reap()

    def end(self) -> None:
        """Let the process end by itself, or kill it. May be called at any time, and twice."""
        if self._process is None:
            return
        with suppress(OSError):
            assert self._process.stdin is not None, "it was asked for"
            self._process.stdin.close()
        try:
            self._process.wait(QUIT_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._reap()

    def _reap(self) -> int:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        code = self._process.wait()
        if self._listener is not None:
            self._listener.join()
        with suppress(OSError):
            self._process.stdin.close()
        self._process.stdout.close()
        return code

    def _listen(self, process: "subprocess.Popen[bytes]", answers: "Queue[m.Answer | None]") -> None:
        assert process.stdout is not None, "it was asked for"
        for line in process.stdout:
            try:
                answer = m.decode_answer(line)
            except msgspec.DecodeError:
                continue  # a line that the kill cut short: an event that nobody was told of
            match answer:
                case m.Tick():
                    self.tick = answer
                case m.Acknowledged(stamp):
                    with self._heard:
                        self.acknowledged.append(stamp)
                        self._heard.notify_all()
                case m.Refused():
                    self.refused += 1
                case _:
                    answers.put(answer)
        answers.put(None)

    def _last_words(self) -> str:
        lines = self._errors.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


class Device(Process):
    """A device's process. Its counters go on when it is started again."""

    def __init__(self, name: str, directory: Path) -> None:
        super().__init__(name, "driftlog.cli.demonstration.worker", directory)
        self.path = directory / f"{name.lower()}.db"
        self._past = m.Tick()

    def open(self, link: str = "") -> None:
        """Start the process: it opens its database, founds a space in a new one, or joins by a link."""
        self.start(str(self.path), *([link] if link else []))

    def kill(self) -> int:
        """Kill the process, and keep what it had counted."""
        code = super().kill()
        self._past = self.total()
        self.tick = m.Tick(
            phase="killed", events=self.tick.events, rejected=self.tick.rejected, pending=self.tick.pending
        )
        return code

    def total(self) -> m.Tick:
        """Give how the device stands, with what its earlier processes counted."""
        tick, past = self.tick, self._past
        return m.Tick(
            phase=tick.phase,
            events=tick.events,
            pending=tick.pending,
            rejected=tick.rejected,
            replayed=past.replayed + tick.replayed,
            envelopes_sent=past.envelopes_sent + tick.envelopes_sent,
            bytes_sent=past.bytes_sent + tick.bytes_sent,
            envelopes_received=past.envelopes_received + tick.envelopes_received,
            bytes_received=past.bytes_received + tick.bytes_received,
        )

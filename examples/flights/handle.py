"""The parent's handle on a desk's process: ask, then take the answer; several desks work in between."""

from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Final, TypeVar

from examples.flights.data import Flight
from examples.flights.desk import Ask, Close, Opened, serve

from driftlog import DriftlogError

CLOSE_SECONDS_MAX: Final = 10

FILE_SUFFIXES: Final = ("", "-wal", "-shm")

_AnswerT = TypeVar("_AnswerT")


class Desk:
    """A desk, seen from the parent."""

    def __init__(self, name: str, path: Path, link: str | None, flights: Sequence[Flight], begin_ms: int) -> None:
        self.name = name
        self.path = path
        # Spawned on every platform: a fork would inherit the relay's threads and sockets.
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, path, link, flights, begin_ms), daemon=True)
        self._process.start()
        theirs.close()
        self.link = self.take(Opened).link

    def ask(self, ask: Ask) -> None:
        """Ask, without waiting."""
        self._pipe.send(ask)

    def take(self, kind: type[_AnswerT]) -> _AnswerT:
        """Wait for the answer to what was asked, or raise what went wrong at the desk."""
        try:
            answer = self._pipe.recv()
        except EOFError:
            raise DriftlogError(f"the desk {self.name} has ended; what it printed above says why") from None
        if isinstance(answer, DriftlogError):
            raise DriftlogError(f"desk {self.name}: {answer}")
        assert isinstance(answer, kind)
        return answer

    def file_bytes(self) -> int:
        """Say how much room the space takes on disk."""
        return file_bytes(self.path)

    def close(self) -> None:
        """End the process; it lets go of its file first, if it can. May be called twice."""
        with suppress(OSError):  # it may be ending by itself
            self._pipe.send(Close())
        self._process.join(CLOSE_SECONDS_MAX)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def file_bytes(path: Path) -> int:
    """Say how much room an SQLite database takes on disk, with what is not yet moved into it."""
    paths = [path.with_name(path.name + suffix) for suffix in FILE_SUFFIXES]
    return sum(path.stat().st_size for path in paths if path.exists())

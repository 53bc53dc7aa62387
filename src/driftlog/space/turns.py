"""The lock of an open space, with a way for a long work to let everybody else go first between two of its parts.

Python's own lock goes to whoever asks first once it is free, and that is nearly always the thread that has just let go of
it. Who waits here stands at a door, one at a time; a long work goes through the same door before each next part, so it
gets there only after whoever stood before it has had the lock.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from threading import Lock, RLock


class Turns:
    """A lock that its holder may take again."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._door = Lock()
        # Bound here, because every append takes and lets go of it: a method of this class would cost it 0.1 µs each.
        self.take_if_free: Callable[[], bool] = partial(self._lock.acquire, blocking=False)
        """Take the lock, unless another thread holds it. Gives whether it was taken."""
        self.let_go: Callable[[], None] = self._lock.release
        """Let go of the lock, as often as it was taken."""

    def __enter__(self) -> None:
        # Whoever holds the lock already must not wait at the door: somebody may stand there who waits for this thread.
        if not self.take_if_free():
            with self._door:
                self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self.let_go()

    @contextmanager
    def behind_others(self) -> Iterator[None]:
        """Hold the lock, after whoever waits for it now. Not for a thread that holds it already."""
        with self._door:
            self._lock.acquire()
        try:
            yield
        finally:
            self.let_go()

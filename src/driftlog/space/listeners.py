"""Callbacks that are told that something changed, from whatever thread changed it."""

from collections.abc import Callable
from threading import Lock

Callback = Callable[[], None]


class Listeners:
    """A set of callbacks without arguments. They must return at once and not raise: they wake somebody up."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._callbacks: tuple[Callback, ...] = ()
        self._count = 0

    @property
    def count(self) -> int:
        """How often something has changed."""
        return self._count

    def add(self, callback: Callback) -> Callable[[], None]:
        """Add a callback, and give the function that removes it."""
        with self._lock:
            self._callbacks += (callback,)
        return lambda: self._remove(callback)

    def _remove(self, callback: Callback) -> None:
        with self._lock:
            # Equal is not enough: two bound methods of one object are equal, and each was added for itself.
            self._callbacks = tuple(known for known in self._callbacks if known is not callback)

    def tell(self) -> None:
        """Count the change, then call all of them."""
        with self._lock:
            self._count += 1
        for callback in self._callbacks:
            callback()

"""How a space stands with each relay, now: kept in memory, waited on, and told to the app when it becomes another.

Callbacks are called as those of live queries (`lines.py`): without any lock, one at a time and in order, in the thread that
brought the news or where the app's own `call_soon` takes them, and only with what is newest then.
"""

from collections.abc import Callable, Sequence
from threading import Condition, Lock

from driftlog._protocol.device_values import SyncState
from driftlog.space.answer import CallSoon, OnError
from driftlog.space.calling import Caller, call_back

OnStates = Callable[[dict[str, SyncState]], object]


class Board:
    """The latest state of every conversation of a space, which can be waited on."""

    def __init__(self) -> None:
        self._condition = Condition()
        self._state_by_url: dict[str, SyncState] = {}
        self._changes = 0
        self._watchers: tuple[Watcher, ...] = ()

    def post(self, url: str, state: SyncState) -> None:
        """Set the state of a conversation."""
        with self._condition:
            self._state_by_url[url] = state
            self._note()
        self._wake()

    def forget(self, urls: Sequence[str]) -> None:
        """Drop what an earlier conversation left, so that it is not taken for a new one's."""
        with self._condition:
            for url in urls:
                self._state_by_url.pop(url, None)
            self._note()
        self._wake()

    def read(self) -> tuple[int, dict[str, SyncState]]:
        """Give the number of changes so far, and all states."""
        with self._condition:
            return self._changes, dict(self._state_by_url)

    def wait_past(self, changes: int, timeout: float | None) -> bool:
        """Block until there have been more changes than that, and tell whether it was in time."""
        with self._condition:
            return self._condition.wait_for(lambda: self._changes > changes, timeout)

    def watch(self, callback: OnStates, call_soon: CallSoon | None, on_error: OnError | None) -> Callable[[], None]:
        """Call back with all states, now and whenever they have become others; give the function that ends that."""
        watcher = Watcher(self, callback, call_soon, on_error)
        with self._condition:
            self._watchers += (watcher,)
        watcher.wake()

        def end() -> None:
            watcher.is_closed = True
            with self._condition:
                self._watchers = tuple(one for one in self._watchers if one is not watcher)

        return end

    def close(self) -> None:
        """Call nobody back any more."""
        with self._condition:
            watchers, self._watchers = self._watchers, ()
        for watcher in watchers:
            watcher.is_closed = True

    def has_changed_since(self, changes: int) -> bool:
        """Tell whether there have been more changes than that."""
        return self._changes > changes

    def _note(self) -> None:
        self._changes += 1
        self._condition.notify_all()

    def _wake(self) -> None:
        for watcher in self._watchers:
            watcher.wake()


class Watcher:
    """One callback for the states, and what it was told last."""

    def __init__(self, board: Board, callback: OnStates, call_soon: CallSoon | None, on_error: OnError | None) -> None:
        self.is_closed = False
        self._board = board
        self._callback = callback
        self._on_error = on_error
        self._caller = Caller(call_soon, self._run, "sync states are told nowhere until the next change")
        self._running = Lock()
        self._changes = -1
        self._told: dict[str, SyncState] | None = None

    def wake(self) -> None:
        """Call back, here or where the app takes it."""
        self._caller.call()

    def _run(self) -> None:
        # Asked again after letting go: what changed in between found this thread still at it, and left it to us.
        while (
            not self.is_closed
            and self._board.has_changed_since(self._changes)
            and self._running.acquire(blocking=False)
        ):
            try:
                self._changes, states = self._board.read()
                if states != self._told:
                    # The callback's own, to do with as it likes.
                    self._told = dict(states)
                    call_back(self._callback, states, self._on_error, "sync states; mend the callback")
            finally:
                self._running.release()

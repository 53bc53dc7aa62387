"""Changed verdicts, from the rebase that finds them to whoever is told: kept with their transaction, and given on only once
it is committed.
"""

from collections import deque
from collections.abc import Iterable

from driftlog._store.results import Verdict


class Verdicts:
    """Those of the transaction that runs, and the committed ones that nobody has taken yet, in the order of commits."""

    def __init__(self) -> None:
        self._begun: list[Verdict] = []
        self._committed: deque[Verdict] = deque()

    def add(self, verdicts: Iterable[Verdict]) -> None:
        """Take note of what a rebase within the transaction changed."""
        self._begun += verdicts

    def count(self) -> int:
        """Say how many the transaction has found so far, to roll back to later."""
        return len(self._begun)

    def roll_back(self, count: int = 0) -> None:
        """Forget what was found after the first `count`, because it was undone."""
        del self._begun[count:]

    def commit(self) -> None:
        """Take note that what was found stays."""
        if self._begun:
            self._committed += self._begun
            self._begun.clear()

    def is_any_committed(self) -> bool:
        """Tell whether any waits to be taken."""
        return bool(self._committed)

    def take(self) -> Verdict | None:
        """Take the oldest of the committed, None if there is none. Called without the write lock."""
        # A deque's ends are safe to use from several threads, but between looking and taking another may have been here.
        try:
            return self._committed.popleft()
        except IndexError:
            return None

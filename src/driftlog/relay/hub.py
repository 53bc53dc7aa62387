"""Who waits for which space to grow. Waking says only that it has: whoever is woken reads for itself.

They are woken in the order in which they came, so that a run that is repeated is the same.
"""

from collections.abc import Callable, Iterable

from driftlog._core.ids import SpaceId

Wake = Callable[[], None]


class Hub:
    """The sessions of each space. Used on the event loop only."""

    def __init__(self) -> None:
        self._wakes_by_space: dict[SpaceId, dict[Wake, None]] = {}

    def join(self, space: SpaceId, wake: Wake) -> None:
        """Call `wake` whenever the space grows."""
        self._wakes_by_space.setdefault(space, {})[wake] = None

    def leave(self, space: SpaceId, wake: Wake) -> None:
        """Call it no more."""
        wakes = self._wakes_by_space[space]
        del wakes[wake]
        if not wakes:
            del self._wakes_by_space[space]

    def wake(self, spaces: Iterable[SpaceId]) -> None:
        """The spaces have grown."""
        for space in spaces:
            for wake in tuple(self._wakes_by_space.get(space, ())):
                wake()

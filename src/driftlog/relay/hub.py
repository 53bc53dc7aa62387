"""Who waits for which space to grow. Waking says only that it has: whoever is woken reads for itself."""

from collections.abc import Callable, Iterable

from driftlog._core.ids import SpaceId

Wake = Callable[[], None]


class Hub:
    """The sessions of each space. Used on the event loop only."""

    def __init__(self) -> None:
        self._wakes_by_space: dict[SpaceId, set[Wake]] = {}

    def join(self, space: SpaceId, wake: Wake) -> None:
        """Call `wake` whenever the space grows."""
        self._wakes_by_space.setdefault(space, set()).add(wake)

    def leave(self, space: SpaceId, wake: Wake) -> None:
        """Call it no more."""
        wakes = self._wakes_by_space[space]
        wakes.remove(wake)
        if not wakes:
            del self._wakes_by_space[space]

    def wake(self, spaces: Iterable[SpaceId]) -> None:
        """The spaces have grown."""
        for space in spaces:
            for wake in tuple(self._wakes_by_space.get(space, ())):
                wake()

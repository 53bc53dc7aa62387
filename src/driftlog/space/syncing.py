"""Background sync: one thread with an event loop of its own per space, one driver per relay."""


class Sync: ...


class Syncing:
    def __init__(self, space: object) -> None: ...
    def states(self) -> dict[str, object]:
        return {}

    def stop(self) -> None: ...

"""An open space held still, to read through the store's own connection: what nearly every call of the driver begins with.

A class, because generators for it and the two it would be made of cost most calls as much as what they read.
"""

from types import TracebackType
from typing import TYPE_CHECKING

from driftlog._sqlite.storage_errors import storage_errors
from driftlog._store.store import Store

if TYPE_CHECKING:
    from driftlog.space.engine import Engine


class Held:
    """Holds the lock of a space within a `with`, which gives the store. Raises as the engine's other calls do."""

    __slots__ = ("_engine",)

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine

    def __enter__(self) -> Store:
        self._engine._lock.__enter__()
        try:
            self._engine.check_open()
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self._engine._store

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        engine = self._engine
        if error is not None:
            # While the lock is held: whoever has it next must find the file in doubt.
            engine.reopening.note(error)
        engine._lock.let_go()
        storage_errors(engine.path).__exit__(kind, error, trace)

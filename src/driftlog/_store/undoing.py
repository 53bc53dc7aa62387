"""A `with` block that commits at its end, and undoes everything if an error leaves it."""

from types import TracebackType
from typing import Protocol


class Undoable(Protocol):
    """What can be begun, and then is either committed or undone."""

    def begin(self) -> None:
        """Begin."""
        ...

    def commit(self) -> None:
        """Make it last. If that fails, it is still to be undone."""
        ...

    def roll_back(self) -> None:
        """Undo what was begun."""
        ...


class Undoing:
    """The block: a class, because a generator would cost every append a microsecond and a half."""

    __slots__ = ("_work",)

    def __init__(self, work: Undoable) -> None:
        self._work = work

    def __enter__(self) -> None:
        self._work.begin()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._work.roll_back()
            return
        try:
            self._work.commit()
        except BaseException:
            self._work.roll_back()
            raise

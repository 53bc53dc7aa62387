"""What must end in one of two ways, for use in a `with`: done if the block was, undone if it was not."""

from collections.abc import Callable
from types import TracebackType


class Bracket:
    """A class, because a generator would cost every transaction a microsecond and a half."""

    __slots__ = ("_begin", "_commit", "_roll_back")

    def __init__(self, begin: Callable[[], None], commit: Callable[[], None], roll_back: Callable[[], None]) -> None:
        self._begin = begin
        self._commit = commit
        self._roll_back = roll_back

    def __enter__(self) -> None:
        self._begin()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._roll_back()
            return
        try:
            self._commit()
        except BaseException:
            self._roll_back()
            raise

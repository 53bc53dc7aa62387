"""What a live query tells: a whole answer, and how it differs from the last one that the same subscriber got."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

from driftlog._reactive.difference import Difference, KeyOf, difference
from driftlog._sqlite.rows import Row


@dataclass(frozen=True, slots=True)
class Answer(Sequence[Row]):
    """The rows of a live query, as a sequence, at one state of the tables."""

    rows: tuple[Row, ...]
    difference: Difference
    """Against the answer before; in the first one, all rows are added."""
    key_of: KeyOf | None
    """How rows are told apart, None for by all of their values."""

    def since(self, before: "Answer") -> "Answer":
        """Give this answer with its difference against an earlier one than the last."""
        return Answer(self.rows, difference(before.rows, self.rows, self.key_of), self.key_of)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | Sequence[Row]:
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)


OnAnswer = Callable[[Answer], object]
OnError = Callable[[Exception], object]
CallSoon = Callable[[Callable[[], None]], object]
"""Runs a function later, in the thread of its choice: `loop.call_soon_threadsafe`, `app.call_later`."""


class Subscription:
    """A callback for a live query's answers. Made by `space.subscribe`; it lasts until it or the space is closed."""

    __slots__ = ("_end", "_rows", "callback", "is_closed", "on_end", "on_error")

    def __init__(self, callback: OnAnswer, on_error: OnError | None, end: Callable[["Subscription"], None]) -> None:
        self.callback = callback
        self.on_error = on_error
        self.is_closed = False
        self.on_end: Callable[[], None] | None = None
        """Called when the space is closed before."""
        self._rows: tuple[Row, ...] | None = None
        """What it was told last, None before the first answer."""
        self._end = end

    def close(self) -> None:
        """End it: no call begins after this. May be called twice, and within the callback."""
        if not self.is_closed:
            self.is_closed = True
            self._end(self)

    def __enter__(self) -> "Subscription":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

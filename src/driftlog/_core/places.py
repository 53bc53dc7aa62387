"""Places in the total order, kept sorted in pieces.

Nearly all places are added at the end, in a piece that fills up. One that is added or removed further back moves what
follows it in its own piece only: in one list of 100,000, that was more work than applying the event.
"""

from bisect import bisect_right, insort
from collections.abc import Iterable
from typing import Final

from driftlog._core.clock import Hlc
from driftlog._core.ids import DeviceKey, EventHash

Place = tuple[Hlc, DeviceKey, EventHash]
"""A timestamp, or the plain tuple that a row of the log begins with: equal to it, and with the same hash.

Of plain tuples that hold nothing but text, bytes and numbers, Python's collector takes no more notice. Of a named one it
does, and each full collection would stop everybody to go over all that are remembered.
"""

PIECE_MAX: Final = 1_000
"""A piece that grows beyond is cut in two. Finding a piece among some hundred, and moving half of one, cost under a
microsecond each."""


class Places:
    """A sorted collection of timestamps, each in it once."""

    __slots__ = ("_firsts", "_pieces")

    def __init__(self, places: Iterable[Place] = ()) -> None:
        ordered = sorted(places)
        self._pieces = [ordered[at : at + PIECE_MAX] for at in range(0, len(ordered), PIECE_MAX)]
        self._firsts = [piece[0] for piece in self._pieces]
        """The least of each piece as it was when the piece was made: what is now in it lies between that and the next."""

    def add(self, at: Place) -> None:
        """Put a timestamp in."""
        if not self._pieces:
            self._pieces.append([at])
            self._firsts.append(at)
            return
        number = len(self._pieces) - 1
        piece = self._pieces[number]
        if piece[-1] < at:
            piece.append(at)
        else:
            number = max(bisect_right(self._firsts, at) - 1, 0)
            piece = self._pieces[number]
            insort(piece, at)
            if at < self._firsts[number]:
                self._firsts[number] = at
        if len(piece) > PIECE_MAX:
            # At the end, order has nothing to put between: the full piece is left as it is.
            middle = PIECE_MAX if number == len(self._pieces) - 1 else PIECE_MAX // 2
            self._pieces.insert(number + 1, piece[middle:])
            self._firsts.insert(number + 1, piece[middle])
            del piece[middle:]

    def remove(self, at: Place) -> None:
        """Take a timestamp out that is in."""
        number = bisect_right(self._firsts, at) - 1
        piece = self._pieces[number]
        place = bisect_right(piece, at) - 1
        assert piece[place] == at
        del piece[place]
        if not piece:
            del self._pieces[number], self._firsts[number]

    def after(self, at: Place) -> list[Place]:
        """Give the timestamps after another, in order."""
        number = max(bisect_right(self._firsts, at) - 1, 0)
        if number >= len(self._pieces):
            return []
        piece = self._pieces[number]
        found = piece[bisect_right(piece, at) :]
        for later in self._pieces[number + 1 :]:
            found += later
        return found

    def count_after(self, at: Place) -> int:
        """Count the timestamps after another."""
        number = max(bisect_right(self._firsts, at) - 1, 0)
        if number >= len(self._pieces):
            return 0
        piece = self._pieces[number]
        return len(piece) - bisect_right(piece, at) + sum(map(len, self._pieces[number + 1 :]))

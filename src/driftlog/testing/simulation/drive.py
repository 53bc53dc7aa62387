"""A drive that one database is on: SQLite runs on a disk with a journal, and that can fail, fill up, lie, or lose power.

A power cut comes before an operation that changes a file. From then on the process that asked for it is dead, and the files
hold what the journal allows: each sector, size and name is as it was at some moment since it was last synced. Only what the
drive's owner does can meet a fault; whoever judges reads undisturbed.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from driftlog.testing.disk import Fault, Image, SimulatedDisk, cuts, power_cut, write_image
from driftlog.testing.disk.faults import Kind
from driftlog.testing.simulation.loop import Killed

_CHANGES: Final = frozenset({"write", "sync", "truncate", "delete"})


class _Left(NamedTuple):
    """What the dead have left."""

    image: Image
    written: int | None
    """How much of the journal is theirs; None after a power cut, which begins another one."""


class Drive:
    """One database's drive."""

    def __init__(self, directory: Path, is_asked: Callable[[], bool]) -> None:
        self.disk = SimulatedDisk(directory)
        self.disk.faults = self._meet
        self.trouble: Fault | None = None
        """What raises, where the drive is full or fails."""
        self.raised = 0
        """How often it did."""
        self._is_asked = is_asked
        self._is_closing = False
        self._left: _Left | None = None
        self._changes_left: int | None = None
        self._end: Callable[[], None] = lambda: None
        self._lies_from: int | None = None

    @property
    def is_dead(self) -> bool:
        """Whether those who used the files have died, and the files wait for what becomes of them."""
        return self._left is not None

    @property
    def is_cut(self) -> bool:
        """Whether they died of a power cut."""
        return self._left is not None and self._left.written is None

    @property
    def is_lying(self) -> bool:
        """Whether what counts as synced may not be."""
        return self._lies_from is not None

    # --- what is done to it ------------------------------------------------------------------------------------------------

    def end_at(self, changes: int, end: Callable[[], None]) -> None:
        """Let whoever uses the files die before so manieth change to them; `end` then calls `stop` or `cut_power`."""
        self._changes_left = changes
        self._end = end

    def lie(self) -> None:
        """Only say from now on that something was synced."""
        if self._lies_from is None:
            self._lies_from = len(self.disk.journal)

    def stop(self) -> None:
        """Remember the files as they are: whatever is done to them until `go_on`, the dead do."""
        if self._left is None:
            paths = [path for path in self.disk.directory.iterdir() if not path.name.endswith("-shm")]
            self._left = _Left({path.name: path.read_bytes() for path in paths}, len(self.disk.journal))

    def cut_power(self, seed: int) -> None:
        """Likewise, with what a power cut at this moment leaves of them."""
        begin = self._lies_from
        [*_, cut] = cuts(self.disk.journal, lies=lambda _, number: begin is not None and number > begin)
        self._left = _Left(cut.image(power_cut(seed)), None)

    def go_on(self) -> None:
        """Begin with the files as they were left; nobody has them open any more."""
        left, self._left = self._left, None
        assert left is not None
        if left.written is None:
            self.hold(left.image)
        else:
            write_image(left.image, self.disk.directory)
            del self.disk.journal[left.written :]

    def hold(self, image: Image) -> None:
        """Let these be the files, all synced."""
        self.disk.hold(image)
        self._lies_from = None

    def set_right(self) -> None:
        """Be a good drive from now on."""
        self.trouble = self._changes_left = self._lies_from = None

    @contextmanager
    def closing(self) -> Iterator[None]:
        """Have no trouble within: SQLite does not mind it when it closes a file, and apsw raises it all the same."""
        self._is_closing = True
        try:
            yield
        finally:
            self._is_closing = False

    # --- what SQLite asks --------------------------------------------------------------------------------------------------

    def _meet(self, kind: Kind, file: str, size: int) -> None:
        # Nearly always there is nothing to meet, and this is asked of every page.
        if (self._changes_left is None and self.trouble is None) or self.is_dead or not self._is_asked():
            return
        if self._changes_left is not None and kind in _CHANGES:
            self._changes_left -= 1
            if self._changes_left < 0:
                self._changes_left = None
                self._end()
                raise Killed
        if self.trouble is not None and not self._is_closing:
            try:
                self.trouble(kind, file, size)
            except BaseException:
                self.raised += 1
                raise

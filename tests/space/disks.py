"""Disks that are full or cannot be written, for tests: real ones where the machine allows, else the nearest thing.

A full disk is a file system of 1 MiB in memory, filled up with another file, so that SQLite meets ENOSPC wherever it may
come: WAL, shared memory, key file. That needs the right to mount. Where there is none, SQLite is told how many pages the
database may have; this stops only the database's own growth, but the same error comes up through the same layers.
"""

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Protocol

import pytest

from driftlog import Space

DISK_BYTES = 1 << 20


class Disk(Protocol):
    """A place that can be filled up and emptied."""

    path: Path

    def fill(self, space: Space | None, /) -> None:
        """Leave no room, for a space that is open there or for anybody."""

    def free(self, space: Space | None, /) -> None:
        """Make room again."""


class SmallDisk:
    """A file system of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    def fill(self, _: Space | None = None, /) -> None:
        """Write until nothing more fits; single bytes at the end, for SQLite needs less than a page in places."""
        with self._ballast.open("ab", buffering=0) as file:
            for size in (4096, 1):
                with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
                    fill_up(file, size)

    def free(self, _: Space | None = None, /) -> None:
        """Delete what `fill` wrote."""
        self._ballast.unlink()


class PageLimit:
    """A database that may not grow."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self, space: Space | None, /) -> None:
        """Allow as many pages as there are."""
        self._limit(space, 1)

    def free(self, space: Space | None, /) -> None:
        """Allow SQLite's usual number."""
        self._limit(space, 1 << 30)

    def _limit(self, space: Space | None, pages: int) -> None:
        assert space is not None, "a limit of pages concerns an open space only"
        # SQLite raises a limit below the present size to that size.
        space._engine._connection.pragma("max_page_count", pages)


def fill_up(file: FileIO, size: int) -> None:
    """Write so many bytes at a time, without end."""
    while True:
        file.write(bytes(size))


@contextmanager
def small_disk(path: Path) -> Iterator[SmallDisk]:
    """Mount a file system of `DISK_BYTES` for the length of a `with` block, or skip the test."""
    path.mkdir()
    mount("-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(path))
    try:
        yield SmallDisk(path)
    finally:
        unmount(path)


@contextmanager
def read_only(path: Path) -> Iterator[None]:
    """Let nobody write below `path`, for the length of a `with` block.

    Permissions mean nothing to root, so for root the directory is mounted over itself, read-only.
    """
    if os.geteuid() == 0:
        mount("--bind", str(path), str(path))
        try:
            mount("-o", "remount,bind,ro", str(path))
            yield
        finally:
            unmount(path)
        return
    modes = {file: file.stat().st_mode for file in (path, *path.iterdir())}
    for file, mode in modes.items():
        file.chmod(mode & ~0o222)
    try:
        yield
    finally:
        for file, mode in modes.items():
            file.chmod(mode)


def mount(*arguments: str) -> None:
    """Mount, or skip the test where that is not allowed."""
    try:
        # Wherever the system has it.
        result = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)  # noqa: S607
    except FileNotFoundError:
        pytest.skip("there is no mount command to make such a disk with")
    if result.returncode:
        pytest.skip(f"no right to mount such a disk: {result.stderr.splitlines()[0]}")


def unmount(path: Path) -> None:
    """Undo `mount`."""
    subprocess.run(["umount", "--lazy", str(path)], check=True)  # noqa: S607 - as above

"""Reading through the store's own connection: what is raised within, and that the lock is let go of whatever happens."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import apsw
import pytest

from driftlog.errors import Closed, StorageError
from tests.todo_app import todo_app


def test_an_io_error_is_told_in_words_and_the_file_is_opened_anew(tmp_path: Path) -> None:
    with todo_app().open(tmp_path / "a.db") as space:
        with pytest.raises(StorageError, match="the disk may fail"), space._engine.reading():
            raise apsw.IOError("sync failed")

        space.status()

        assert space._engine.reopening.count == 1


def test_who_finds_a_space_closed_does_not_keep_its_lock(tmp_path: Path) -> None:
    space = todo_app().open(tmp_path / "a.db")
    space.close()

    with pytest.raises(Closed):
        space.status()

    with ThreadPoolExecutor(1) as another:
        assert another.submit(space._engine._lock.take_if_free).result()

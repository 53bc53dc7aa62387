"""Whatever fails while a file is opened, nothing of it stays open: who caught the error may try again, or remove the file.

Counted while the error is at hand: its traceback holds what a function forgot to close, which would else go from memory.
"""

from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from driftlog._core.ids import Birthday
from driftlog.errors import DriftlogError
from driftlog.relay.server import Relay, RelayConfig
from driftlog.relay.sqlite import SqliteStore
from driftlog.testing.disk import OneFault, SimulatedDisk
from tests.disk.world import workplace
from tests.todo_app import TodoAdded, todo_app

APP = todo_app()


def device(path: Path, vfs: str) -> None:
    with APP.open(path, vfs=vfs) as space:
        space._engine._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)


def relay(path: Path, vfs: str) -> None:
    opened = Relay(RelayConfig(path, vfs=vfs))
    opened._reading.close()
    opened._writing._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    opened._writing.close()


def reader(path: Path, vfs: str) -> None:
    SqliteStore(str(path), vfs).open_reader().close()


def a_relays_file(path: Path, vfs: str) -> None:
    writer = SqliteStore(str(path), vfs).open_writer(Birthday(bytes(16)), space_bytes_max=1)
    writer._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    writer.close()


def a_devices_file(path: Path, vfs: str) -> None:
    with APP.open(path, vfs=vfs) as space:
        space.append(TodoAdded(id="1", text="milk"))
        space._engine._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)


def nothing(_path: Path, _vfs: str) -> None:
    pass


@pytest.mark.parametrize(
    ("before", "opening"),
    [
        (nothing, device),
        (a_devices_file, device),
        (nothing, relay),
        (a_relays_file, relay),
        (a_relays_file, reader),
    ],
)
def test_an_opening_that_fails_anywhere_leaves_nothing_open(
    before: Callable[[Path, str], None], opening: Callable[[Path, str], None]
) -> None:
    number = failed = 0
    left_open: list[str] = []
    while True:
        number += 1
        with workplace() as directory, SimulatedDisk(directory) as disk:
            before(directory / "file.db", disk.vfs)
            here = len(apsw.connections())
            disk.faults = fault = OneFault(number)
            try:
                opening(directory / "file.db", disk.vfs)
            except (DriftlogError, apsw.Error) as error:
                failed += 1
                if len(apsw.connections()) > here:
                    left_open.append(f"after {fault.failed}: {error}")
            if not fault.failed:
                break
    assert failed > 5
    assert left_open == []

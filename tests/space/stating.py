"""Devices in files that state digests of their views, and what their tables may meet: shared by the tests of that."""

from collections.abc import Iterator
from os import urandom
from pathlib import Path

import apsw
import pytest

from driftlog import Comparison, Space
from driftlog._core.statement import Statement
from driftlog._store.rebuilding import Progress, untold
from driftlog._store.store import Store
from driftlog.testing import exchange, fleet
from tests.todo_app import Clock, TodoAdded, todo_app

APP = todo_app()


class Fleet(list[Space]):
    """Devices in files, with one clock, which have all heard of one another."""

    def __init__(self, folder: Path, n: int) -> None:
        self.clock = Clock()
        self.paths = [folder / f"{name}.db" for name in "abcdefgh"[:n]]
        super().__init__(fleet(APP, n, paths=self.paths, clocks=[self.clock] * n, entropy=urandom))
        for number, space in enumerate(self):
            self.clock.now_ms += 1
            space.append(TodoAdded(f"hello {number}", "there"))
        self.share()

    def share(self) -> None:
        for _ in range(2):
            for other in self[1:]:
                exchange(self[0], other)

    def says(self, device: int, id_: str) -> None:
        self.clock.now_ms += 1
        self[device].append(TodoAdded(id_, "milk"))
        self.share()

    def corrupt(self, device: int, sql: str = "UPDATE todo SET text = 'edited' WHERE id = 'hello 0'") -> None:
        """Edit a device's tables behind the engine's back."""
        connection = apsw.Connection(str(self.paths[device]))
        connection.execute(sql)
        connection.close()

    def lie(self, device: int, view: bytes = b"\xee" * 32) -> None:
        """State a wrong digest of exactly what the device holds."""
        space = self[device]
        space.seal()
        engine = space._engine
        with engine.writing() as store:
            events = engine.comparing._source.digest(store.connection)
            assert events is not None
            store.state(Statement(engine.program.fingerprint, events, view))
        self.share()


def opened(spaces: Fleet) -> Iterator[Fleet]:
    yield spaces
    for space in spaces:
        space.close()


def count_rebuilds(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Give a list of the devices that rebuild their views from now on, as often as they do."""
    done: list[bytes] = []
    rebuild = Store.rebuild

    def counted(self: Store, progress: Progress = untold) -> int:
        done.append(self._device)
        return rebuild(self, progress)

    monkeypatch.setattr(Store, "rebuild", counted)
    return done


def found(comparisons: tuple[Comparison, ...]) -> list[tuple[bytes, str]]:
    return [(one.device, one.agreement.value) for one in comparisons]


def compared(space: Space) -> dict[bytes, str]:
    return {one.device: one.compared.agreement.value for one in space.status().devices if one.compared is not None}


def statements(space: Space) -> list[bytes]:
    return [entry.timestamp.device for entry in space.log() if entry.name == "driftlog.digest"]

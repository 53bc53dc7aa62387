"""What must hold of files whose process was killed: they are opened again, and looked at from all sides."""

from pathlib import Path
from typing import Any

import apsw

from driftlog import Space
from tests.crash.device import APP

Place = tuple[int, str, str]
"""An event's stamp, device and hash, as a device says them."""

_OWN = "SELECT batch_seq, hash, raw FROM driftlog_envelope WHERE device = ? AND is_chained = 1 ORDER BY batch_seq"
_AT_RELAY = """
SELECT batch_seq, hash, raw FROM envelope WHERE device = (SELECT device FROM device WHERE key = ?) ORDER BY batch_seq
"""
_POSITIONS = "SELECT id & 0xFFFFFFFFFF FROM envelope ORDER BY id"


class Acknowledged:
    """All that a device was ever told is safe."""

    def __init__(self) -> None:
        self.events: list[Place] = []
        self.sealed = 0
        self.confirmed = 0

    def take(self, lines: list[list[str]]) -> None:
        """Note what a child had said before it was killed."""
        for line in lines:
            match line:
                case ["event", hlc, device, hashed]:
                    self.events.append((int(hlc), device, hashed))
                case ["sealed", number]:
                    self.sealed = int(number)
                case ["confirmed", number]:
                    self.confirmed = int(number)
                case ["ready"] | ["open"] | ["rebuilt"]:
                    pass
                case _:
                    raise AssertionError(f"the child said {line}")


def check_device(path: Path, acknowledged: Acknowledged) -> None:
    """Open a device's file, and hold it to what was acknowledged."""
    with APP.open(path) as space:
        logged = [(at.hlc, at.device.hex(), at.event_hash.hex()) for at in (entry.timestamp for entry in space.log())]
        # Nothing that was acknowledged is missing, and no stamp was given twice, whether or not it was acknowledged.
        assert set(acknowledged.events) <= set(logged)
        assert len(set(acknowledged.events)) == len(acknowledged.events)
        own = [hlc for hlc, device, _ in logged if device == space.device.hex()]
        assert len(set(own)) == len(own)
        # The view is what the log makes of itself.
        before = space.digest()
        space.rebuild()
        assert space.digest() == before
        check_chain(path, space, acknowledged)
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]


def check_chain(path: Path, space: Space, acknowledged: Acknowledged) -> None:
    """One chain of envelopes, each number once, as far as was said."""
    numbers = [number for number, _, _ in rows(path, _OWN, space.device)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= max(acknowledged.sealed, acknowledged.confirmed)
    assert not any(device.is_forked for device in space.status().devices)


def check_relay(path: Path, device_path: Path, device: bytes, confirmed: int) -> None:
    """The relay's file holds what a device was told it holds, byte for byte, and numbers it without a gap."""
    there = rows(path, _AT_RELAY, device)
    assert len(there) >= confirmed
    assert there == rows(device_path, _OWN, device)[: len(there)]
    positions = [position for (position,) in rows(path, _POSITIONS)]
    assert positions == list(range(1, len(positions) + 1))
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]


def rows(path: Path, sql: str, *parameters: bytes) -> list[tuple[Any, ...]]:
    """Read a file through a connection of its own."""
    connection = apsw.Connection(str(path))
    try:
        return connection.execute(sql, parameters).fetchall()
    finally:
        connection.close()

"""A relay for synchronous tests and demonstrations: it runs on an event loop in a thread of its own.

with relay_thread(tmp_path / "relay.db") as relay:
    space.sync(relay.url)
"""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

from driftlog.relay.server import Relay, RelayConfig


class RelayThread:
    """A relay that is started and stopped at will. It keeps its port, so that devices find it again."""

    def __init__(self, path: str | Path, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.path = Path(path)
        self._host = host
        self._port = port
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    @property
    def url(self) -> str:
        """Where devices connect, also while the relay is stopped."""
        assert self._port, "start() comes first"
        return f"ws://{self._host}:{self._port}"

    def start(self) -> None:
        """Start, and return once it listens. Raises what went wrong."""
        assert self._thread is None, "it runs already"
        started: Future[int] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main(started)), name="driftlog-relay")
        self._thread.start()
        try:
            self._port = started.result()
        except BaseException:
            self._thread.join()
            self._thread = None
            raise

    def stop(self) -> None:
        """Stop, and return once port and file are free."""
        if self._thread is None:
            return
        assert self._loop is not None
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._thread = None

    def wipe(self) -> None:
        """Stop, lose everything, and start again: another relay at the same address."""
        self.stop()
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)
        self.start()

    async def _main(self, started: "Future[int]") -> None:
        try:
            relay = Relay(RelayConfig(self.path, self._host, self._port))
            await relay.start()
        except Exception as error:  # noqa: BLE001 - it is raised again, by start() in the thread that waits
            started.set_exception(error)
            return
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        started.set_result(relay.port)
        try:
            await self._stop.wait()
        finally:
            await relay.stop()


@contextmanager
def relay_thread(path: str | Path, *, host: str = "127.0.0.1", port: int = 0) -> Iterator[RelayThread]:
    """Run a relay in a thread for the length of a `with` block."""
    relay = RelayThread(path, host=host, port=port)
    relay.start()
    try:
        yield relay
    finally:
        relay.stop()

"""A TCP proxy that cuts connections in the middle of whatever they carry, after a number of bytes in either direction."""

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

CHUNK_BYTES = 4096


class Proxy:
    """Forwards to a port of this machine, for the length of a `with` block. `cut_after` holds for the next connection."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._left: int | None = None
        self._lock = threading.Lock()
        self.was_cut = threading.Event()
        self._open: list[socket.socket] = []

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._listener.getsockname()[1]}"

    def cut_after(self, count: int | None) -> None:
        """Let so many bytes through, all connections together, then close them; None lets all through."""
        with self._lock:
            self._left = count
            self.was_cut.clear()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                here, _ = self._listener.accept()
                there = socket.create_connection(("127.0.0.1", self._to))
                self._open += [here, there]
                for source, target in ((here, there), (there, here)):
                    threading.Thread(target=self._forward, args=(source, target), daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(CHUNK_BYTES):
                passed = self._passed(data)
                target.sendall(passed)
                if len(passed) < len(data):
                    self.was_cut.set()
                    break
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _passed(self, data: bytes) -> bytes:
        with self._lock:
            if self._left is None:
                return data
            passed = data[: self._left]
            self._left -= len(passed)
            return passed

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A listener that is only closed would leave the thread that accepts waiting.
        for end in (self._listener, *self._open):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

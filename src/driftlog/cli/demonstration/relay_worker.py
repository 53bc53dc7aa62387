"""The relay of the demo, as a process of its own: `python -m driftlog.cli.demonstration.relay_worker PATH`.

It says where it listens, on stdout, and ends when stdin does.
"""

import asyncio
import os
import signal
import sys
import threading

from driftlog.cli.demonstration import messages as m
from driftlog.relay.server import running_relay


async def main(path: str) -> None:
    """Run the relay until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the conductor's to handle
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def listen() -> None:
        while os.read(sys.stdin.fileno(), 1024):
            pass
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=listen, daemon=True).start()
    async with running_relay(path) as relay:
        sys.stdout.buffer.write(m.encode(m.Opened(relay.url)) + b"\n")
        sys.stdout.buffer.flush()
        await ended.wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))

"""A relay that serves until it is killed: `<path> <port>`, and says its address."""

import asyncio

from driftlog.relay.server import RelayConfig, serve_forever
from tests.crash.processes import order, say

if __name__ == "__main__":
    path, port = order()
    asyncio.run(serve_forever(RelayConfig(path, port=int(port)), lambda relay: say("url", relay.url)))

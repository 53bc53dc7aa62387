"""A connection cut in the middle of a frame, anywhere: what was confirmed is at the relay, and the devices converge."""

import random
import time
from pathlib import Path

import pytest

from driftlog.testing.relay import relay_thread
from tests.crash.checks import check_relay
from tests.crash.device import APP
from tests.crash.proxy import Proxy
from tests.todo_app import TodoAdded

CUTS = 40
BYTES_MAX = 9_000
SECONDS_MAX = 30

pytestmark = pytest.mark.slow


def test_a_connection_cut_within_a_frame_loses_nothing_and_is_taken_up_again(tmp_path: Path) -> None:
    rng = random.Random(7)
    paths = {name: tmp_path / f"{name}.db" for name in ("a", "b", "relay")}
    cut = 0
    with (
        relay_thread(paths["relay"]) as relay,
        Proxy(int(relay.url.rpartition(":")[2])) as proxy,
        APP.open(paths["a"]) as a,
        APP.join(paths["b"], a.invite()) as b,
    ):
        for number in range(CUTS):
            space = (a, b)[number % 2]
            space.append(*[TodoAdded(id=f"{number}-{each}", text="x" * rng.randrange(1_500)) for each in range(4)])
            proxy.cut_after(rng.randrange(BYTES_MAX))
            sync = space.sync(proxy.url)
            while not proxy.was_cut.wait(0.002) and sync.wait(0.01) is False:
                pass
            cut += proxy.was_cut.is_set()
            sync.stop()
            [mark] = space.status().relays
            check_relay(paths["relay"], paths["ab"[number % 2]], space.device, mark.confirmed_envelopes)

        proxy.cut_after(None)
        syncs = [space.sync(proxy.url) for space in (a, b)]
        for sync in syncs:
            assert sync.wait(SECONDS_MAX)
        # To have sent everything is not yet to have read what the other has sent meanwhile.
        deadline = time.monotonic() + SECONDS_MAX
        while a.version_vector() != b.version_vector() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert a.digest() == b.digest()
        assert a.status().pending == b.status().pending == 0
    assert cut > CUTS // 2

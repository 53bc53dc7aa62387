"""One device of the demo, as a process of its own: `python -m driftlog.cli.demonstration.worker PATH [LINK]`.

It does what stdin asks and answers on stdout. When stdin ends, its conductor is gone, and so is it: what `append` has
returned for is on the disk by then.
"""

import os
import signal
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from typing import Final, assert_never

import msgspec

from driftlog._core.version_vector import VersionVector
from driftlog._protocol.device_values import Phase, SyncState
from driftlog._store.log import State
from driftlog.cli.demonstration import messages as m
from driftlog.cli.demonstration.app import EVENT_TYPES, make_app
from driftlog.errors import DriftlogError, EventRejected
from driftlog.space.space import Space
from driftlog.space.syncing import Sync

TICK_SECONDS: Final = 0.1

_say_lock = threading.Lock()


def say(answer: m.Answer) -> None:
    """Put one line on stdout, whole: the ticker and the main thread both speak."""
    line = m.encode(answer) + b"\n"
    with _say_lock:
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()


class Counts:
    """What the demo counts beside the space: runs of materializers, and what each part of them was for."""

    def __init__(self) -> None:
        self.runs = 0
        self.tried = 0
        """Appends, refused ones included: each runs a materializer once."""
        self.accepted = 0

    def run(self) -> None:
        """Count a run."""
        self.runs += 1

    def replayed(self, received: int) -> int:
        """Give the runs beyond the first of each event that was tried here or received."""
        return max(0, self.runs - self.tried - received)


class Device:
    """A space, its sync if it is online, and what is counted."""

    def __init__(self, space: Space, counts: Counts) -> None:
        self._space = space
        self._counts = counts
        self._events_at_open = space.status().events
        self._sync: Sync | None = None
        self._url = ""
        self._past = SyncState(Phase.OFFLINE)
        """The counters of syncs that have ended."""

    def do(self, ask: m.Ask) -> None:
        """Do what is asked, and answer."""
        match ask:
            case m.Write(events, pause_ms):
                for name, fields in events:
                    self._write(name, fields)
                    time.sleep(pause_ms / 1000)
                self._done()
            case m.GoOnline(url):
                self._url = url
                self._sync = self._space.sync(url)
                self._done()
            case m.GoOffline():
                self._hang_up()
                self._done()
            case m.Settle(seconds_max):
                assert self._sync is not None, "only a device that is online is asked to settle"
                self._done(is_settled=self._sync.wait(seconds_max))
            case m.Tell(stamps):
                say(self.tick())
                say(self._told(stamps))
            case m.Quit():
                self._hang_up()
            case _:
                assert_never(ask)

    def _done(self, *, is_settled: bool = True) -> None:
        # Who reads that something is done shall not look at how it stood before.
        say(self.tick())
        say(m.Done(is_settled=is_settled))

    def _write(self, name: str, fields: dict[str, str]) -> None:
        event = msgspec.convert(fields, EVENT_TYPES[name])
        self._counts.tried += 1
        try:
            (stamp,) = self._space.append(event)
        except EventRejected as error:
            say(m.Refused(error.reason))
            return
        self._counts.accepted += 1
        say(m.Acknowledged(str(stamp)))

    def _hang_up(self) -> None:
        if self._sync is not None:
            self._sync.stop()
            self._past = self._total()
            self._sync = None

    def _total(self) -> SyncState:
        sync = self._sync
        state = sync.states().get(self._url) if sync is not None else None
        if state is None:
            return self._past
        past = self._past
        return SyncState(
            state.phase,
            envelopes_sent=past.envelopes_sent + state.envelopes_sent,
            bytes_sent=past.bytes_sent + state.bytes_sent,
            envelopes_received=past.envelopes_received + state.envelopes_received,
            bytes_received=past.bytes_received + state.bytes_received,
        )

    def tick(self) -> m.Tick:
        """Say how it stands."""
        status = self._space.status()
        total = self._total()
        return m.Tick(
            phase="offline" if self._sync is None else total.phase.value,
            events=status.events,
            pending=status.pending,
            rejected=status.rejected,
            replayed=self._counts.replayed(status.events - self._events_at_open - self._counts.accepted),
            envelopes_sent=total.envelopes_sent,
            bytes_sent=total.bytes_sent,
            envelopes_received=total.envelopes_received,
            bytes_received=total.bytes_received,
        )

    def _told(self, stamps: tuple[str, ...]) -> m.Told:
        # Envelopes may arrive between two readings, and what is told shall be of one moment: look again if any did.
        before = self._space.version_vector()
        while True:
            told = self._look(stamps, before)
            after = self._space.version_vector()
            if after == before:
                return told
            before = after

    def _look(self, stamps: tuple[str, ...], vector: VersionVector) -> m.Told:
        space = self._space
        entries = list(space.log())
        known = {str(entry.timestamp) for entry in entries}
        return m.Told(
            digest=space.digest().hex(),
            vector=vector.digest().hex(),
            events=len(entries),
            own=sum(entry.timestamp.device == space.device for entry in entries),
            rejections={str(e.timestamp): e.reason or "" for e in entries if e.state is State.REJECTED},
            missing=tuple(stamp for stamp in stamps if stamp not in known),
            bookings=space.query("SELECT count(*) AS n FROM booking")[0].n,
        )


def main(arguments: list[str]) -> None:
    """Run a device until it is told to quit."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the conductor's to handle
    asks: SimpleQueue[m.Ask] = SimpleQueue()
    threading.Thread(target=_listen, args=(asks,), daemon=True).start()
    counts = Counts()
    app = make_app(counts.run)
    path = Path(arguments[0])
    try:
        with ExitStack() as stack:
            space = stack.enter_context(app.join(path, arguments[1]) if len(arguments) > 1 else app.open(path))
            device = Device(space, counts)
            ticker = Ticker(device)
            stack.callback(ticker.stop)
            say(m.Opened(space.invite(), space.device.hex()))
            while True:
                ask = asks.get()
                device.do(ask)
                if isinstance(ask, m.Quit):
                    return
    except DriftlogError as error:
        say(m.Failed(str(error)))
        sys.exit(1)


class Ticker:
    """A thread that says how a device stands, whenever that has changed."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        said: m.Tick | None = None
        while not self._stop.wait(TICK_SECONDS):
            tick = self._device.tick()
            if tick != said:
                said = tick
                say(tick)

    def stop(self) -> None:
        """End it."""
        self._stop.set()
        self._thread.join()


def _listen(asks: "SimpleQueue[m.Ask]") -> None:
    for line in sys.stdin.buffer:
        asks.put(m.decode_ask(line))
    os._exit(0)  # see the module's docstring


if __name__ == "__main__":
    main(sys.argv[1:])

"""Background sync: one thread with an event loop of its own for each `space.sync(...)`, one driver for each relay in it.

The same drivers run as a coroutine in a loop the app already has. Nothing is decided here: what state a conversation is
in comes from its session, by way of the driver.
"""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from threading import Lock, Thread
from urllib.parse import urlsplit

from driftlog._driver.driver import run
from driftlog._protocol.device_values import Phase, SyncState
from driftlog._transport.websocket import connect
from driftlog.errors import DriftlogError, InvalidAddress, RelayRefused
from driftlog.space.answer import CallSoon, OnError
from driftlog.space.board import Board, OnStates
from driftlog.space.engine import Engine
from driftlog.space.replica import SpaceReplica

_log = logging.getLogger("driftlog")

SCHEMES = ("ws", "wss")
OVER = (Phase.STOPPED,)


class Register:
    """Which relays a space converses with: each is in one conversation at a time, in whatever thread or loop."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._urls: set[str] = set()

    def claim(self, urls: Sequence[str]) -> None:
        """Enter all of them, or raise."""
        with self._lock:
            for url in urls:
                if url in self._urls:
                    raise DriftlogError(
                        f"this space syncs with {url} already; stop that one first, or use what it returned"
                    )
            self._urls.update(urls)

    def release(self, urls: Sequence[str]) -> None:
        """Strike them out."""
        with self._lock:
            self._urls.difference_update(urls)


class Sync:
    """A sync that goes on in the background: given by `space.sync(...)`, ended by `stop()` or with the space."""

    def __init__(self, engine: Engine, board: Board, urls: Sequence[str], release: Callable[[], None]) -> None:
        self._engine = engine
        self._board = board
        self._urls = tuple(urls)
        self._replica = SpaceReplica(engine, board.post)
        self._release = release
        self._started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        # A daemon: an app that ends without closing its space loses nothing, and must not hang.
        self._thread = Thread(target=self._run, name="driftlog-sync", daemon=True)
        try:
            self._thread.start()
            self._loop, self._stop = self._started.result()
        except (OSError, RuntimeError) as error:
            raise DriftlogError(f"the sync could not be started: {error}; nothing was changed, try again") from error

    @property
    def urls(self) -> tuple[str, ...]:
        """The relays it talks to."""
        return self._urls

    @property
    def is_running(self) -> bool:
        """Whether it has not been stopped."""
        return self._thread.is_alive()

    def states(self) -> dict[str, SyncState]:
        """Give how it stands with each relay, by URL."""
        _, states = self._board.read()
        return {url: state for url, state in states.items() if url in self._urls}

    def wait(self, timeout: float | None = None) -> bool:
        """Block until each relay holds all this device has, durably, and this device has all it has heard each relay holds.

        It speaks of what was there when it was called; what another device gave the relay a moment ago may still be on its
        way. `timeout` is in seconds. Gives False if it ran out, or the sync has ended. Being offline is waited out; a relay
        that refuses this device or its envelopes raises `RelayRefused`.
        """
        self._replica.look_around()
        local_changes = self._replica.change_count()
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            changes, states = self._board.read()
            ours = [states[url] for url in self._urls if url in states]
            for state in ours:
                if state.phase is Phase.REFUSED:
                    raise RelayRefused(f"{state.detail}; what was made here is kept, and can go to another relay")
                if state.phase is Phase.STOPPED:
                    return False
            is_synced = len(ours) == len(self._urls) and all(
                state.phase is Phase.SYNCED and state.local_changes >= local_changes for state in ours
            )
            if is_synced and not any(self._has_unconfirmed(url) for url in self._urls):
                return True
            if not self.is_running:
                return False
            if not self._board.wait_past(changes, None if deadline is None else max(0.0, deadline - time.monotonic())):
                return False

    def stop(self) -> None:
        """End it, and return when nothing of it is left. May be called twice."""
        # The thread may end between the question and the call: then its loop is closed, and there is nothing to stop.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _has_unconfirmed(self, url: str) -> bool:
        # What was appended a moment ago may not have reached the session yet: only the store knows.
        with self._engine.reading() as store:
            mark = store.meta.relay(url)
            head = store.meta.own_branch().head
            confirmed = mark.confirmed_seq if mark is not None else 0
            return store.has_unsealed() or (head is not None and head.batch_seq > confirmed)

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:
            # Whoever started this is told; after the start there is nobody but the thread's own last words.
            if self._started.done():
                raise
            self._started.set_exception(error)
        finally:
            self._release()

    async def _main(self) -> None:
        stop = asyncio.Event()
        self._started.set_result((asyncio.get_running_loop(), stop))
        await converse(self._replica, self._board, self._urls, stop)

    def __repr__(self) -> str:
        shown = ", ".join(f"{url}: {state.phase.value}" for url, state in self.states().items())
        return f"<Sync {shown or ', '.join(self._urls)}>"


class Syncing:
    """All syncs of one space."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._board = Board()
        self._register = Register()
        self._syncs: list[Sync] = []

    def start(self, urls: Sequence[str]) -> Sync:
        """Start one in the background."""
        check_urls(urls)
        self._syncs = [sync for sync in self._syncs if sync.is_running]
        self._register.claim(urls)
        self._board.forget(urls)
        try:
            sync = Sync(self._engine, self._board, urls, lambda: self._register.release(urls))
        except BaseException:
            self._register.release(urls)
            raise
        self._syncs.append(sync)
        return sync

    async def run(self, urls: Sequence[str]) -> None:
        """Sync in the running loop, until cancelled."""
        check_urls(urls)
        self._register.claim(urls)
        self._board.forget(urls)
        try:
            await converse(SpaceReplica(self._engine, self._board.post), self._board, urls, asyncio.Event())
        finally:
            self._register.release(urls)

    def states(self) -> dict[str, SyncState]:
        """Give the latest state of every conversation."""
        _, states = self._board.read()
        return states

    def watch(self, callback: OnStates, call_soon: CallSoon | None, on_error: OnError | None) -> Callable[[], None]:
        """Call back with the states; give the function that ends that."""
        return self._board.watch(callback, call_soon, on_error)

    def close(self) -> None:
        """End all background syncs, and with that said, call nobody back any more."""
        self.stop()
        self._board.close()

    def stop(self) -> None:
        """End all background syncs."""
        for sync in self._syncs:
            sync.stop()


async def converse(replica: SpaceReplica, board: Board, urls: Sequence[str], stop: asyncio.Event) -> None:
    """Run a driver for each relay until `stop` is set."""
    async with asyncio.TaskGroup() as tasks:
        for url in urls:
            tasks.create_task(_converse_with(replica, board, url, stop))


async def _converse_with(replica: SpaceReplica, board: Board, url: str, stop: asyncio.Event) -> None:
    """Run one relay's driver. What it fails of is logged and shown, and leaves the others alone."""
    ended = "the sync has ended"
    try:
        await run(replica, url, connect, stop=stop, seed=secrets.randbits(64))
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not end the others
        _log.exception("the sync with %s has ended", url)
        cause = _first_cause(error)
        ended = f"the sync has ended: {type(cause).__name__}: {cause}"
    finally:
        _, states = board.read()
        if url not in states or states[url].phase not in OVER:
            board.post(url, SyncState(Phase.STOPPED, ended))


def _first_cause(error: Exception) -> Exception:
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def check_urls(urls: Sequence[str]) -> None:
    """Raise `InvalidAddress` for what cannot be a relay's address."""
    if not urls:
        raise InvalidAddress("no relay to sync with; give its address, such as wss://relay.example")
    for url in urls:
        if not _is_address(url):
            raise InvalidAddress(
                f"{url!r} is not a relay's address; give one such as wss://relay.example or ws://localhost:8787"
            )
    if len(set(urls)) != len(urls):
        raise InvalidAddress("the same relay is named twice; name it once")


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        # The port is read here only, and may be no number.
        return parts.scheme in SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False

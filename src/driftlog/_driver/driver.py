"""The only loop: it performs the effects of a device's session, and decides nothing.

    await run(replica, "wss://relay.example", connect, stop=stop, seed=seed)

Inputs come from four places: the socket, the replica's answers, the timer, and the replica's changes. They meet in one
inbox and are taken one at a time. The replica is asked on a worker thread, one call after the other; frames are received
meanwhile, bounded by what the session lets the relay send. What people are to be shown goes along with a call where one is
due: a session says how it stands about as often as it asks for anything, and a thread's turn costs more than saying it.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from typing import Final, assert_never

from driftlog._driver.replica import Replica
from driftlog._protocol import device_values as dv
from driftlog._protocol.device import Session, Stopped, step
from driftlog._transport.base import Connect, Connection, ConnectionLost
from driftlog.errors import DriftlogError, StorageError

FRAMES_WAITING_MAX: Final = 32
"""More than an honest relay sends unasked; a relay that floods is read no further."""


async def run(replica: Replica, url: str, connect: Connect, *, stop: asyncio.Event, seed: int) -> None:
    """Keep a replica and a relay together until `stop` is set.

    `seed` (below 2**64) draws the back-off: give each device another. Returns after everything asked of the replica is
    done; no task is left, also when it is cancelled. A replica's error that is no `DriftlogError` is raised, in an
    `ExceptionGroup`.
    """
    await _Driver(replica, url, connect).run(stop, seed)


class _Driver:
    def __init__(self, replica: Replica, url: str, connect: Connect) -> None:
        self._replica = replica
        self._url = url
        self._connect = connect
        self._loop = asyncio.get_running_loop()
        self._inbox: asyncio.Queue[dv.Input] = asyncio.Queue()
        self._jobs: deque[dv.Job] = deque()
        self._is_all_asked = False
        self._work_waits = asyncio.Event()
        self._room = asyncio.Semaphore(FRAMES_WAITING_MAX)
        self._connection: Connection | None = None
        self._line: asyncio.Task[str] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_change_waiting = False

    async def run(self, stop: asyncio.Event, seed: int) -> None:
        unsubscribe = self._replica.on_change(self._on_change)
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                worker = tasks.create_task(self._work())
                stopper = tasks.create_task(self._await_stop(stop))
                try:
                    await self._converse(Session(seed))
                    self._is_all_asked = True
                    self._work_waits.set()
                    await worker
                finally:
                    stopper.cancel()
                    await self._close("the session has ended")
        finally:
            unsubscribe()

    async def _converse(self, session: Session) -> None:
        self._inbox.put_nowait(dv.Start())
        # What changed before anybody listened is counted too.
        self._changed()
        while not isinstance(session.state, Stopped):
            event = await self._inbox.get()
            match event:
                case dv.FrameReceived():
                    self._room.release()
                case dv.LocalChange():
                    self._is_change_waiting = False
                    # Counted now: whatever is in the count is in what the replica will be asked for.
                    event = dv.LocalChange(self._replica.change_count())
                case _:
                    pass
            session, effects = step(session, event)
            for effect in effects:
                await self._perform(effect)

    async def _perform(self, effect: dv.Effect) -> None:
        match effect:
            case dv.Connect():
                self._line = self._tasks.create_task(self._hold_line())
                # Not within the task: one that is cancelled before its first step never runs a line.
                self._line.add_done_callback(self._line_ended)
            case dv.Send(data):
                await self._send(data)
            case dv.Close(reason):
                await self._close(reason)
            case dv.SetTimer(delay_ms):
                self._set_timer(delay_ms)
            case (
                dv.LoadGreeting()
                | dv.SignHello()
                | dv.LoadKnownHeads()
                | dv.Apply()
                | dv.LoadOutgoing()
                | dv.Confirm()
                | dv.LookAround()
                | dv.Report()
            ):
                self._jobs.append(effect)
                self._work_waits.set()
            case _:
                assert_never(effect)

    async def _hold_line(self) -> str:
        """Open a connection and receive from it until it ends; give the reason."""
        self._room = asyncio.Semaphore(FRAMES_WAITING_MAX)
        try:
            async with self._connect(self._url) as connection:
                self._connection = connection
                self._inbox.put_nowait(dv.Connected())
                while True:
                    await self._room.acquire()
                    self._inbox.put_nowait(dv.FrameReceived(await connection.receive()))
        except ConnectionLost as error:
            return str(error)
        except asyncio.CancelledError as error:
            # Hung up by us: the reason comes with the cancellation. The task ends here either way.
            return str(error)
        finally:
            self._connection = None

    def _line_ended(self, line: asyncio.Task[str]) -> None:
        is_failed = line.cancelled() or line.exception() is not None
        self._inbox.put_nowait(dv.Disconnected("" if is_failed else line.result()))

    async def _send(self, data: bytes) -> None:
        if self._connection is not None:
            try:
                await self._connection.send(data)
            except ConnectionLost as error:
                await self._close(str(error))

    async def _close(self, reason: str) -> None:
        """End the line, whether it is open or still being opened."""
        if self._timer is not None:
            self._timer.cancel()
        if self._connection is not None:
            await self._connection.close(reason)
        if self._line is not None:
            self._line.cancel(reason)
            await asyncio.wait([self._line])

    def _set_timer(self, delay_ms: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(delay_ms / 1000, self._inbox.put_nowait, dv.TimerFired())

    def _on_change(self) -> None:
        # From any thread; once the loop is closed nobody is left to tell.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._changed)

    def _changed(self) -> None:
        # One change that waits is as good as many.
        if not self._is_change_waiting:
            self._is_change_waiting = True
            self._inbox.put_nowait(dv.LocalChange(0))

    async def _await_stop(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._inbox.put_nowait(dv.Shutdown())

    async def _work(self) -> None:
        """Ask the replica, one call after the other."""
        while self._jobs or not self._is_all_asked:
            self._work_waits.clear()
            jobs = take_together(self._jobs)
            if not jobs:
                await self._work_waits.wait()
                continue
            call = self._loop.run_in_executor(None, self._ask_all, jobs)
            try:
                await asyncio.wait([call])
            except asyncio.CancelledError:
                # A thread cannot be cancelled: whoever closes the replica after us must find it at rest.
                await asyncio.wait([call])
                raise
            answer = call.result()
            if answer is not None:
                self._inbox.put_nowait(answer)

    def _ask_all(self, jobs: Sequence[dv.Job]) -> dv.Answer | None:
        """Do jobs of which one at most has an answer."""
        answers = [answer for job in jobs if (answer := self._ask(job)) is not None]
        assert len(answers) <= 1, f"{jobs} had {len(answers)} answers"
        return answers[0] if answers else None

    def _ask(self, job: dv.Job) -> dv.Answer | None:
        replica, url = self._replica, self._url
        try:
            match job:
                case dv.LoadGreeting(connection):
                    return dv.Greeted(connection, replica.greeting(url))
                case dv.SignHello(connection, message):
                    return dv.Signed(connection, replica.sign_hello(message))
                case dv.LoadKnownHeads(connection, relay):
                    return dv.Known(connection, replica.known_heads(relay))
                case dv.Apply(connection, birthday, envelopes, cursor):
                    return dv.Applied(connection, replica.apply(url, birthday, envelopes, cursor))
                case dv.LoadOutgoing(connection, relay_has, skipped, bytes_max):
                    return dv.Outgoing(connection, tuple(replica.outgoing(relay_has, skipped, bytes_max)))
                case dv.Confirm(_, birthday, head, is_all):
                    replica.confirm(url, birthday, head, is_all=is_all)
                case dv.LookAround():
                    replica.look_around()
                case dv.Report(state):
                    replica.report(url, state)
                case _:
                    assert_never(job)
        except DriftlogError as error:
            if not isinstance(job, dv.Report):
                return dv.ReplicaFailed(job.connection, str(error), isinstance(error, StorageError))
            raise
        return None


def take_together(jobs: deque[dv.Job]) -> list[dv.Job]:
    """Take the next call off a queue, with the reports around it, in order; of those in a row the last is what counts."""
    taken: list[dv.Job] = []
    has_call = False
    while jobs and (isinstance(jobs[0], dv.Report) or not has_call):
        job = jobs.popleft()
        is_report = isinstance(job, dv.Report)
        if is_report and taken and isinstance(taken[-1], dv.Report):
            taken.pop()
        has_call = has_call or not is_report
        taken.append(job)
    return taken

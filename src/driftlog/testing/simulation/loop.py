"""An event loop without clock, threads or sockets: hosts take turns, as a seed draws, and time passes when all are idle.

A host stands for a process. What it has to do waits in lanes, one for its event loop and one for each executor; within a
lane work is done in order, as a loop and a thread would, and which lane is next is drawn. So whatever two processes, or a
loop and its threads, may do in any order is tried in every order, and asyncio's own promises are kept.
"""

import asyncio
import heapq
import random
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from functools import partial
from typing import Any, Final, TypeVar

from driftlog.testing.simulation.trace import Trace

TASKS_DONE_MAX: Final = 32
"""Of a host are remembered at most so many tasks that are done: to forget each at once would cost a step for each."""
STEPS_MAX: Final = 400_000
"""Of one run: a usual one takes some thousands, so this many mean that something goes round in circles."""

_T = TypeVar("_T")
# `Any` stands for what asyncio's own interface passes through without looking at it.


class Endless(Exception):
    """Work makes more work, and none of it ends."""


class Killed(BaseException):
    """The process that runs this is to die here, in the middle of what it does."""


class Lane:
    """Work that is done in order."""

    __slots__ = ("host", "is_ready", "number", "queue")

    def __init__(self, host: "Host", number: int) -> None:
        self.host = host
        self.number = number
        self.queue: deque[Callable[[], object]] = deque()
        self.is_ready = False


class Host:
    """A process: its lanes, and the tasks that began in it."""

    def __init__(self, loop: "VirtualLoop", name: str) -> None:
        self.name = name
        self.is_alive = True
        self.is_paused = False
        self.is_doomed = False
        """It dies as soon as what it is doing is left."""
        self.steps_left: int | None = None
        """Set to die after so many more steps."""
        self._is_dying = False
        self._loop = loop
        self.main = loop.new_lane(self)
        """What its event loop does."""
        self._lanes: dict[object, Lane] = {"loop": self.main}
        self._tasks: list[asyncio.Task[Any]] = []
        self._calls: dict[asyncio.Future[Any], None] = {}

    def post(self, callback: Callable[..., object], *arguments: object) -> None:
        """Have something done on this host's event loop."""
        if self.is_alive:
            self._loop.put(self.main, partial(callback, *arguments))

    def post_in(self, delay_ms: int, callback: Callable[..., object], *arguments: object) -> None:
        """Have something done on this host's event loop after a while."""
        self._loop.at(self._loop.now_ms + delay_ms, self, partial(callback, *arguments))

    def run(self, coroutine: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        """Begin a task on this host."""
        with self._loop.as_host(self):
            return self._loop.create_task(coroutine)

    def pause(self) -> None:
        """Do nothing until `resume`, however much there is to do."""
        self.is_paused = True

    def resume(self) -> None:
        """Go on."""
        self.is_paused = False
        for lane in self._lanes.values():
            self._loop.look_at(lane)

    def kill(self) -> None:
        """End every task, without another word to anybody: what the tasks still do, they do for nobody.

        Cancelling is how Python takes leave of coroutines, not something that a dying process does; whoever calls this has
        taken disk and network away first.
        """
        self.is_paused = False
        self._is_dying = True
        with self._loop.as_host(self):
            for call in list(self._calls):
                call.cancel()
            for task in self._undone():
                task.cancel()
            while self.main.queue:
                self.main.queue.popleft()()
        assert not self._undone(), f"{self.name} has died, and these still wait: {self._undone()}"
        self.is_alive = False
        for lane in self._lanes.values():
            lane.queue.clear()

    # --- what the loop asks ------------------------------------------------------------------------------------------

    def lane(self, executor: object) -> Lane:
        """Give the lane of an executor."""
        found = self._lanes.get(executor)
        if found is None:
            found = self._lanes[executor] = self._loop.new_lane(self)
        return found

    def adopt(self, task: asyncio.Task[Any]) -> None:
        """Remember a task until it is done."""
        if len(self._tasks) >= TASKS_DONE_MAX:
            self._tasks = self._undone()
        self._tasks.append(task)

    def _undone(self) -> list[asyncio.Task[Any]]:
        return [task for task in self._tasks if not task.done()]

    def call(self, executor: object, function: Callable[..., _T], arguments: tuple[Any, ...]) -> asyncio.Future[_T]:
        """Do a blocking call on the lane of its executor."""
        answer: asyncio.Future[_T] = asyncio.Future(loop=self._loop)
        if self._is_dying:
            answer.cancel()
            return answer
        self._calls[answer] = None

        def work() -> None:
            self._calls.pop(answer, None)
            try:
                result = function(*arguments)
            except Killed:
                # A dead process gives no answer; whoever waits for it is dead, too.
                self.is_doomed = True
                self._calls[answer] = None
            except Exception as error:  # noqa: BLE001 - it is raised where the call is awaited
                if not answer.done():
                    answer.set_exception(error)
            else:
                if not answer.done():
                    answer.set_result(result)

        self._loop.put(self.lane(executor), work)
        return answer


class _AsHost:
    def __init__(self, loop: "VirtualLoop", host: Host) -> None:
        self._loop = loop
        self._host = host

    def __enter__(self) -> None:
        self._before, self._loop.host = self._loop.host, self._host

    def __exit__(self, *_: object) -> None:
        self._loop.host = self._before


class VirtualLoop(asyncio.AbstractEventLoop):
    """The loop that all hosts share. `now_ms` is the world's time, in milliseconds since 1970."""

    def __init__(self, rng: random.Random, trace: Trace, now_ms: int) -> None:
        self.now_ms = now_ms
        self.trace = trace
        self.on_killed: Callable[[Host], None] = lambda _: None
        self.failures: list[BaseException] = []
        """What nobody caught."""
        self.steps = 0
        self._rng = rng
        self._ready: list[Lane] = []
        self._timers: list[tuple[int, int, Host, Callable[[], object], asyncio.TimerHandle | None]] = []
        self._timer_count = 0
        self._lane_count = 0
        self.host = self._nobody = Host(self, "nobody")

    # --- running -----------------------------------------------------------------------------------------------------

    def step(self) -> bool:
        """Do one thing that is ready; tells whether there was any."""
        ready = self._ready
        while ready:
            at = int(self._rng.random() * len(ready)) if len(ready) > 1 else 0
            lane = ready[at]
            if not lane.queue or lane.host.is_paused or not lane.host.is_alive:
                lane.is_ready = False
                ready[at] = ready[-1]
                ready.pop()
                continue
            self.steps += 1
            if self.steps > STEPS_MAX:
                raise Endless(f"{STEPS_MAX} steps, and no end")
            self.trace.step(lane.number)
            self.host = lane.host
            lane.queue.popleft()()
            host = lane.host
            if host.steps_left is not None:
                host.steps_left -= 1
                host.is_doomed = host.is_doomed or host.steps_left < 0
            # Nobody's turn: who does something to a process from outside says which, with `as_host`.
            self.host = self._nobody
            if host.is_doomed and host.is_alive:
                self.on_killed(host)
            return True
        return False

    def run_until(self, time_ms: int) -> None:
        """Do all that is to be done up to a time, and let it become that time."""
        while True:
            while self.step():
                pass
            if not self._timers or self._timers[0][0] > time_ms:
                break
            self._fire()
        self.now_ms = max(self.now_ms, time_ms)

    def warp(self, delay_ms: int) -> None:
        """Let time pass while every process sleeps, as in a shut laptop: what was due meanwhile is due when they wake."""
        self.now_ms += delay_ms
        while self._timers and self._timers[0][0] <= self.now_ms:
            self._fire()

    def _fire(self) -> None:
        at_ms, _, host, callback, handle = heapq.heappop(self._timers)
        self.now_ms = max(self.now_ms, at_ms)
        if handle is None or not handle.cancelled():
            host.post(callback)

    def at(
        self, time_ms: int, host: Host, callback: Callable[[], object], handle: asyncio.TimerHandle | None = None
    ) -> None:
        """Have something done on a host at a time, unless the handle is cancelled before."""
        self._timer_count += 1
        heapq.heappush(self._timers, (time_ms, self._timer_count, host, callback, handle))

    def put(self, lane: Lane, work: Callable[[], object]) -> None:
        """Add to a lane."""
        lane.queue.append(work)
        if not lane.is_ready:
            self.look_at(lane)

    def look_at(self, lane: Lane) -> None:
        """Let a lane take its turns if there is something in it."""
        if lane.queue and not lane.is_ready and not lane.host.is_paused:
            lane.is_ready = True
            self._ready.append(lane)

    def new_lane(self, host: Host) -> Lane:
        """Make a lane."""
        self._lane_count += 1
        return Lane(host, self._lane_count)

    def as_host(self, host: Host) -> _AsHost:
        """Let what is begun in a `with` block begin on a host."""
        return _AsHost(self, host)

    def __enter__(self) -> "VirtualLoop":
        events._set_running_loop(self)
        return self

    def __exit__(self, *_: object) -> None:
        events._set_running_loop(None)

    # --- what asyncio asks of a loop -----------------------------------------------------------------------------------

    def time(self) -> float:
        return self.now_ms / 1000

    def call_soon(  # type: ignore[override]  # asyncio ties arguments to callback
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = _Soon(callback, args, self, context)
        self.put(self.host.main, handle)
        return handle

    def call_soon_threadsafe(  # type: ignore[override]  # asyncio ties arguments to callback
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def call_later(  # type: ignore[override]  # asyncio ties arguments to callback
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]  # asyncio ties arguments to callback
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self.at(round(when * 1000), self.host, _runner(handle), handle)
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """asyncio tells of timers that it takes back; they are passed over when they are due."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=self, **options)
        self.host.adopt(task)
        return task

    def run_in_executor(self, executor: Any, func: Callable[..., _T], *args: Any) -> asyncio.Future[_T]:  # type: ignore[override]  # typeshed takes an argument list that mypy cannot match here
        return self.host.call(executor, func, args)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.failures.append(error if isinstance(error, BaseException) else RuntimeError(str(context.get("message"))))

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False


class _Soon(asyncio.Handle):
    """A handle that is work itself."""

    __slots__ = ()

    def __call__(self) -> None:
        if not self._cancelled:
            self._run()


def _runner(handle: asyncio.Handle) -> Callable[[], None]:
    def run() -> None:
        if not handle.cancelled():
            handle._run()

    return run

"""The watching half of a space: what it tells an app by itself, and compares with others. Each says who is called when."""

from collections.abc import AsyncIterator, Callable, Sequence

from driftlog._core.clock import Timestamp
from driftlog._protocol.device_values import SyncState
from driftlog._sqlite.rows import Parameters
from driftlog.space.answer import Answer, CallSoon, OnAnswer, OnError, Subscription
from driftlog.space.effects import Effects
from driftlog.space.engine import Engine
from driftlog.space.iterating import answers
from driftlog.space.past import check_timestamp
from driftlog.space.settling import settle
from driftlog.space.status import Comparison, Verdict
from driftlog.space.syncing import Syncing


class Watching:
    """What of a `Space` calls back."""

    _engine: Engine
    _effects: Effects
    _syncing: Syncing

    def subscribe(
        self,
        sql: str,
        callback: OnAnswer,
        parameters: Parameters = (),
        *,
        key: Sequence[str] | None = None,
        call_soon: CallSoon | None = None,
        on_error: OnError | None = None,
    ) -> Subscription:
        """Call back with a query's answer, now and whenever a transaction has made it another one.

        `answer` is a sequence of rows, and `answer.difference` says what was added, removed, changed and moved since the
        last. Rows are told apart by the primary key, where each row of the answer is a row of one table and shows it; by the
        columns that `key` names; otherwise by all of their values.

        Called after the commit, without any lock of the space, in the thread that wrote, or in another that is calling
        back already; with `call_soon`, in the thread to which that takes a function (`loop.call_soon_threadsafe`). However
        much changes before it is called, only the newest answer is told. A callback's queries see the state it is told of,
        until it writes itself. What a callback raises goes to `on_error`, or is logged by the logger `driftlog`, and ends
        nothing. `docs/live.md` says which changes run a query again.

        Raises `ForbiddenSQL` for what is not one query, or gives another answer whenever it is asked, as random() does.
        """
        return self._engine.subscribe(
            sql, parameters, callback, key=None if key is None else tuple(key), call_soon=call_soon, on_error=on_error
        )

    def live(self, sql: str, parameters: Parameters = (), *, key: Sequence[str] | None = None) -> AsyncIterator[Answer]:
        """Give a query's answers as they change: `async for answer in space.live(sql)`. See `subscribe`.

        Whoever is slow gets the newest answer, and its difference against the one it got before. The query is run in the
        event loop's thread. It ends when the space is closed; an error of the machine is raised.
        """

        def subscribe(callback: OnAnswer, call_soon: CallSoon, on_error: OnError) -> Subscription:
            return self.subscribe(sql, callback, parameters, key=key, call_soon=call_soon, on_error=on_error)

        return answers(subscribe)

    def subscribe_sync(
        self,
        callback: Callable[[dict[str, SyncState]], object],
        *,
        call_soon: CallSoon | None = None,
        on_error: OnError | None = None,
    ) -> Callable[[], None]:
        """Call back with how this space stands with each relay, by URL: now, and whenever that has become something else.

        Gives the function that ends that: no call begins after it. Called without any lock, in the thread that brought the
        news, which is the sync's own and waits; so such a callback must not stop that sync, nor close the space. With
        `call_soon`, in the thread to which that takes a function, and there it may. However much changes before it is
        called, only the newest is told. Errors go where those of `subscribe` go.

        A relay with which no conversation was begun since the space was opened is not among them. What no relay is known to
        hold is in a view: `driftlog_pending`.
        """
        self._engine.check_open()
        return self._syncing.watch(callback, call_soon, on_error)

    def on_verdict(self, callback: Callable[[Verdict], None], *, of_all_devices: bool = False) -> Callable[[], None]:
        """Call back whenever an event of this device becomes rejected, or is accepted again; of any device, if you say so.

        Being undone and redone are changes, too; `verdict.state` tells them apart.

        Gives the function that ends that: no call begins after it. Each change is told once, in the order of the commits and
        within one in that of the log, after the commit, without any lock of the space, by some thread that wrote to it. So a
        call that wrote may return before its changes were told, if another thread is telling. A callback may use the space;
        it keeps the next ones waiting. What it raises is logged by the logger `driftlog` and ends nothing.

        Only what this open space takes in is told: after a restart, or where several processes have the file open,
        `rejected()` says how things stand. An event is accepted where it is appended, and that is not told.
        """
        self._engine.check_open()
        return self._engine.telling.add(callback, is_for_all=of_all_devices)

    @property
    def settled(self) -> Timestamp | None:
        """The last event of the part of the order in which nothing can change any more; None while there is none.

        Every device of which this one holds anything has been heard from past it, on all branches where a key has forked, so
        nothing can come before it any more, and what became of it and all before it stays. A device that is silent holds it
        back: `status()` names it. It says nothing of devices nobody here has heard of, as one that was invited and has not
        synced yet, and of copies of devices that have not shown themselves: what these bring still takes its place, and may
        put `settled` back. An undo of settled events is a new event.

        Reads a row for each device.
        """
        return self._engine.settled()

    def run_effects(self) -> int:
        """Do what the app's effects say for all events that were settled since the last call, and give how many there were.

        Call it on the one device that is to do them, now and then or from `on_settled`; in one process at a time. What an
        effect raises is passed on: that one is tried again by the next call, and those after it wait, so that the order
        stands. An event that arrives behind the mark, from a device nobody had heard of, has no effect any more.
        """
        return self._effects.run(lambda effect, entry: effect(self, entry))

    def on_settled(self, timestamp: Timestamp, callback: Callable[[Timestamp], None]) -> Callable[[], None]:
        """Call back once, with what is then settled, as soon as an event is: before this returns, if it is already.

        Gives the function that ends the wait. How callbacks are called, and what becomes of their errors, is as with
        `on_verdict`. A wait ends with the space.
        """
        self._engine.check_open()
        check_timestamp(timestamp)

        def reached(settled: Timestamp | None) -> None:
            if settled is not None:
                callback(settled)

        remove = self._engine.telling.settling.add(timestamp, reached)
        self._engine.telling.deliver()
        return remove

    async def asettle(self, timestamp: Timestamp) -> Timestamp:
        """Wait until an event is settled, and give what is settled then; raises `Closed` if the space is closed before."""
        self._engine.check_open()
        check_timestamp(timestamp)
        telling = self._engine.telling
        return await settle(telling.settling, telling.deliver, timestamp, self._engine.path)

    def state_digest(self) -> Timestamp | None:
        """State the digest of the view to the other devices, as an event, and give its timestamp.

        None if this device has said just that last, or another thread has written meanwhile. Syncing does it by itself, at
        most once an hour and after a minute of quiet; exchange by other means calls it. Changes no view. Reads every row.
        """
        return self._engine.comparing.state()

    def compare_digests(self) -> tuple[Comparison, ...]:
        """Compare the view with what other devices have stated about theirs, and give what came of it.

        Compared is what is about the events that this device holds, neither more nor less, and the same version of the app.
        Where there is a difference, the view is rebuilt from the log, at most once a day, and `status()` says what that made
        of it. Syncing does it by itself; exchange by other means calls it. Reads every row if there is anything to compare.
        """
        return self._engine.comparing.compare()

    def on_divergence(self, callback: Callable[[Comparison], None]) -> Callable[[], None]:
        """Call back when this device's view is found to differ from another's, after what was done about it.

        Gives the function that ends that. Called without any lock; what it raises is logged and ends nothing.
        """
        self._engine.check_open()
        return self._engine.comparing.add(callback)

"""A live query as an async iterator: the newest answer whenever it is asked for the next, none in between."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress

from driftlog.space.answer import Answer, CallSoon, OnAnswer, OnError, Subscription

Subscribe = Callable[[OnAnswer, CallSoon, OnError], Subscription]


async def answers(subscribe: Subscribe) -> AsyncGenerator[Answer, None]:
    """Give answers until the space is closed, each with its difference against the one given before."""
    loop = asyncio.get_running_loop()
    news = asyncio.Event()
    newest: list[Answer] = []
    errors: list[Exception] = []

    def keep(answer: Answer) -> None:
        newest[:] = [answer]
        news.set()

    def fail(error: Exception) -> None:
        errors.append(error)
        loop.call_soon_threadsafe(news.set)

    def end() -> None:
        # From any thread; once the loop is closed nobody waits any more.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(news.set)

    subscription = subscribe(keep, loop.call_soon_threadsafe, fail)
    subscription.on_end = end
    given: Answer | None = None
    try:
        while not subscription.is_closed:
            await news.wait()
            news.clear()
            if errors:
                raise errors.pop()
            if subscription.is_closed or not newest:
                continue
            # What came in between was told and not given, so the difference is against what was given.
            answer = newest.pop()
            if given is not None:
                answer = answer.since(given)
                if not answer.difference:
                    # It came to be as it was.
                    continue
            given = answer
            yield answer
    finally:
        subscription.close()

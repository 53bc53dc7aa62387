"""Blocks of seeds, side by side in processes, until all are done or the time is over. For every long run.

What is asked for is a number, a time, or both; the first that is reached ends it. A block that has begun is ended, so a time
is kept as well as blocks are short. Whoever breaks a run off leaves no process behind, and each puts away its own files.
"""

import argparse
import multiprocessing
import signal
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import count, repeat
from types import FrameType
from typing import TypeVar, TypeVarTuple

Order = TypeVarTuple("Order")
Given = TypeVar("Given")


def add_limits(parser: argparse.ArgumentParser, noun: str, default: int) -> None:
    """Let a command line say `--NOUN N` and `--minutes M`."""
    parser.add_argument(
        f"--{noun}", type=int, help=f"how many (default: {default}, or as many as there is time for with --minutes)"
    )
    parser.add_argument("--minutes", type=float, help="begin nothing more after so long")


def limits(asked: argparse.Namespace, noun: str, default: int) -> tuple[int | None, float | None]:
    """Give how many were asked for, None for no end, and how many seconds."""
    number: int | None = getattr(asked, noun)
    minutes: float | None = asked.minutes
    if minutes is None:
        return default if number is None else number, None
    return number, minutes * 60


def spans(start: int, number: int | None, size: int) -> Iterator[tuple[int, int]]:
    """Cut so many seeds from `start` on, or all there are, into blocks: the first seed of each, and how many."""
    if number is None:
        yield from zip(count(start, size), repeat(size))
        return
    for first in range(start, start + number, size):
        yield first, min(size, start + number - first)


def side_by_side(
    work: Callable[[*Order], Given], orders: Iterable[tuple[*Order]], jobs: int, *, seconds: float | None = None
) -> Generator[Given]:
    """Do what is ordered in so many processes, and give what comes of each as soon as it is there, in no order.

    Orders are taken when a process is free for them, and none after so many `seconds`; there may be no end of them. One job
    is this process.
    """
    end = None if seconds is None else time.monotonic() + seconds
    wanted = _until(end, orders)
    if jobs == 1:
        for each in wanted:
            yield work(*each)
        return
    running: set[Future[Given]] = set()
    pool = ProcessPoolExecutor(jobs, initializer=_end_when_told)
    is_over = False
    try:
        while True:
            # No more than can begin at once: what waits could not be called off when the time is over.
            while len(running) < jobs and (order := next(wanted, None)) is not None:
                running.add(pool.submit(work, *order))
            if is_over := not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for ended in done:
                yield ended.result()
    finally:
        if not is_over:
            for child in multiprocessing.active_children():
                child.terminate()
        pool.shutdown(cancel_futures=True)


def _until(end: float | None, orders: Iterable[tuple[*Order]]) -> Iterator[tuple[*Order]]:
    for order in orders:
        if end is not None and time.monotonic() >= end:
            return
        yield order


def _end_when_told() -> None:
    """In a process of the pool: what is typed is for the one that began it, and its word ends this one as an error would."""

    def end(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, end)

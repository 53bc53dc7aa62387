"""Several devices of one new space in one process, and what a network would do for two of them."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from driftlog._crypto.keys import Entropy
from driftlog.space.app import App, system_clock
from driftlog.space.space import Space


def fleet(
    app: App,
    n: int,
    paths: Sequence[str | Path] | None = None,
    clocks: Sequence[Callable[[], int]] | None = None,
    entropy: Entropy | None = None,
) -> list[Space]:
    """Give `n` enrolled devices of one new space, in memory unless paths are given. They exchange nothing by themselves.

    `clocks` gives each device its own clock, in milliseconds; `entropy(count)` gives random bytes to all of them. Close
    the spaces when done.
    """
    if n < 1:
        raise ValueError(f"a fleet of {n} devices; ask for at least 1")
    for name, given in (("paths", paths), ("clocks", clocks)):
        if given is not None and len(given) != n:
            raise ValueError(f"{len(given)} {name} for {n} devices; give one for each")
    where: Sequence[str | Path] = paths if paths is not None else [":memory:"] * n
    clock_of = clocks if clocks is not None else [system_clock] * n
    draw = entropy if entropy is not None else os.urandom
    spaces = [app.open(where[0], clock=clock_of[0], entropy=draw)]
    link = spaces[0].invite()
    spaces += [app.join(where[i], link, clock=clock_of[i], entropy=draw) for i in range(1, n)]
    return spaces


def exchange(a: Space, b: Space) -> None:
    """Give each of two devices what it lacks of what the other holds, without a network."""
    while True:
        before = a.version_vector(), b.version_vector()
        b.receive(list(a.envelopes_for(b.version_vector())))
        a.receive(list(b.envelopes_for(a.version_vector())))
        # What `envelopes_for` held back, as it had to follow what has only now come in.
        a.seal()
        b.seal()
        if a.version_vector() == b.version_vector():
            return
        # Usually two rounds suffice. Where each holds every other envelope of a forked chain and waits for the rest, only
        # the next one can be offered: each round brings at least that, or the exchange would not end.
        assert before != (a.version_vector(), b.version_vector()), "two devices that exchanged everything hold the same"

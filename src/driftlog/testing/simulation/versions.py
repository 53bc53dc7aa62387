"""What a run is about: the versions of an app, and what its users do with each."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from driftlog.space.app import App
from driftlog.space.space import Space

Workload = Callable[[Space, random.Random], object]
"""Does what a user would do once: append a few events, or query and then append. Draws from the given `Random` only, and
raises whatever it finds wrong, `AssertionError` say. A `DriftlogError` that it lets through, such as `EventRejected`, is an
answer that users get, and no failure; `InvalidEvent` and `ForbiddenSQL` are mistakes of its own, and are."""


@dataclass(frozen=True, slots=True)
class Version:
    """A version of the app, and what users do who have it."""

    app: App
    workload: Workload

"""All kinds of fault: each a function that does it to a world, under its name."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from driftlog.testing.simulation.world import World

Inject = Callable[[World, random.Random], None]
"""Does it, with all chance taken from the given `Random`, and counts it when it has fired. Does nothing where it cannot be
done, for instance to a device that does not run."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind of fault."""

    name: str
    inject: Inject
    needs_older: bool
    """It can only fire where there is an older version of the app."""
    needs_drives: bool = False
    """It can only fire where some devices and relays are on drives."""


FAULTS: dict[str, Fault] = {}


def fault(inject: Inject) -> Inject:
    """Register a kind of fault under its function's name, read as words."""
    name = inject.__name__.replace("_", " ")
    FAULTS[name] = Fault(name, inject, needs_older=False)
    return inject


def fault_of_versions(inject: Inject) -> Inject:
    """Register a kind of fault that needs an older version of the app."""
    name = inject.__name__.replace("_", " ")
    FAULTS[name] = Fault(name, inject, needs_older=True)
    return inject


def fault_of_drives(inject: Inject) -> Inject:
    """Register a kind of fault that needs drives."""
    name = inject.__name__.replace("_", " ")
    FAULTS[name] = Fault(name, inject, needs_older=False, needs_drives=True)
    return inject

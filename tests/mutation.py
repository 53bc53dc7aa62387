"""Deliberate mistakes in the engine: each patches it for one test, which must then fail."""

from collections.abc import Callable

import pytest

Mutation = Callable[[pytest.MonkeyPatch], None]


class Mutants(dict[str, Mutation]):
    """Mistakes by what they are, in words."""

    def add(self, function: Mutation) -> Mutation:
        """Register a mistake under its function's name. For use as a decorator."""
        self[function.__name__.replace("_", " ")] = function
        return function

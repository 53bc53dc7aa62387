"""What a query's parameters are, and the values that are written in its text: known before any row is."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from driftlog._reactive.select import is_literal
from driftlog._sqlite.rows import Parameters
from driftlog._sqlite.sqltext import Kind, Token

_INTEGER_MAX: Final = (1 << 63) - 1


class Given:
    """The parameters of one statement."""

    def __init__(self, statement: Sequence[Token], given: Parameters) -> None:
        self._given = given
        self._variables = [token for token in statement if token.kind is Kind.VARIABLE]

    def value(self, tokens: Sequence[Token]) -> Any:
        """Give the value that is written, None for what is none or is not sure."""
        if not is_literal(tokens):
            return None
        token = tokens[-1]
        match token.kind:
            case Kind.STRING:
                return token.text[1:-1].replace("''", "'")
            case Kind.VARIABLE:
                return self._parameter(token)
            case _:
                number = int(token.text)
                return None if number > _INTEGER_MAX else -number if len(tokens) == 2 else number

    def with_more(self, end: int, names: Sequence[str]) -> tuple[Parameters, tuple[str, ...]] | None:
        """Give the parameters of the text before a place, and how to write more after them; None if that is not sure."""
        texts = [variable.text for variable in self._variables]
        if all(text == "?" for text in texts):
            before = sum(variable.start < end for variable in self._variables)
            if before and isinstance(self._given, Mapping):
                return None
            return tuple(self._given)[:before], ("?",) * len(names)
        is_free = not any(text.startswith("?") or text[1:] in names for text in texts)
        if isinstance(self._given, Mapping) and is_free:
            return self._given, tuple([f":{name}" for name in names])
        return None

    def _parameter(self, token: Token) -> Any:
        texts = [variable.text for variable in self._variables]
        if isinstance(self._given, Mapping):
            # Where all are named, a name is all there is to it.
            return None if any(text.startswith("?") for text in texts) else self._given.get(token.text[1:])
        given = list(self._given)
        if all(text == "?" for text in texts):
            place = [variable.start for variable in self._variables].index(token.start)
        elif all(text[0] == "?" and len(text) > 1 for text in texts):
            place = int(token.text[1:]) - 1
        else:
            # Mixed forms number each other.
            return None
        return given[place] if 0 <= place < len(given) else None

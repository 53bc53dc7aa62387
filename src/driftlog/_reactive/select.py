"""The part of a query's text that says which rows count: its tables, and the outermost ANDs of its WHERE.

It reads one plain SELECT: no subquery, no compound, no WITH. Of anything else, and of every form that it does not know, it
says nothing, so that such a query counts as reading all rows. An ON says as much as a WHERE where no join is an outer one.
A condition of WHERE holds of every row of the answer, outer joins or not, since those that a join filled with NULL fail it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from driftlog._sqlite.sqltext import Kind, Token, fold

_CLAUSES: Final = frozenset({"WHERE", "GROUP", "HAVING", "ORDER", "LIMIT"})
_JOINING: Final = frozenset({"JOIN", "NATURAL", "LEFT", "RIGHT", "FULL", "OUTER", "INNER", "CROSS"})
_OUTER: Final = frozenset({"NATURAL", "LEFT", "RIGHT", "FULL", "OUTER"})
_UNKNOWN: Final = frozenset({"UNION", "INTERSECT", "EXCEPT", "WITH", "WINDOW", "CASE", "EXPLAIN", "INDEXED", "VALUES"})
"""Words with which a condition may mean something else than its outermost ANDs say; some of them may also be names."""

OPERATORS_AFTER: Final = frozenset({"ISNULL", "NOTNULL"})
"""Words that stand where a name for a column of the answer could, and compute something else from what is before them."""

Term = tuple[Token, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """A table in FROM, and the name by which its columns go. Folded."""

    table: str
    alias: str


@dataclass(frozen=True, slots=True)
class Select:
    """A plain SELECT."""

    sources: tuple[Source, ...]
    terms: tuple[Term, ...]
    """What holds of every row that has a part in the answer."""
    is_row_by_row: bool
    """Whether each row of the answer stands for one row of each table: no grouping, no DISTINCT."""
    columns: tuple[Token, ...] = ()
    """What the answer shows, between SELECT and FROM."""
    clauses: Mapping[str, tuple[Token, ...]] = field(default_factory=dict)
    """Others as they are written, by their first words; "" for FROM."""


def parse_select(statement: Sequence[Token]) -> Select | None:
    """Read a statement; None if it is not of the known form."""
    words = [token.word for token in statement]
    if words.count("SELECT") != 1 or words[0] != "SELECT" or words.count("FROM") != 1 or _UNKNOWN.intersection(words):
        return None
    if any(word == "IN" and after.text != "(" for word, after in zip(words, statement[1:], strict=False)):
        # `x IN tag` is a query of another table that does not look like one.
        return None
    at = words.index("FROM")
    if _depth(statement[:at]) != 0:
        return None
    clauses = _split_clauses(statement[at + 1 :])
    read = _sources(clauses.get("", ()))
    if read is None:
        return None
    sources, conditions, is_inner = read
    terms = list(_terms(clauses.get("WHERE", ())))
    if is_inner:
        for condition in conditions:
            terms += _terms(condition)
    is_row_by_row = words[1] != "DISTINCT" and not {"GROUP", "HAVING"} & clauses.keys()
    return Select(tuple(sources), tuple(terms), is_row_by_row, tuple(statement[1:at]), clauses)


def _depth(part: Sequence[Token]) -> int:
    return sum((token.text == "(") - (token.text == ")") for token in part)


def _split_clauses(rest: Sequence[Token]) -> dict[str, tuple[Token, ...]]:
    clauses: dict[str, list[Token]] = {"": []}
    current = clauses[""]
    depth = 0
    for token in rest:
        depth += (token.text == "(") - (token.text == ")")
        if depth == 0 and token.word in _CLAUSES:
            current = clauses.setdefault(token.word, [])
        else:
            current.append(token)
    return {name: tuple(part) for name, part in clauses.items()}


def _sources(part: Sequence[Token]) -> tuple[list[Source], list[Sequence[Token]], bool] | None:
    """Read `table [[AS] alias] [ON condition | USING (...)]`, joined by commas and joins."""
    sources: list[Source] = []
    conditions: list[Sequence[Token]] = []
    is_inner = True
    for piece, joined_by in _pieces(part):
        is_inner = is_inner and not _OUTER.intersection(joined_by)
        words = [token.word for token in piece]
        end = next((place for place, word in enumerate(words) if word in ("ON", "USING")), len(piece))
        named = [token for token in piece[:end] if token.word != "AS"]
        if not 1 <= len(named) <= 2 or not all(token.name for token in named):
            return None
        sources.append(Source(fold(named[0].name), fold(named[-1].name)))
        if end < len(piece) and words[end] == "ON":
            conditions.append(piece[end + 1 :])
    return sources, conditions, is_inner


def _pieces(part: Sequence[Token]) -> Iterator[tuple[Sequence[Token], frozenset[str]]]:
    piece: list[Token] = []
    joined_by: set[str] = set()
    depth = 0
    for token in part:
        depth += (token.text == "(") - (token.text == ")")
        if depth == 0 and (token.text == "," or token.word in _JOINING):
            if piece:
                yield piece, frozenset(joined_by)
                piece, joined_by = [], set()
            joined_by.add(token.word)
        else:
            piece.append(token)
    yield piece, frozenset(joined_by)


def _terms(condition: Sequence[Token]) -> list[Term]:
    """Split a condition at its outermost ANDs; nothing where an outermost OR makes each of them mean less."""
    terms: list[list[Token]] = [[]]
    depth = 0
    is_between = False
    for token in condition:
        depth += (token.text == "(") - (token.text == ")")
        if depth == 0 and token.word == "OR":
            return []
        if depth == 0 and token.word == "BETWEEN":
            is_between = True
        if depth == 0 and token.word == "AND" and not is_between:
            terms.append([])
            continue
        if depth == 0 and token.word == "AND":
            is_between = False
        terms[-1].append(token)
    found: list[Term] = []
    for term in terms:
        inner = _unwrapped(term)
        found += _terms(inner) if inner is not None else [tuple(term)]
    return found


def listed(tokens: Sequence[Token]) -> list[tuple[Token, ...]]:
    """Split a list at its outermost commas."""
    items: list[list[Token]] = [[]]
    depth = 0
    for token in tokens:
        depth += (token.text == "(") - (token.text == ")")
        if depth == 0 and token.text == ",":
            items.append([])
        else:
            items[-1].append(token)
    return [tuple(item) for item in items]


def _unwrapped(term: Sequence[Token]) -> Sequence[Token] | None:
    """Give what is within parentheses that are around all of a term."""
    if len(term) < 3 or term[0].text != "(":
        return None
    depth = 0
    for place, token in enumerate(term):
        depth += (token.text == "(") - (token.text == ")")
        if depth == 0:
            return term[1:-1] if place == len(term) - 1 else None
    return None


def is_literal(tokens: Sequence[Token]) -> bool:
    """Tell whether tokens are one value that is known before any row is: a parameter, a string or a whole number."""
    if len(tokens) == 2:
        return tokens[0].text == "-" and tokens[1].text.isdecimal()
    return len(tokens) == 1 and (
        tokens[0].kind in (Kind.VARIABLE, Kind.STRING) or (tokens[0].kind is Kind.NUMBER and tokens[0].text.isdecimal())
    )

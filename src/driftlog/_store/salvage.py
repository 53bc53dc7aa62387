"""Reading what can still be read of a damaged file: rows from both ends of a table, up to where SQLite stumbles.

Nothing is judged here but what cannot be a row of its table at all. Whatever a row says is for `restoring` to check.
"""

from collections.abc import Sequence
from typing import Any, Final

import apsw

PROBES_MAX: Final = 100_000
"""Row numbers tried one by one between the two places where reading stumbled."""


def rows_of(
    connection: apsw.Connection, table: str, columns: Sequence[str], key: Sequence[str]
) -> tuple[list[tuple[Any, ...]], str | None]:
    """Give the rows of a table, in no particular order, and what SQLite said if not all could be read."""
    listed = ", ".join(columns)
    found: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    said: str | None = None
    for direction in ("ASC", "DESC"):
        order = ", ".join(f"{name} {direction}" for name in key)
        try:
            for row in connection.execute(f"SELECT {', '.join(key)}, {listed} FROM {table} ORDER BY {order}"):
                found[row[: len(key)]] = row[len(key) :]
        except (apsw.Error, UnicodeDecodeError) as error:
            said = f"{type(error).__name__}: {error}"
            continue
        if said is None:
            break
    if said is not None and len(key) == 1:
        found |= _probed(connection, table, listed, key[0], found)
    return list(found.values()), said


def _probed(
    connection: apsw.Connection, table: str, listed: str, key: str, found: dict[tuple[Any, ...], tuple[Any, ...]]
) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """Try the numbers that nothing was found at, where rows are numbered closely."""
    numbers = sorted(number for (number,) in found if isinstance(number, int))
    if not numbers or numbers[-1] - numbers[0] > PROBES_MAX:
        return {}
    probed: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for number in set(range(numbers[0], numbers[-1])).difference(numbers):
        try:
            row = connection.execute(f"SELECT {listed} FROM {table} WHERE {key} = ?", (number,)).fetchone()
        except (apsw.Error, UnicodeDecodeError):
            continue
        if row is not None:
            probed[number,] = row
    return probed

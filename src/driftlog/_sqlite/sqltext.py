"""SQL as tokens: where names, keywords and statements begin and end, without being fooled by strings and comments.

The rules are those of SQLite's own tokenizer. What is left out is grammar: whether the tokens make sense is for SQLite
to say. Text that is no token at all (a lone quote, a control character) comes out as an operator, and SQLite refuses it
later with a better message than this file could give.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

RESERVED_PREFIXES = ("driftlog_", "sqlite_")
"""Names that begin so belong to the engine and to SQLite."""


class Kind(Enum):
    """What a token is."""

    WORD = "word"
    QUOTED = "quoted"
    STRING = "string"
    BLOB = "blob"
    NUMBER = "number"
    VARIABLE = "variable"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Token:
    """A token and its place: `sql[start:end] == text`."""

    kind: Kind
    text: str
    start: int
    end: int

    @property
    def word(self) -> str:
        """Give a bare word in upper case, to compare with keywords; "" for anything else, as nothing quoted is one."""
        return self.text.upper() if self.kind is Kind.WORD else ""

    @property
    def name(self) -> str:
        """Give what the token names, unquoted, and "" if it cannot be a name."""
        if self.kind is Kind.WORD:
            return self.text
        if self.kind is not Kind.QUOTED:
            return ""
        quote = self.text[0]
        return self.text[1:-1] if quote == "[" else self.text[1:-1].replace(quote * 2, quote)


# SQLite counts every character past ASCII as a letter, and only these five as space (\v is an error). A byte order mark
# is space where a token could begin, and a letter within a word. An unclosed block comment runs to the end, as there.
# The alternatives stand in order of precedence: a blob before a word that begins with x, a comment before a minus.
_TOKEN = re.compile(
    r"""
      (?P<space>    [ \t\n\f\r\ufeff]+ | --[^\n]* | /\*(?:.*?\*/|.*) )
    | (?P<blob>     [xX]'[^']*' )
    | (?P<string>   '(?:[^']|'')*' )
    | (?P<quoted>   "(?:[^"]|"")*" | `(?:[^`]|``)*` | \[[^\]]*\] )
    | (?P<word>     [A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]* )
    | (?P<number>   (?:0[xX][0-9A-Fa-f_]+ | (?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9][0-9_]*)?) )
    | (?P<variable> \?[0-9]* | [$@:\#][A-Za-z0-9_$\x80-\U0010ffff]+(?:::[A-Za-z0-9_$\x80-\U0010ffff]+)* )
    | (?P<operator> ->> | -> | \|\| | << | >> | <= | >= | <> | != | == | . )
    """,
    re.VERBOSE | re.DOTALL,
)


def tokens(sql: str) -> Iterator[Token]:
    """Yield the tokens of SQL text. Space and comments are not tokens."""
    for match in _TOKEN.finditer(sql):
        group = match.lastgroup
        assert group is not None, "every alternative is named"
        if group != "space":
            yield Token(Kind(group), match[0], match.start(), match.end())


def statements(sql: str) -> list[tuple[Token, ...]]:
    """Split a script into statements, each without its closing semicolon; empty ones are dropped.

    A trigger's body has semicolons of its own, so CREATE TRIGGER ends at the first `; END ;`, which is where
    `sqlite3_complete` sees its end. A test holds the two to the same answer.
    """
    found: list[tuple[Token, ...]] = []
    current: list[Token] = []
    for token in tokens(sql):
        if token.text != ";" or _is_in_trigger_body(current):
            current.append(token)
        elif current:
            found.append(tuple(current))
            current = []
    if current:
        found.append(tuple(current))
    return found


def _is_in_trigger_body(statement: Sequence[Token]) -> bool:
    words = [token.word for token in statement[:5] if token.word != "EXPLAIN"]
    if words[:2] not in (["CREATE", "TRIGGER"], ["CREATE", "TEMP"], ["CREATE", "TEMPORARY"]):
        return False
    if words[1] != "TRIGGER" and words[2:3] != ["TRIGGER"]:
        return False
    return not (statement[-1].word == "END" and statement[-2].text == ";")


def first_keyword(statement: Sequence[Token]) -> str:
    """Give the statement's first word in upper case, "" if it does not begin with a word."""
    return statement[0].word if statement else ""


def has_words(statement: Sequence[Token], *pattern: str) -> bool:
    """Tell whether these keywords or operators (upper case) stand side by side somewhere in the statement."""
    texts = [token.word or token.text for token in statement]
    width = len(pattern)
    return any(tuple(texts[at : at + width]) == pattern for at in range(len(texts) - width + 1))


def reserved_name(statement: Sequence[Token]) -> str | None:
    """Give the first name that belongs to the engine or to SQLite. A string literal is data and may say anything."""
    return next((token.name for token in statement if fold(token.name).startswith(RESERVED_PREFIXES)), None)


def source(sql: str, statement: Sequence[Token]) -> str:
    """Give the statement as it was written, from its first token to its last, inner comments included."""
    return sql[statement[0].start : statement[-1].end] if statement else ""


def excerpt(sql: str, chars_max: int = 60) -> str:
    """Shorten SQL to one line for an error message."""
    line = " ".join(sql.split())
    return line if len(line) <= chars_max else line[: chars_max - 3] + "..."


def quote(name: str) -> str:
    """Quote a name so that SQL reads it as that name, whatever it contains."""
    return '"' + name.replace('"', '""') + '"'


_ASCII_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


def fold(name: str) -> str:
    """Fold a name's case as SQLite does, A to Z only: `str.lower` makes one name of two that SQLite tells apart."""
    return name.translate(_ASCII_LOWER)


# --- functions that answer differently on every device ----------------------------------------------------------------

_CLOCK = "whose answer depends on the device's clock and time zone; use tx.wall_ms"
_RANDOM = "which gives another answer on every device; use tx.random_int(...)"
_CONNECTION = "which tells about this connection's history and not about the tables; use RETURNING, or read the tables"
_LAST_DIGIT = (
    "whose last digits are those of the machine's C library; compute it in Python from integers, or when reading"
)
_MACHINE = "which reaches outside the app's tables; leave it out"

_IMPURE = {
    **dict.fromkeys(("date", "time", "datetime", "julianday", "unixepoch", "strftime", "timediff"), _CLOCK),
    **dict.fromkeys(("current_date", "current_time", "current_timestamp"), _CLOCK),
    **dict.fromkeys(("random", "randomblob"), _RANDOM),
    **dict.fromkeys(("changes", "total_changes", "last_insert_rowid"), _CONNECTION),
    **dict.fromkeys(
        (
            "acos",
            "acosh",
            "asin",
            "asinh",
            "atan",
            "atan2",
            "atanh",
            "cos",
            "cosh",
            "exp",
            "ln",
            "log",
            "log10",
            "log2",
        ),
        _LAST_DIGIT,
    ),
    **dict.fromkeys(("pow", "power", "sin", "sinh", "tan", "tanh"), _LAST_DIGIT),
    **dict.fromkeys(("load_extension", "fts3_tokenizer", "rtreecheck"), _MACHINE),
}


def why_impure(function: str) -> str | None:
    """Say why a function may not be called where every device must get the same answer; None if it may.

    The date functions are refused whatever their arguments: `date(?, 'localtime')` cannot be told from a harmless call.
    """
    name = fold(function)
    return _MACHINE if name.startswith("sqlite_") else _IMPURE.get(name)

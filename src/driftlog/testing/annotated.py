"""Hypothesis strategies for the annotations of an event's fields, within the value domain of events.

msgspec says what an annotation means, constraints of `Annotated` included. What cannot be drawn from it (`Any`, a type
of the app's own, text that matches a pattern and more) is refused with what to give instead.
"""

import enum
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from msgspec import inspect as types

from driftlog._core.values import INT_MAX, INT_MIN

WORDS: Final = ("a", "b", "c")
"""Text is one of these more often than not: rows meet whose keys are the same."""

SMALL_MAX: Final = 3
"""Integers are from 0 to this more often than not, likewise."""

ITEMS_MAX: Final = 3
"""Of a list, map or set in an event."""

TEXT_CHARS_MAX: Final = 20

_ANY_TEXT: Final = st.characters(exclude_categories=["Cs"], exclude_characters="\0")


class CannotDraw(TypeError):
    """No value can be drawn from an annotation."""


def values(kind: types.Type, *, is_float_allowed: bool) -> SearchStrategy[Any]:
    """Draw values of a type, as msgspec describes it. Raises `CannotDraw`."""

    def inner(part: types.Type) -> SearchStrategy[Any]:
        return values(part, is_float_allowed=is_float_allowed)

    match kind:
        case types.Metadata():
            return inner(kind.type)
        case types.NoneType():
            return st.none()
        case types.BoolType():
            return st.booleans()
        case types.IntType():
            return _integers(kind)
        case types.FloatType():
            return _floats(kind, is_float_allowed)
        case types.StrType():
            return _text(kind)
        case types.BytesType():
            return st.binary(min_size=kind.min_length or 0, max_size=_size_max(kind.min_length, kind.max_length))
        case types.EnumType():
            return st.sampled_from(list[enum.Enum](kind.cls))
        case types.LiteralType():
            return st.sampled_from(kind.values)
        case types.UnionType():
            return st.one_of([inner(part) for part in kind.types])
        case types.UUIDType():
            return st.uuids()
        case types.DateType():
            return st.dates()
        case types.DateTimeType():
            return st.datetimes(timezones=st.none() if kind.tz is False else st.timezones())
        case types.DecimalType():
            return st.decimals(allow_nan=False, allow_infinity=False)
        case types.ListType() | types.VarTupleType() | types.SetType() | types.FrozenSetType():
            return _collections(kind, inner(kind.item_type))
        case types.TupleType():
            return st.tuples(*map(inner, kind.item_types))
        case types.DictType():
            sizes = _size_max(kind.min_length, kind.max_length)
            return st.dictionaries(
                inner(kind.key_type), inner(kind.value_type), min_size=kind.min_length or 0, max_size=sizes
            )
        case types.StructType() | types.DataclassType() | types.NamedTupleType():
            return st.builds(kind.cls, **{field.name: inner(field.type) for field in kind.fields})
        case types.TypedDictType():
            return st.fixed_dictionaries({field.name: inner(field.type) for field in kind.fields})
        case _:
            raise CannotDraw(f"{type(kind).__name__.removesuffix('Type')} says nothing of what may stand there")


def _integers(kind: types.IntType) -> SearchStrategy[int]:
    least = max(bound for bound in (INT_MIN, kind.ge, None if kind.gt is None else kind.gt + 1) if bound is not None)
    most = min(bound for bound in (INT_MAX, kind.le, None if kind.lt is None else kind.lt - 1) if bound is not None)
    step = kind.multiple_of or 1
    multiples = st.integers(-(-least // step), most // step)
    near = max(0, -(-least // step))
    if near <= most // step:
        multiples = st.one_of(st.integers(near, min(near + SMALL_MAX, most // step)), multiples)
    return multiples.map(lambda multiple: multiple * step)


def _floats(kind: types.FloatType, is_allowed: bool) -> SearchStrategy[float]:
    if not is_allowed:
        raise CannotDraw("the app is not declared with floats=True, so no event may hold a float")
    if kind.multiple_of is not None:
        raise CannotDraw("it is to be a multiple of a float")
    least, most = kind.ge if kind.gt is None else kind.gt, kind.le if kind.lt is None else kind.lt
    return st.floats(
        least,
        most,
        exclude_min=kind.gt is not None,
        exclude_max=kind.lt is not None,
        allow_nan=False,
        allow_infinity=False,
    )


def _text(kind: types.StrType) -> SearchStrategy[str]:
    least, most = kind.min_length or 0, kind.max_length
    if kind.pattern is not None:
        # As msgspec: the pattern is searched for. A NUL no event may hold.
        return st.from_regex(kind.pattern).filter(
            lambda text: "\0" not in text and least <= len(text) and (most is None or len(text) <= most)
        )
    size_max = max(least, TEXT_CHARS_MAX if most is None else min(most, TEXT_CHARS_MAX))
    any_text = st.text(_ANY_TEXT, min_size=least, max_size=size_max)
    words = [word for word in WORDS if least <= len(word) <= size_max]
    return st.one_of(st.sampled_from(words), any_text) if words else any_text


def _collections(kind: types.CollectionType, items: SearchStrategy[Any]) -> SearchStrategy[Any]:
    least, most = kind.min_length or 0, _size_max(kind.min_length, kind.max_length)
    match kind:
        case types.SetType():
            return st.sets(items, min_size=least, max_size=most)
        case types.FrozenSetType():
            return st.frozensets(items, min_size=least, max_size=most)
        case types.VarTupleType():
            return st.lists(items, min_size=least, max_size=most).map(tuple)
        case _:
            return st.lists(items, min_size=least, max_size=most)


def _size_max(least: int | None, most: int | None) -> int:
    return max(least or 0, ITEMS_MAX if most is None else min(most, ITEMS_MAX))

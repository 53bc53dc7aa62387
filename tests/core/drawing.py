"""What properties are drawn from: values, records, batches, heads. And `cases`, which makes a property deterministic.

Drawn cases come from a fixed seed, so that a run that fails here fails everywhere; the campaign is where new seeds are
looked for.
"""

from collections.abc import Callable
from typing import TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from driftlog._core.batch import Batch
from driftlog._core.clock import Hlc
from driftlog._core.event import Record
from driftlog._core.ids import BatchSeq, DeviceKey, EnvelopeHash
from driftlog._core.limits import HLC_MAX
from driftlog._core.version_vector import Head
from tests.vectors.formats import Entry
from tests.vectors.msgpack import pack

Test = TypeVar("Test", bound=Callable[..., object])

INT_MIN, INT_MAX = -(2**63), 2**63 - 1


def cases(count: int) -> Callable[[Test], Test]:
    """Run a property on `count` cases, the same ones each time, and never judge it by its speed."""

    def bound(test: Test) -> Test:
        return settings(
            max_examples=count,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        )(test)

    return bound


text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
"""Text of the domain: any Unicode except NUL and lone surrogates."""

scalars = (
    st.none()
    | st.booleans()
    | st.integers(INT_MIN, INT_MAX)
    | st.sampled_from([INT_MIN, -129, -128, -33, -32, -1, 0, 127, 128, 255, 256, 65535, 65536, 2**32, INT_MAX])
    | text
    | st.binary(max_size=8)
    | st.floats(allow_nan=False, allow_infinity=False)
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4), max_leaves=8
)
fields = st.dictionaries(text, values, max_size=4)
payloads = fields.map(pack)


def entry_of(record: Record) -> Entry:
    """Give a record as the second implementation knows it."""
    hlc, wall_ms, name, marked_version, payload = record
    return Entry(hlc, wall_ms, name, marked_version % 0x8000, payload, marked_version >= 0x8000)


hashes = st.binary(min_size=32, max_size=32)
few_hashes = st.integers(0, 5).map(lambda n: bytes([n]) * 32)
"""Collide often: devices with several heads are where version vectors break."""

heads = st.builds(
    lambda seq, hashed: Head(BatchSeq(seq), EnvelopeHash(hashed)),
    st.integers(1, 4) | st.integers(1, INT_MAX),
    few_hashes | hashes,
)
flat_heads = st.lists(st.tuples(few_hashes.map(DeviceKey), heads), max_size=6).map(lambda drawn: sorted(set(drawn)))

names = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=12)
marked_versions = st.integers(1, 0x7FFF) | st.integers(0x8001, 0xFFFF)
types = st.tuples(names, marked_versions)
walls = st.integers(0, 2**47) | st.integers(-(2**62), 2**62)


@st.composite
def records(draw: st.DrawFn) -> tuple[Record, ...]:
    """Draw a device's run of records: stamps increase, and types repeat."""
    kinds = draw(st.lists(types, min_size=1, max_size=4))
    steps = st.integers(1, 3) | st.integers(1, 2**50)
    hlc = draw(st.integers(0, 4) | st.integers(0, HLC_MAX - 2**54))
    run = []
    for step in draw(st.lists(steps, min_size=1, max_size=6)):
        hlc += step
        name, marked_version = draw(st.sampled_from(kinds))
        run.append(Record(Hlc(hlc), draw(walls), name, marked_version, draw(payloads)))
    return tuple(run)


batches = st.builds(Batch, records(), flat_heads.map(tuple))

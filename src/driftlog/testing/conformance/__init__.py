"""Whether somebody else's transport or relay store keeps what Driftlog relies on.

    await check_transport(make_pair)
    check_store(make_store)

Each check is a function whose name is its claim; `TRANSPORT_CHECKS` and `STORE_CHECKS` list them, for a test of each. A
failure is a `Nonconforming`, and says what was seen and what to mend.
"""

from driftlog.testing.conformance.failing import Nonconforming
from driftlog.testing.conformance.store import STORE_CHECKS, StoreCheck, check_store
from driftlog.testing.conformance.store_bench import MakeStore
from driftlog.testing.conformance.transport import (
    TRANSPORT_CHECKS,
    MakePair,
    check_connecting,
    check_transport,
)

__all__ = [
    "STORE_CHECKS",
    "TRANSPORT_CHECKS",
    "MakePair",
    "MakeStore",
    "Nonconforming",
    "StoreCheck",
    "check_connecting",
    "check_store",
    "check_transport",
]

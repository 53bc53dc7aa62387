"""Local-first event sourcing: an append-only log and SQL tables on every device, synced end-to-end encrypted.

Declare events and materializers on an `App`, open a `Space`, append and query; `space.sync(url)` does the rest.
"""

from driftlog import errors
from driftlog._core.clock import Timestamp
from driftlog._core.event import Event
from driftlog._core.merge import Way
from driftlog._core.version_vector import Head, VersionVector
from driftlog._protocol.device_values import Phase, SyncState
from driftlog._reactive.difference import Added, Changed, Difference, Moved, Removed
from driftlog._sqlite.rows import Row
from driftlog._store.damage import Finding
from driftlog._store.findings import Agreement
from driftlog._store.log import State
from driftlog._store.program import reject
from driftlog._store.view_transaction import ViewTransaction
from driftlog.errors import DriftlogError, EventRejected
from driftlog.space.answer import Answer, Subscription
from driftlog.space.app import App
from driftlog.space.past import Past
from driftlog.space.space import Space
from driftlog.space.status import (
    Comparison,
    DeviceStatus,
    LogEntry,
    Receipt,
    Refusal,
    Rejected,
    RelayStatus,
    Status,
    Verdict,
)
from driftlog.space.syncing import Sync
from driftlog.space.transaction import Transaction

__all__ = [
    "Added",
    "Agreement",
    "Answer",
    "App",
    "Changed",
    "Comparison",
    "DeviceStatus",
    "Difference",
    "DriftlogError",
    "Event",
    "EventRejected",
    "Finding",
    "Head",
    "LogEntry",
    "Moved",
    "Past",
    "Phase",
    "Receipt",
    "Refusal",
    "Rejected",
    "RelayStatus",
    "Removed",
    "Row",
    "Space",
    "State",
    "Status",
    "Subscription",
    "Sync",
    "SyncState",
    "Timestamp",
    "Transaction",
    "Verdict",
    "VersionVector",
    "ViewTransaction",
    "Way",
    "errors",
    "reject",
]

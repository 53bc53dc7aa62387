"""The blind relay: it checks signatures, chains and membership, numbers envelopes, keeps them, and hands them on.

It cannot open one: it imports nothing that could. What is public here is for who writes a store; its contract is in `store`.
"""

from driftlog._core.envelope import Envelope
from driftlog._core.ids import BatchSeq, Birthday, DeviceKey, EnvelopeHash, Position, SpaceId
from driftlog._core.version_vector import Head, VersionVector
from driftlog._protocol.limits import FRAME_ENVELOPES_MAX, HEADS_PER_FRAME_MAX
from driftlog._protocol.messages import Refusal
from driftlog._protocol.relay_session import Accepted, Admitted, Outcome, PageRead, Proved, ReadPage, Rejected
from driftlog.relay.judging import NO_HEAD, Standing, judge
from driftlog.relay.sqlite import SqliteStore
from driftlog.relay.store import Counts, DamagedSpace, Job, RelayStore, StoreReader, StoreWriter
from driftlog.relay.writing import SPACE_BYTES_MAX

__all__ = [
    "FRAME_ENVELOPES_MAX",
    "HEADS_PER_FRAME_MAX",
    "NO_HEAD",
    "SPACE_BYTES_MAX",
    "Accepted",
    "Admitted",
    "BatchSeq",
    "Birthday",
    "Counts",
    "DamagedSpace",
    "DeviceKey",
    "Envelope",
    "EnvelopeHash",
    "Head",
    "Job",
    "Outcome",
    "PageRead",
    "Position",
    "Proved",
    "ReadPage",
    "Refusal",
    "Rejected",
    "RelayStore",
    "SpaceId",
    "SqliteStore",
    "Standing",
    "StoreReader",
    "StoreWriter",
    "VersionVector",
    "judge",
]

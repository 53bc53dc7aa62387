"""What came of comparing views with other devices, kept in the file: small facts, written with what they are about.

Nothing depends on them but what people are told, and how often the view is rebuilt on another's word.
"""

from enum import StrEnum
from typing import Final

import msgspec

from driftlog._core.clock import Timestamp
from driftlog._core.ids import DeviceKey
from driftlog._store.meta import Meta

FINDINGS_MAX: Final = 1_000
"""Devices of which a finding is kept, those of the latest: some 100 kB, whatever number of keys a member makes up."""

_KEY: Final = "comparisons"


class Agreement(StrEnum):
    """What came of comparing this device's view with the digest that another stated, of the same events."""

    EQUAL = "equal"
    """They are equal."""
    MENDED = "mended"
    """They were not: this device's tables were wrong, and have been rebuilt from its log."""
    DIFFERENT = "different"
    """They are not, also after a rebuild here: the other's tables are wrong, it does not say the truth, or a materializer is
    not deterministic, which `driftlog.testing.check_determinism` finds."""
    SUSPECTED = "suspected"
    """They are not, and this device's tables have not been rebuilt yet: for the like they were, less than a day ago."""


class Finding(msgspec.Struct, frozen=True, array_like=True):
    """What came of the last statement of a device that could be compared."""

    hlc: int
    event_hash: bytes
    """The statement's place, with the device."""
    agreement: Agreement
    found_ms: int
    equal_ms: int | None
    """When the two were last found equal, or this one's were mended."""

    def is_of(self, at: Timestamp) -> bool:
        """Tell whether it is about this statement."""
        return (self.hlc, self.event_hash) == (at.hlc, at.event_hash)


class Rebuilt(msgspec.Struct, frozen=True, array_like=True):
    """The last rebuild that a difference was the reason of."""

    ms: int
    events: bytes
    view: bytes
    """What came of which events, as digests."""


class Findings(msgspec.Struct, frozen=True, array_like=True):
    """All that is kept."""

    by_device: dict[bytes, Finding] = {}
    rebuilt: Rebuilt | None = None

    def of(self, device: DeviceKey) -> Finding | None:
        """Give a device's."""
        return self.by_device.get(device)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Findings).decode


def read_findings(meta: Meta) -> Findings:
    """Read what was found. What cannot be read was never found: it is found again."""
    try:
        return _decode(meta.get(_KEY) or _encode(Findings()))
    except (msgspec.DecodeError, ValueError):
        return Findings()


def write_findings(meta: Meta, findings: Findings) -> None:
    """Keep them, within a transaction."""
    latest = sorted(findings.by_device.items(), key=lambda item: item[1].found_ms)[-FINDINGS_MAX:]
    meta.set(_KEY, _encode(Findings(dict(latest), findings.rebuilt)))

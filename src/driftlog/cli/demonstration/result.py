"""How a run of the demo came out."""

from dataclasses import asdict, dataclass, field
from typing import Any

from driftlog.cli.demonstration import messages as m


@dataclass(frozen=True, slots=True)
class Check:
    """A claim that the run has put to the test."""

    claim: str
    is_kept: bool
    found: str
    """What was seen."""


@dataclass(frozen=True, slots=True)
class DeviceResult:
    """A device in the end."""

    name: str
    told: m.Told
    total: m.Tick


@dataclass(slots=True)
class Result:
    """What the run found."""

    seed: int
    devices: list[DeviceResult] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def is_ok(self) -> bool:
        """Whether every claim was kept."""
        return bool(self.checks) and all(check.is_kept for check in self.checks)

    def check(self, claim: str, *, is_kept: bool, found: str) -> None:
        """Note a claim."""
        self.checks.append(Check(claim, is_kept, found))

    def to_json(self) -> dict[str, Any]:  # JSON's own type
        """Give it for programs."""
        return {
            "ok": self.is_ok,
            "seed": self.seed,
            "seconds": round(self.seconds, 2),
            "checks": [asdict(check) for check in self.checks],
            "devices": [_device(device) for device in self.devices],
        }


def _device(device: DeviceResult) -> dict[str, object]:
    told, total = device.told, device.total
    return {
        "name": device.name,
        "digest": told.digest,
        "events": told.events,
        "own_events": told.own,
        "rejected": len(told.rejections),
        "replayed": total.replayed,
        "bookings": told.bookings,
        "envelopes_sent": total.envelopes_sent,
        "bytes_sent": total.bytes_sent,
        "envelopes_received": total.envelopes_received,
        "bytes_received": total.bytes_received,
    }

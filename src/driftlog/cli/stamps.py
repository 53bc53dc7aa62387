"""Stamps on the command line: as `driftlog log` prints them, or a part of one, which stands for one side of all it fits."""

import argparse
import re
from typing import Final

from driftlog._core.clock import COUNTER_BITS, Hlc, Timestamp
from driftlog._core.ids import DeviceKey, EventHash
from driftlog._core.limits import HLC_MAX
from driftlog.cli.arguments import quoted

LAST_BYTES: Final = b"\xff" * 32
"""Sorts after every device and every event hash."""

_STAMP: Final = re.compile(r"(\d{1,19})(?:\.(\d{1,5}))?(?:@([0-9a-f]{2,64}))?", re.ASCII)


def last_stamp(text: str) -> Timestamp:
    """Read a stamp as argparse's `type`: `ms.counter@device` as the log prints it, `ms.counter`, or the whole integer.

    What is left out stands for the last there could be: `--after` gives nothing with that stamp again.
    """
    hlc, known = _parsed(text)
    return Timestamp(hlc, DeviceKey(known + LAST_BYTES[len(known) :]), EventHash(LAST_BYTES))


def first_stamp(text: str) -> Timestamp:
    """Read a stamp likewise, what is left out standing for the first there could be: `--before` gives nothing with it."""
    hlc, known = _parsed(text)
    return Timestamp(hlc, DeviceKey(known), EventHash(b""))


def _parsed(text: str) -> tuple[Hlc, bytes]:
    match = _STAMP.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{quoted(text)} is not a stamp; give one as `driftlog log` prints it")
    number, counter, device = match.groups()
    hlc = int(number) if counter is None else (int(number) << COUNTER_BITS) + int(counter)
    if hlc > HLC_MAX or len(device or "") % 2:
        raise argparse.ArgumentTypeError(f"{quoted(text)} is not a stamp; give one as `driftlog log` prints it")
    return Hlc(hlc), bytes.fromhex(device or "")

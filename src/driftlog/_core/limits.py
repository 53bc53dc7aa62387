"""Every bound that an envelope, an event or a queue has to respect, with its reason.

A bound that is part of a format (`docs/format.md`) may be raised in a later version, never lowered.
"""

from typing import Final

ENVELOPE_BYTES_MAX: Final = 1 << 20
"""Large enough that overhead vanishes, small enough to be held in memory by a relay for every connection at once."""

ENVELOPE_EVENTS_MAX: Final = 1_000
"""A rebase takes envelopes whole; a thousand events are applied in about 20 ms, within one frame of a user interface."""

ENVELOPE_HEADS_MAX: Final = 4_096
"""Heads seen are sent as differences; a space with more devices than this sends the rest in its next envelope."""

EVENT_PAYLOAD_BYTES_MAX: Final = 128 << 10
"""Decoding 128 KiB of the worst MessagePack (empty maps) costs 9 MiB; larger content belongs in a file, not an event."""

EVENT_VERSION_MAX: Final = 0x7FFF
"""Fifteen bits: the sixteenth says that the type is critical."""

CRITICAL_BIT: Final = 0x8000
"""Set in a version as it is written if the event's type is critical; without it, a version is written as it is."""

VALUE_DEPTH_MAX: Final = 16
"""Nesting beyond this is a program's, not a person's; it keeps every recursive reader off the stack's end."""

NESTED_VALUES_MAX: Final = 10_000
"""In the lists and maps of one payload: each costs the reader about 1 µs."""

ENVELOPE_NESTED_VALUES_MAX: Final = 15_000
"""In all payloads of one envelope, so that no mebibyte costs its reader more than 50 ms. Events that hold more are sealed in
several."""

HLC_MAX: Final = (1 << 63) - 1
"""A stamp fits SQLite's signed 64-bit integer: the year 6429 in milliseconds, shifted by the counter."""

CLOCK_MS_MAX: Final = 1 << 46
"""The year 4199. A clock past it is broken; following it would bring stamps near the end of their 63 bits."""

WALL_MS_MAX: Final = 1 << 62
"""Wall times are kept within this of 1970, so that their distance from a stamp fits 64 bits whatever a clock shows."""

HOLD_MS: Final = 24 * 60 * 60 * 1000
"""How far ahead of a device's clock a stamp may be before it is held: a day covers any time zone set as UTC by mistake."""

WAITING_BYTES_MAX: Final = 64 << 20
"""Envelopes that wait for a predecessor, per space: beyond it they are refused and fetched again in order."""

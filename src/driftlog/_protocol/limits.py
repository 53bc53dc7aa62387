"""Every bound of the conversation between a device and a relay, with its reason.

Both ends hold each other to these; an end that goes past one is not spoken to any further.
"""

from typing import Final

from driftlog._core.limits import ENVELOPE_BYTES_MAX

FRAME_BYTES_MAX: Final = ENVELOPE_BYTES_MAX + (4 << 10)
"""The largest envelope always fits a frame, with the frame's own few bytes around it."""

UPLOAD_BYTES_GOAL: Final = 64 << 10
"""An UPLOAD is filled up to here. A frame is answered as a whole: at 22 kB/s, the uplink of a poor mobile network, that is
every three seconds, long before the silence that a device hangs up at. One larger envelope is a frame of its own."""

LOAD_BYTES_GOAL: Final = 1 << 20
"""Envelopes that the replica is asked for at a time: few questions, and a quarter of the window."""

PROBE_BYTES: Final = 1
"""Asking for so little gives one envelope. A relay that was full or got nowhere is shown one before it is shown a window."""

FRAME_ENVELOPES_MAX: Final = 4_096
"""More of the smallest envelopes (about 500 bytes) than fit a frame; it bounds the list before it is built."""

PAGE_BYTES_GOAL: Final = 128 << 10
"""What a relay sends a reader at a time. It holds one page for each slow reader: a thousand of them are 128 MiB."""

WINDOW_FRAMES: Final = 8
"""ENVELOPES frames that a relay sends ahead of the device's READ: 1 MiB, a fifth of a second at 40 Mbit/s."""

UPLOAD_WINDOW_BYTES: Final = 4 << 20
"""Unacknowledged uploads: enough to fill 40 Mbit/s over 800 ms, little enough to send again after a cut."""

HEADS_PER_FRAME_MAX: Final = 14_000
"""Heads of a vector in one frame: at 74 bytes each they stay below `FRAME_BYTES_MAX`. A relay takes no further device
into a space; a device that holds more says less in its WANT, and is sent a few envelopes that it has."""

VECTOR_BYTES_MAX: Final = 3 + HEADS_PER_FRAME_MAX * (32 + 10 + 32)

OWN_RUNS_MAX: Final = 256
"""Runs of positions that a relay remembers not to echo: an upload is stored as one run, unless it was there in part.
Forgetting one costs repeats, which change nothing."""

WANTS_MAX: Final = 4
"""WANT frames of one connection: a device sends two at most, and reading one of 910 kB takes a relay 30 ms."""

GREETING_FRAME_BYTES_MAX: Final = 4 << 10
"""What a relay takes from a device that it does not know yet. A HELLO has some 350 bytes."""

GREETING_MS_MAX: Final = 10_000
"""From connection to HELLO: the device need only sign. Longer, and connections that say nothing cost a stranger less than
they cost a relay."""

TEXT_BYTES_MAX: Final = 500
"""An explanation for people; longer ones are cut."""

HELD_TICKS: Final = 12
"""A connection that held for a minute, the longest delay, is no part of a circle: the next attempt comes soon again."""

RETRY_DELAY_MS_MIN: Final = 250
RETRY_DELAY_MS_MAX: Final = 60_000
"""Exponential back-off between these, with full jitter (Brooker, "Exponential Backoff And Jitter", 2015): devices that
lost a relay at one moment do not come back at one moment."""

RETRY_ATTEMPT_MAX: Final = 8
"""250 ms doubled eight times is past the longest delay."""

RETRY_ATTEMPT_AFTER_GAP: Final = 5
"""A relay that lacks a predecessor it had a moment ago is in trouble, or we are: up to 8 s, not 250 ms."""

HANDSHAKE_MS_MAX: Final = 20_000
"""From dialling to WELCOME. Mobile networks take seconds; a relay that takes longer is as good as absent."""

TICK_MS: Final = 5_000
SILENT_TICKS_BEFORE_PING: Final = 4
SILENT_TICKS_MAX: Final = 8
"""After 20 s of silence a device asks, after 20 s more it hangs up: a connection that a sleeping laptop or a NAT has
lost looks open for hours otherwise."""

RELAY_SILENCE_MS_MAX: Final = 60_000
"""A relay hangs up on a device that lets its own 40 s pass. It need not ask: the device does."""

QUOTA_TICKS: Final = 12
"""A minute between two tries after a refusal for want of room."""

UNANSWERED_TICKS_MAX: Final = 36
"""Three minutes. The largest envelope takes one at 22 kB/s, the uplink of a poor mobile network, and a relay may have
others' uploads to store first. After that a message was lost on the way, or the relay is stuck on it though it answers
pings."""

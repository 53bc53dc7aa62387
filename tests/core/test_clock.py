"""The clock: appending never fails because of one, stamps of a device always increase, and holding is relative."""

import random

from driftlog._core.clock import Timestamp, hlc_ms, is_held, tick
from driftlog._core.ids import DeviceKey, EventHash
from driftlog._core.limits import CLOCK_MS_MAX, HLC_MAX, HOLD_MS

NOW = 1_750_000_000_000
INSANE = (0, -1, -NOW, -(2**200), 1, NOW, CLOCK_MS_MAX, CLOCK_MS_MAX + 1, 2**47, 2**48, 2**63, 2**64, 2**200)


def clock_values(count: int) -> list[int]:
    rng = random.Random(7)
    return [rng.choice((*INSANE, NOW + rng.randint(-(10**12), 10**12))) for _ in range(count)]


def test_stamps_increase_strictly_whatever_the_clock_shows() -> None:
    last = 0
    for now in clock_values(5000):
        stamp = tick(last, now)
        assert last < stamp <= HLC_MAX
        last = stamp


def test_a_stamp_is_never_before_a_clock_that_can_be_believed() -> None:
    for now in clock_values(1000):
        if now <= CLOCK_MS_MAX:
            assert hlc_ms(tick(0, now)) >= now


def test_a_stamp_follows_the_clock_alone_unless_what_was_seen_is_ahead() -> None:
    rng = random.Random(8)
    for _ in range(1000):
        now, last = rng.randint(0, 2 * NOW), rng.randint(0, 2 * NOW << 16)
        assert tick(last, now) == max(last + 1, now << 16)


def test_under_a_frozen_clock_the_counter_carries_into_the_milliseconds() -> None:
    last = tick(0, NOW)
    for _ in range(3 * 65536):
        stamp = tick(last, NOW)
        assert stamp == last + 1
        last = stamp
    assert hlc_ms(last) == NOW + 3


def test_a_full_counter_carries_and_the_stamp_still_increases() -> None:
    full = NOW << 16 | 0xFFFF
    for now in (NOW, NOW - 10**12, 0, -1, 2**200):
        assert tick(full, now) == (NOW + 1) << 16
    assert tick(full, NOW + 1) == (NOW + 1) << 16
    assert tick(full + 1, NOW + 1) == ((NOW + 1) << 16) + 1


def test_ten_million_stamps_under_a_frozen_clock_use_up_three_minutes_of_milliseconds() -> None:
    # Each is the last plus one (above), so ten million are ten million more; the 63 bits have room for 10**18 of them.
    assert hlc_ms((NOW << 16) + 10_000_000) - NOW < 180
    assert (NOW << 16) + 10_000_000 < HLC_MAX


def test_a_clock_past_what_can_be_believed_is_not_followed() -> None:
    for now in (CLOCK_MS_MAX + 1, 2**63, 2**200):
        assert tick(NOW << 16, now) == (NOW << 16) + 1
    assert tick(NOW << 16, CLOCK_MS_MAX) == CLOCK_MS_MAX << 16 < HLC_MAX


def test_a_stamp_is_held_from_one_millisecond_past_a_day_ahead() -> None:
    for now in (0, NOW, -NOW, CLOCK_MS_MAX - 1):
        edge = (now + HOLD_MS) << 16
        assert not is_held(edge, now)
        assert not is_held(edge | 0xFFFF, now)
        assert is_held(edge + 0x10000, now)
        assert not is_held(edge + 0x10000, now + 1)


def test_what_is_held_is_decided_by_this_devices_clock_and_ends() -> None:
    rng = random.Random(9)
    for _ in range(1000):
        stamp, now = rng.randint(0, 2 * NOW) << 16, rng.randint(0, 2 * NOW)
        assert is_held(stamp, now) == (stamp // 65536 - now > 86_400_000)
        assert not is_held(stamp, hlc_ms(stamp) - HOLD_MS)


def test_timestamps_order_by_stamp_then_device_then_hash() -> None:
    rng = random.Random(10)
    few = [
        Timestamp(tick(rng.randrange(3), 0), DeviceKey(bytes([rng.randrange(3)])), EventHash(bytes([rng.randrange(3)])))
        for _ in range(300)
    ]
    assert sorted(few) == sorted(few, key=lambda at: (at.hlc, at.device, at.event_hash))

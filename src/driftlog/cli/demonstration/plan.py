"""What the people of the demo do: drawn from a seed, so that two runs disagree about the same things.

The order in which their events end up is not: that follows the clocks of the moment.
"""

from random import Random
from typing import Final

from driftlog.cli.demonstration.app import BookingCancelled, RoomBooked, RoomOpened, RoomRenamed

Planned = tuple[str, dict[str, str]]
"""An event's name and fields."""

ROOMS: Final = ("Apollo", "Borealis", "Corona", "Doppler", "Eclipse")
CONTESTED_ROOM: Final = "apollo"
CONTESTED_HOUR: Final = "week 1, Fri 17:00"
"""Not an hour that the plan draws, so that nobody else gets in between."""

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri")
_SUBJECTS: Final = (
    "planning",
    "the budget",
    "interviews",
    "a review",
    "lunch",
    "the roof",
    "a farewell",
    "nothing much",
)
_MOODS: Final = ("Old", "New", "Quiet", "Small", "Bright", "Cold")


def opening() -> tuple[Planned, ...]:
    """Open the rooms."""
    return tuple((RoomOpened.event_name, {"id": name.lower(), "name": name}) for name in ROOMS)


def contested(who: str) -> tuple[Planned, ...]:
    """Book the hour that two people want."""
    fields = {
        "id": f"{who}-contested",
        "room": CONTESTED_ROOM,
        "hour": CONTESTED_HOUR,
        "who": who,
        "subject": "a party",
    }
    return ((RoomBooked.event_name, fields),)


def busy(who: str, seed: int, count: int, part: str) -> tuple[Planned, ...]:
    """Give `count` events of one person: mostly bookings, some of hours that others want too."""
    random = Random(f"{seed} {who} {part}")  # noqa: S311 - a plan to be repeated, not a secret
    # As many hours as one person has events: with five rooms, two bookings in five meet another one.
    hours = [f"week {n // 40 + 1}, {_DAYS[n // 8 % 5]} {n % 8 + 9:02}:00" for n in range(max(8, count))]
    planned: list[Planned] = []
    standing: list[str] = []
    for number in range(count):
        draw = random.random()
        if draw < 0.1 and standing:
            cancelled = standing.pop(random.randrange(len(standing)))
            planned.append((BookingCancelled.event_name, {"id": cancelled}))
        elif draw < 0.25:
            room = random.choice(ROOMS)
            name = f"{random.choice(_MOODS)} {room} ({who})"
            planned.append((RoomRenamed.event_name, {"id": room.lower(), "name": name}))
        else:
            booking = f"{who}-{part}-{number}"
            standing.append(booking)
            room, hour, subject = random.choice(ROOMS).lower(), random.choice(hours), random.choice(_SUBJECTS)
            fields = {"id": booking, "room": room, "hour": hour, "who": who, "subject": subject}
            planned.append((RoomBooked.event_name, fields))
    return tuple(planned)

"""Two devices that were offline did what cannot both stand: who wins, who is told, and what a late cancellation changes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from examples.invariants import overdraft, room, seat

from driftlog import App, Event, EventRejected, Space, State
from driftlog.testing import check_determinism, exchange, fleet
from tests.todo_app import Clock


@dataclass
class Three:
    """Ann and Bob work offline; Cleo's telephone has been off for longer."""

    ann: Space
    bob: Space
    cleo: Space
    clock: Clock

    def begin(self, *events: Event) -> None:
        """Append what all three know before they part."""
        self.ann.append(*events)
        self.exchange_all()
        self.later()

    def later(self) -> None:
        self.clock.now_ms += 60_000

    def exchange_all(self) -> None:
        exchange(self.ann, self.bob)
        exchange(self.ann, self.cleo)
        exchange(self.ann, self.bob)

    def assert_they_agree(self) -> None:
        assert self.ann.digest() == self.bob.digest() == self.cleo.digest()
        assert rejections(self.ann) == rejections(self.bob) == rejections(self.cleo)


def rejections(space: Space) -> list[tuple[Event | None, str | None]]:
    """Give what is rejected, as the log shows it; the table for queries says the same."""
    found = [entry for entry in space.log() if entry.state is State.REJECTED]
    queried = space.query("SELECT hlc, device, reason FROM driftlog_rejected ORDER BY hlc, device, hash")
    assert queried == [(*entry.timestamp[:2], entry.reason) for entry in found]
    return [(entry.event, entry.reason) for entry in found]


@pytest.fixture
def three(request: pytest.FixtureRequest) -> Iterator[Three]:
    app: App = request.param
    clock = Clock()
    ann, bob, cleo = fleet(app, 3, clocks=[clock] * 3)
    with ann, bob, cleo:
        yield Three(ann, bob, cleo, clock)


def of(app: App) -> pytest.MarkDecorator:
    """Run a test with three devices of an app."""
    return pytest.mark.parametrize("three", [app], indirect=True, ids=[app.name])


# --- the last seat ---------------------------------------------------------------------------------------------------


def names(space: Space) -> list[object]:
    return [row.name for row in space.query("SELECT name FROM passenger ORDER BY name")]


ANNS_SALE = seat.SeatSold(ticket="2", trip="lake", name="Dora")
BOBS_SALE = seat.SeatSold(ticket="3", trip="lake", name="Emil")


def sell_the_last_seat_twice(three: Three) -> None:
    three.begin(seat.TripAnnounced(id="lake", seats=2), seat.SeatSold(ticket="1", trip="lake", name="Carl"))
    three.cleo.append(seat.SaleCancelled(ticket="1"))  # nobody hears of it yet
    three.later()
    three.ann.append(ANNS_SALE)
    three.later()
    three.bob.append(BOBS_SALE)
    assert names(three.ann) == ["Carl", "Dora"]
    assert names(three.bob) == ["Carl", "Emil"]


@of(seat.app)
def test_the_earlier_sale_of_the_last_seat_stands_on_both_devices(three: Three) -> None:
    sell_the_last_seat_twice(three)

    exchange(three.ann, three.bob)

    for space in (three.ann, three.bob):
        assert names(space) == ["Carl", "Dora"]
        assert rejections(space) == [(BOBS_SALE, "no seat is left on lake")]
    assert three.ann.digest() == three.bob.digest()


@of(seat.app)
def test_the_rejected_sale_stands_once_an_earlier_cancellation_arrives(three: Three) -> None:
    sell_the_last_seat_twice(three)
    exchange(three.ann, three.bob)

    three.exchange_all()

    assert names(three.bob) == ["Dora", "Emil"]
    assert rejections(three.bob) == []
    three.assert_they_agree()


@of(seat.app)
def test_a_seat_that_is_known_to_be_sold_is_refused_at_once(three: Three) -> None:
    three.begin(seat.TripAnnounced(id="lake", seats=1), seat.SeatSold(ticket="1", trip="lake", name="Carl"))

    for event, reason in (
        (BOBS_SALE, "no seat is left on lake"),
        (seat.SeatSold(ticket="9", trip="sea", name="Emil"), "no seat is left on sea"),
        (seat.SaleCancelled(ticket="9"), "ticket 9 is not sold"),
    ):
        with pytest.raises(EventRejected) as raised:
            three.bob.append(event)
        assert raised.value.reason == reason

    assert rejections(three.bob) == [], "what was never appended is nowhere"


# --- the meeting room ------------------------------------------------------------------------------------------------


def meetings(space: Space) -> dict[object, object]:
    return {row.who: row.hour for row in space.query("SELECT who, hour FROM meeting")}


def booked(who: str, *hours: str) -> room.RoomBooked:
    return room.RoomBooked(id=who, room="oak", hours=list(hours), who=who)


@of(room.app)
def test_the_later_booking_moves_to_its_next_choice_instead_of_being_rejected(three: Three) -> None:
    three.ann.append(booked("Ann", "10:00", "11:00"))
    three.later()
    three.bob.append(booked("Bob", "10:00", "11:00"))
    assert meetings(three.bob) == {"Bob": "10:00"}

    three.exchange_all()

    assert meetings(three.bob) == {"Ann": "10:00", "Bob": "11:00"}
    assert rejections(three.bob) == []
    three.assert_they_agree()


@of(room.app)
def test_a_booking_without_a_free_choice_is_rejected_until_an_earlier_cancellation_arrives(three: Three) -> None:
    three.begin(booked("Carl", "10:00"))
    three.cleo.append(room.BookingCancelled(id="Carl"))
    three.later()
    three.ann.append(booked("Ann", "11:00"))
    three.later()
    three.bob.append(booked("Bob", "10:00", "11:00"))
    assert meetings(three.bob) == {"Carl": "10:00", "Bob": "11:00"}

    exchange(three.ann, three.bob)
    assert meetings(three.bob) == meetings(three.ann) == {"Carl": "10:00", "Ann": "11:00"}
    assert rejections(three.bob) == [(booked("Bob", "10:00", "11:00"), "oak is taken at 10:00, 11:00")]

    three.exchange_all()
    assert meetings(three.bob) == {"Ann": "11:00", "Bob": "10:00"}
    assert rejections(three.bob) == []
    three.assert_they_agree()


@of(room.app)
def test_a_booking_moves_to_a_better_choice_when_an_earlier_cancellation_arrives(three: Three) -> None:
    three.begin(booked("Carl", "10:00"))
    three.cleo.append(room.BookingCancelled(id="Carl"))
    three.later()
    three.bob.append(booked("Bob", "10:00", "11:00"))

    three.exchange_all()

    assert meetings(three.bob) == {"Bob": "10:00"}
    three.assert_they_agree()


@of(room.app)
def test_a_meeting_that_does_not_stand_cannot_be_called_off(three: Three) -> None:
    with pytest.raises(EventRejected, match="meeting Bob does not stand"):
        three.bob.append(room.BookingCancelled(id="Bob"))


# --- the overdraft ---------------------------------------------------------------------------------------------------


def cents(space: Space) -> int:
    [account] = space.query("SELECT cents FROM account")
    return int(account.cents)


ANNS_PAYMENT = overdraft.PaymentMade(id="a", account="house", cents=60_00)
BOBS_PAYMENT = overdraft.PaymentMade(id="b", account="house", cents=70_00)


def overdraw(three: Three) -> None:
    three.begin(
        overdraft.AccountOpened(id="house"),
        overdraft.MoneyPaidIn(account="house", cents=150_00),
        overdraft.PaymentMade(id="0", account="house", cents=50_00),
    )
    three.cleo.append(overdraft.PaymentCancelled(id="0"))
    three.later()
    three.ann.append(ANNS_PAYMENT)
    three.later()
    three.bob.append(BOBS_PAYMENT)
    assert (cents(three.ann), cents(three.bob)) == (40_00, 30_00)


@of(overdraft.app)
def test_the_later_payment_is_rejected_with_the_name_of_what_it_would_have_broken(three: Three) -> None:
    overdraw(three)

    exchange(three.ann, three.bob)

    for space in (three.ann, three.bob):
        assert cents(space) == 40_00
        assert rejections(space) == [(BOBS_PAYMENT, "CHECK constraint failed: an account is not overdrawn")]
    assert three.ann.digest() == three.bob.digest()


@of(overdraft.app)
def test_the_rejected_payment_stands_once_an_earlier_one_turns_out_to_be_cancelled(three: Three) -> None:
    overdraw(three)
    exchange(three.ann, three.bob)

    three.exchange_all()

    assert cents(three.bob) == 150_00 - 60_00 - 70_00
    assert rejections(three.bob) == []
    three.assert_they_agree()


@of(overdraft.app)
def test_what_was_done_about_a_rejected_payment_is_judged_with_it(three: Three) -> None:
    """Bob takes his payment back before he hears that it never stood: both are rejected, and no cent is lost or made."""
    overdraw(three)
    three.bob.append(overdraft.PaymentCancelled(id="b"))

    exchange(three.ann, three.bob)
    assert [reason for _, reason in rejections(three.ann)][1] == "payment b does not stand"
    assert cents(three.ann) == 40_00

    three.exchange_all()
    assert rejections(three.bob) == []
    assert cents(three.bob) == 150_00 - 60_00
    three.assert_they_agree()


@of(overdraft.app)
def test_money_that_makes_no_sense_is_refused_at_once(three: Three) -> None:
    three.begin(overdraft.AccountOpened(id="house"))

    for event, reason in (
        (overdraft.MoneyPaidIn(account="house", cents=-1), "-1 cents were not paid in"),
        (overdraft.MoneyPaidIn(account="boat", cents=1), "there is no account boat"),
        (overdraft.PaymentMade(id="1", account="house", cents=-1), "a payment is of some cents"),
        (overdraft.PaymentMade(id="1", account="boat", cents=1), "FOREIGN KEY constraint failed"),
        (overdraft.PaymentCancelled(id="1"), "payment 1 does not stand"),
    ):
        with pytest.raises(EventRejected, match=reason):
            three.bob.append(event)


# --- all of them -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("three", "story"),
    [(seat.app, sell_the_last_seat_twice), (overdraft.app, overdraw)],
    indirect=["three"],
    ids=["seat", "overdraft"],
)
def test_the_stories_come_to_the_same_on_devices_elsewhere(three: Three, story: Callable[[Three], None]) -> None:
    story(three)
    exchange(three.ann, three.bob)

    check_determinism(seat.app if story is sell_the_last_seat_twice else overdraft.app, spaces=[three.bob])


@pytest.mark.slow
def test_a_room_with_alternatives_comes_to_the_same_on_devices_elsewhere() -> None:
    hours = ("10:00", "11:00", "12:00")
    check_determinism(room.app, events=[*[booked(who, *hours) for who in "ABCD"], room.BookingCancelled(id="A")])

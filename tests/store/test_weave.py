"""A late event takes with it exactly what depends on it: one story for each way to depend."""

from contextlib import suppress

import pytest

from driftlog import Way
from driftlog.testing import fleet
from tests.stories import STORIES, Ran, Story, app, put, tell
from tests.todo_app import Clock


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
def test_a_late_event_gives_what_a_fold_from_empty_gives(story: Story) -> None:
    tell(story)


def test_the_index_forgets_what_a_failed_transaction_did() -> None:
    behind, ahead = fleet(app, 2, clocks=[Clock(1_000), Clock(2_000)])
    with behind, ahead:
        behind.append(put("room", "first", None))
        ahead.append(put("room", "r", None))
        # The first late event warms the index, which is kept up to date from then on.
        ahead.receive(behind.envelopes_for(ahead.version_vector()))
        with suppress(ZeroDivisionError), ahead.transaction() as tx:
            tx.append(Ran("DELETE FROM room WHERE id = 'r'"))
            raise ZeroDivisionError
        behind.append(put("room", "r", "late"))

        receipt = ahead.receive(behind.envelopes_for(ahead.version_vector()))

        assert (receipt.way, receipt.replayed) == (Way.CLOSURE, 1)
        assert ahead.query("SELECT name FROM room WHERE id = 'r'") == [("late",)]

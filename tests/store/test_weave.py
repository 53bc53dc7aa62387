"""A late event takes with it exactly what depends on it: one story for each way to depend."""

import pytest

from tests.stories import STORIES, Story, tell


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
def test_a_late_event_gives_what_a_fold_from_empty_gives(story: Story) -> None:
    tell(story)

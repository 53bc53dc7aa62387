"""Children themselves: one that says nothing, or ends, fails its test with words for what was awaited."""

import pytest

from tests.crash.processes import Child


def test_a_child_that_never_answers_is_no_reason_to_wait_for_ever() -> None:
    child = Child("neighbour")
    try:
        assert child.line("that it is ready") == "ready"

        with pytest.raises(AssertionError, match=r"did not say within 0.01 s an answer to nothing; its last.*ready"):
            child.line("an answer to nothing", seconds_max=0.01)
    finally:
        child.end()


def test_a_child_that_ends_is_told_from_one_that_is_late() -> None:
    child = Child("nowhere")
    try:
        with pytest.raises(AssertionError, match="ended by itself and did not say that it is ready"):
            child.line("that it is ready")
    finally:
        child.end()

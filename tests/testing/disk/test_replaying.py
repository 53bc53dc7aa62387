"""What a power cut may leave, on journals small enough to say it all."""

from driftlog.testing.disk import KEPT, SYNCED, Image, Journal, cuts, power_cut
from driftlog.testing.disk.journal import Created, Deleted, Marked, Synced, SyncFailed, Truncated, Wrote

A, B = b"a" * 512, b"b" * 512
DRAWS = 300


def last(journal: Journal) -> list[Image]:
    """All that chance makes of a cut after the whole journal."""
    return [image for seed in range(DRAWS) for image in [list(images(journal, seed))[-1]]]


def images(journal: Journal, seed: int) -> list[Image]:
    return [cut.image(power_cut(seed)) for cut in cuts(journal)]


def contents(journal: Journal) -> set[bytes | None]:
    return {image.get("f") for image in last(journal)}


MADE: Journal = [Created("f"), Wrote("f", 0, A + A), Synced("f", True)]


def test_what_was_synced_stays_and_nothing_else_must() -> None:
    [*_, cut] = cuts([*MADE, Wrote("f", 0, B)])

    assert cut.image(SYNCED) == {"f": A + A}
    assert cut.image(KEPT) == {"f": B + A}


def test_an_unsynced_write_is_kept_dropped_or_torn_at_a_sectors_border() -> None:
    assert contents([*MADE, Wrote("f", 0, B + B)]) == {A + A, A + B, B + A, B + B}


def test_of_two_unsynced_writes_the_second_may_be_there_without_the_first() -> None:
    assert A + B in contents([*MADE, Wrote("f", 0, B), Wrote("f", 512, B)])


def test_a_write_within_a_sector_leaves_the_rest_of_it() -> None:
    assert contents([*MADE, Wrote("f", 10, b"x")]) == {A + A, A[:10] + b"x" + A[11:] + A}


def test_a_file_may_have_grown_without_what_was_written_there_or_not_have_grown() -> None:
    assert contents([*MADE, Wrote("f", 1024, B)]) == {A + A, A + A + B, A + A + bytes(512)}


def test_an_unsynced_truncation_may_not_have_been() -> None:
    assert contents([*MADE, Truncated("f", 512)]) == {A, A + A, A + bytes(512)}
    assert contents([*MADE, Truncated("f", 512), Synced("f", False)]) == {A}


def test_a_name_that_was_not_synced_may_be_missing_though_the_content_was() -> None:
    assert contents([Created("f"), Wrote("f", 0, A), Synced("f", False)]) == {None, A}


def test_a_deletion_that_was_not_synced_may_not_have_been() -> None:
    assert contents([*MADE, Deleted("f", is_synced=False)]) == {None, A + A}
    assert contents([*MADE, Deleted("f", is_synced=True)]) == {None}


def test_a_file_made_anew_is_the_old_one_or_none_or_the_new_one() -> None:
    journal: Journal = [*MADE, Deleted("f", is_synced=False), Created("f"), Wrote("f", 0, B), Synced("f", False)]
    assert contents(journal) == {None, A + A, B}


def test_a_disk_that_lies_has_synced_nothing() -> None:
    [*_, cut] = cuts([*MADE, Wrote("f", 0, B), Synced("f", False)], lies=lambda _, number: number > 3)

    assert cut.image(SYNCED) == {"f": A + A}


def test_there_is_a_cut_at_every_operation_and_it_knows_what_was_noted_before() -> None:
    found = [(cut.number, cut.marks) for cut in cuts([Created("f"), Marked("one"), Wrote("f", 0, A)])]

    assert found == [(0, ()), (1, ()), (2, ("one",)), (3, ("one",))]


def test_a_seed_gives_the_same_files_again() -> None:
    journal: Journal = [*MADE, *[Wrote("f", 512 * number, B) for number in range(9)]]
    assert images(journal, 7) == images(journal, 7)


def test_what_a_failed_sync_was_to_write_is_written_by_no_later_sync_but_by_another_write() -> None:
    journal: Journal = [*MADE, Wrote("f", 0, B), SyncFailed("f"), Wrote("f", 512, B), Synced("f", False)]
    assert contents(journal) == {A + B, B + B}
    assert contents([*journal, Wrote("f", 0, B), Synced("f", False)]) == {B + B}

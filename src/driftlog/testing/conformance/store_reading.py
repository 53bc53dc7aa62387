"""Checks for a relay store, part two: what its readers give. The contract is `driftlog.relay.store`."""

import threading
from typing import Final

from driftlog._core.envelope import OVERHEAD_BYTES, Envelope
from driftlog._core.ids import NO_ENVELOPE, Position
from driftlog._core.limits import ENVELOPE_BYTES_MAX
from driftlog._core.version_vector import VersionVector
from driftlog._protocol.limits import FRAME_ENVELOPES_MAX
from driftlog._protocol.relay_session import Admitted, PageRead, Proved, ReadPage
from driftlog.relay.store import Counts, Job, StoreReader
from driftlog.testing.conformance.store_bench import (
    LARGE,
    OTHER_SPACE,
    SPACE,
    Bench,
    MakeStore,
    bench,
    chain,
    device_of,
    fork,
    heads_of,
    job,
    key_of,
    link,
    listed,
    numbered,
    proofs,
)

COMMITS: Final = 30
PER_COMMIT: Final = 20
WRITER: Final = "a relay's writer"


def readers_see_whole_commits_only(make_store: MakeStore) -> None:
    """Rule 7: while a thread writes, each call shows the state between two commits, and never an earlier one than before."""
    jobs = [_one_commit(number) for number in range(COMMITS)]
    with bench(readers_see_whole_commits_only.__name__, make_store) as on:
        on.writer()  # there is a store before there is a reader
        reader = on.reader()
        errors: list[Exception] = []
        writing = threading.Thread(target=lambda: _write(on, jobs, errors), name=WRITER)
        writing.start()
        try:
            before = 0
            while writing.is_alive():
                before = _check_whole(on, reader, before)
        finally:
            writing.join()
        if errors:
            raise errors[0]
        _check_whole(on, reader, before)


def _one_commit(number: int) -> Job:
    return job(*(link(f"n{number}-{each}", 1, NO_ENVELOPE, content=bytes(500)) for each in range(PER_COMMIT)))


def _write(on: Bench, jobs: list[Job], errors: list[Exception]) -> None:
    try:
        with on.passing_writer() as writer:
            for each in jobs:
                writer.commit([each])
    except Exception as error:  # noqa: BLE001 - it is raised again, in the thread that waits
        errors.append(error)


def _check_whole(on: Bench, reader: StoreReader, before: int) -> int:
    remedy = "read in one transaction that sees what is committed, for the length of each call"
    admitted = reader.admit(SPACE)
    page = reader.page(SPACE, ReadPage(0, Position(0), LARGE, {}))
    counts = [admitted.position, len(admitted.heads), len(page.entries), reader.counts().envelopes]
    if any(count % PER_COMMIT for count in counts) or admitted.position != len(admitted.heads):
        names = ("position", "heads", "envelopes of a page", "envelopes counted")
        seen = ", ".join(f"{count} {name}" for name, count in zip(names, counts, strict=True))
        raise on.failure(7, f"each commit has {PER_COMMIT} envelopes, and while it ran a reader saw {seen}", remedy)
    if [before, *counts[1:]] != sorted([before, *counts[1:]]):
        raise on.failure(7, f"one after the other, a reader saw {[before, *counts[1:]]} envelopes", remedy)
    return counts[-1]


def a_space_never_heard_of_is_empty_and_leaves_nothing_behind(make_store: MakeStore) -> None:
    """Rule 10: and so does an upload to it that is refused."""
    a, strange = chain("a", 2), chain("z", 2, space=OTHER_SPACE)
    remedy = "answer for a space that is not there as for an empty one, and make it with its first envelope"
    with bench(a_space_never_heard_of_is_empty_and_leaves_nothing_behind.__name__, make_store) as on:
        writer, reader = on.writer(), on.reader()
        writer.commit([job(*a)])
        on.commit(10, writer, [job(strange[1])], ["GAP"], remedy)
        on.expect(10, "it is", reader.admit(OTHER_SPACE), Admitted(Position(0), VersionVector()), remedy)
        on.expect(10, "of it,", reader.prove(OTHER_SPACE, heads_of(a[1])), Proved(Position(0), {}), remedy)
        on.expect(10, "a page holds", listed(on.read(reader, OTHER_SPACE)), "nothing", remedy)
        size = sum(len(envelope.raw) for envelope in a)
        on.expect(10, "then there are", reader.counts(), Counts(1, 2, size), remedy)


def envelopes_come_back_as_they_were(make_store: MakeStore) -> None:
    """Rule 11: of every byte, the smallest and the largest, also once the store was opened again."""
    largest = ENVELOPE_BYTES_MAX - OVERHEAD_BYTES
    contents = [b"", bytes(range(256)) * 3, b"\0" * 5, b"x" * largest]
    sent: list[Envelope] = []
    for number, content in enumerate(contents, 1):
        sent.append(link("a", number, sent[-1].hash if sent else NO_ENVELOPE, content=content))
    with bench(envelopes_come_back_as_they_were.__name__, make_store) as on:
        with on.passing_writer() as writer:
            writer.commit([job(*sent)])
            readers = [on.reader()]
        on.writer()
        for reader in (*readers, on.reader()):
            for (_, got), envelope in zip(on.read(reader), sent, strict=False):
                if got != envelope.raw:
                    seen = f"{len(envelope.raw)} bytes were given, and {len(got)} bytes, not the same, came back"
                    raise on.failure(11, seen, "keep `raw` in a column of bytes, as it is")
            on.expect(11, "a page holds", listed(on.read(reader)), listed(numbered(sent)), "give back what is held")


def pages_hold_what_was_asked_for_and_lead_to_the_end(make_store: MakeStore) -> None:
    """Rule 12: up to `bytes_max`, one envelope at least; past the end there is nothing, which is the end."""
    sent = [link(f"d{number}", 1, NO_ENVELOPE, content=bytes(100 * number)) for number in range(8)]
    sizes = [len(envelope.raw) for envelope in sent]
    with bench(pages_hold_what_was_asked_for_and_lead_to_the_end.__name__, make_store) as on:
        on.writer().commit([job(*sent)])
        reader = on.reader()
        for bytes_max in (1, sizes[0], sizes[0] + sizes[1], sum(sizes) - 1, sum(sizes)):
            page = reader.page(SPACE, ReadPage(0, Position(0), bytes_max, {}))
            fitting = max(1, sum(sum(sizes[: count + 1]) <= bytes_max for count in range(len(sizes))))
            wanted = listed(numbered(sent[:fitting]))
            remedy = "add envelopes as long as their bytes stay within bytes_max; the first always comes"
            on.expect(12, f"a page of {bytes_max} bytes holds", listed(page.entries), wanted, remedy)
            is_end = fitting == len(sent)
            on.expect(
                12, "it is the end", page.is_end, is_end, "say so when nothing is left after `until`, and only then"
            )
            on.expect(12, "pages hold", listed(on.read(reader, bytes_max=bytes_max)), listed(numbered(sent)), remedy)
        past = reader.page(SPACE, ReadPage(3, Position(99), LARGE, {}))
        remedy = "a cursor may come from another life of the store: answer it with nothing"
        on.expect(12, "after position 99 there is", (past.entries, past.is_end), ((), True), remedy)


def a_page_holds_no_more_envelopes_than_a_frame(make_store: MakeStore) -> None:
    """Rule 12: `FRAME_ENVELOPES_MAX`, however small they are."""
    sent = [link(f"d{number}", 1, NO_ENVELOPE) for number in range(FRAME_ENVELOPES_MAX + 1)]
    with bench(a_page_holds_no_more_envelopes_than_a_frame.__name__, make_store) as on:
        on.writer().commit([job(*sent)])
        for held in ({}, {key_of("none of these"): 1}):
            page = on.reader().page(SPACE, ReadPage(0, Position(0), LARGE, held))
            if len(page.entries) > FRAME_ENVELOPES_MAX:
                seen = f"a page has {len(page.entries)} envelopes, more than {FRAME_ENVELOPES_MAX}"
                raise on.failure(12, seen, "end it there: a frame holds no more, and the device would hang up")


def what_a_reader_holds_is_left_out_of_its_pages(make_store: MakeStore) -> None:
    """Rule 12: up to the number given for each device; `until` counts it."""
    a, b = chain("a", 3), chain("b", 3)
    remedy = "leave out exactly the envelopes whose number is at most the one given for their device"
    with bench(what_a_reader_holds_is_left_out_of_its_pages.__name__, make_store) as on:
        on.writer().commit([job(a[0], b[0], a[1], a[2], b[1], b[2])])
        reader = on.reader()
        held = {key_of("a"): 2, key_of("z"): 9}
        wanted = listed([(Position(p), e.raw) for p, e in ((2, b[0]), (4, a[2]), (5, b[1]), (6, b[2]))])
        for bytes_max in (LARGE, 1):
            got = on.read(reader, bytes_max=bytes_max, seq_by_device=held)
            on.expect(12, "for one who holds a2, pages hold", listed(got), wanted, remedy)
        page = reader.page(SPACE, ReadPage(1, Position(0), LARGE, {key_of("a"): 3, key_of("b"): 3}))
        on.expect(12, "for one who holds all,", page, PageRead(1, (), Position(6), True), remedy)


def heads_prove_what_is_held_up_to_them_and_foreign_ones_nothing(make_store: MakeStore) -> None:
    """Rule 13: of several heads of a device, the highest that is held; a fork's head and a later one prove nothing."""
    a, b = chain("a", 5), chain("b", 3)
    foreign = fork(b[1])
    cases: list[tuple[VersionVector, int, dict[str, int]]] = [
        (VersionVector(), 0, {}),
        (heads_of(a[1]), 2, {"a": 2}),
        (heads_of(a[3]), 4, {"a": 4}),
        (heads_of(a[4]), 0, {}),
        (heads_of(a[2], foreign), 3, {"a": 3}),
        (heads_of(a[3], foreign, b[0]), 5, {"a": 4, "b": 1}),
        (heads_of(b[2]), 0, {"b": 3}),
        (heads_of(a[3], b[2], *chain("z", 1)), 7, {"a": 4, "b": 3}),
    ]
    remedy = "compare a head's hash with that of the envelope held at its number, and count up to the first not proved"
    with bench(heads_prove_what_is_held_up_to_them_and_foreign_ones_nothing.__name__, make_store) as on:
        on.writer().commit([job(*a[:4], *b)])
        reader = on.reader()
        for heads, start, wanted in cases:
            proved = reader.prove(SPACE, heads)
            got = int(proved.start), proofs(proved)
            on.expect(13, f"with a4 and b3 held, {_shown(heads)} prove", got, (start, wanted), remedy)


def _shown(heads: VersionVector) -> str:
    shown = " ".join(f"{device_of(key)}{head.batch_seq}" for key, head in heads.flat())
    return f"{{{shown}}}"

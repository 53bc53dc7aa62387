"""What the checks of a relay store stand on: envelopes without keys, a store and what is open of it, and words for it.

Envelopes are named as in the glossary: `a3` is device a's third, `a3'` another one in the same place.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager

from driftlog._core.envelope import HEADER_BYTES, SIGNATURE_BYTES, Envelope, Header, parse_envelope
from driftlog._core.ids import NO_ENVELOPE, BatchSeq, Birthday, DeviceKey, EnvelopeHash, EpochId, Position, SpaceId
from driftlog._core.version_vector import Head, VersionVector
from driftlog._protocol.relay_session import Outcome, PageRead, Proved, ReadPage, Rejected
from driftlog.relay.store import Job, RelayStore, StoreReader, StoreWriter
from driftlog.relay.writing import SPACE_BYTES_MAX
from driftlog.testing.conformance.failing import Nonconforming

MakeStore = Callable[[], AbstractContextManager[RelayStore]]
"""Gives a new store, empty, and takes it away again."""

BIRTHDAY = Birthday(b"the first birthday"[:16])
OTHER_BIRTHDAY = Birthday(b"another birthday")
SPACE, OTHER_SPACE = (SpaceId(name * 32) for name in (b"S", b"T"))
GENESIS = b"what the space was founded with"
LARGE = 1 << 40
"""More bytes than any page of a check has."""


class Bench:
    """A store that is checked for one claim; closes in the end what it has opened."""

    def __init__(self, claim: str, store: RelayStore, stack: ExitStack) -> None:
        self.claim = claim
        self._store = store
        self._stack = stack
        self._is_new = True

    def writer(self, birthday: Birthday = BIRTHDAY, *, space_bytes_max: int = SPACE_BYTES_MAX) -> StoreWriter:
        """Open a writer, that is closed no earlier than the check ends."""
        writer = self._store.open_writer(birthday, space_bytes_max=space_bytes_max)
        self._stack.callback(writer.close)
        self._check_new()
        return writer

    @contextmanager
    def passing_writer(self) -> Iterator[StoreWriter]:
        """Open a writer for the length of a block."""
        writer = self._store.open_writer(BIRTHDAY, space_bytes_max=SPACE_BYTES_MAX)
        try:
            self._check_new()
            yield writer
        finally:
            writer.close()

    def _check_new(self) -> None:
        if self._is_new:
            self._is_new = False
            held = self.reader().counts()
            if held.envelopes:
                seen = f"make_store() gave a store that holds {held.envelopes} envelopes"
                raise Nonconforming(self.claim, seen, "let it give a new one each time, or empty it")

    def reader(self) -> StoreReader:
        """Open a reader, likewise."""
        reader = self._store.open_reader()
        self._stack.callback(reader.close)
        return reader

    def expect(self, rule: int, what: str, got: object, wanted: object, remedy: str) -> None:
        """Fail unless both are equal."""
        if got != wanted:
            raise self.failure(rule, f"{what}: {got}, and not {wanted}", remedy)

    def failure(self, rule: int, seen: str, remedy: str) -> Nonconforming:
        """Say what is wrong."""
        return Nonconforming(self.claim, seen, remedy, rule)

    def commit(self, rule: int, writer: StoreWriter, sent: Sequence[Job], wanted: Sequence[str], remedy: str) -> None:
        """Commit, and fail unless the answers are the wanted ones: a line for each job."""
        outcomes = writer.commit(sent)
        names = " | ".join(names_of(envelope.raw for envelope in job.envelopes) for job in sent)
        self.expect(rule, f"of {names}, commit() said", [told(each) for each in outcomes], list(wanted), remedy)

    def read(
        self,
        reader: StoreReader,
        space: SpaceId = SPACE,
        *,
        bytes_max: int = LARGE,
        seq_by_device: Mapping[DeviceKey, int] | None = None,
    ) -> list[tuple[Position, bytes]]:
        """Read pages up to the end, and fail if they do not lead there."""
        entries: list[tuple[Position, bytes]] = []
        until, is_end = Position(0), False
        while not is_end:
            page = reader.page(space, ReadPage(7, until, bytes_max, seq_by_device or {}))
            if page.until <= until and not page.is_end:
                seen = f"a page after {until} ends at {page.until} and says that there is more"
                raise self.failure(12, seen, "count what was left out into `until`, or say that it is the end")
            self._check_page(until, page)
            entries += page.entries
            until, is_end = page.until, page.is_end
        return entries

    def _check_page(self, after: Position, page: PageRead) -> None:
        self.expect(12, "a page for walk 7 is for walk", page.walk, 7, "repeat the question's `walk`")
        numbers = [position for position, _ in page.entries]
        if numbers != sorted(set(numbers)) or any(not after < number <= page.until for number in numbers):
            seen = f"a page after {after} that ends at {page.until} holds positions {numbers}"
            raise self.failure(12, seen, "give what comes after the position, up to `until`, each once, in order")


@contextmanager
def bench(claim: str, make_store: MakeStore) -> Iterator[Bench]:
    """Make a store for one check. What else comes out of it is a failure of the claim, too."""
    made = make_store() if callable(make_store) else make_store
    if not hasattr(made, "__enter__"):
        what = f"gave a {type(made).__name__}" if callable(make_store) else f"is a {type(made).__name__}"
        raise TypeError(f"make_store {what}; let it be a function that gives a context manager of a new store")
    try:
        with made as store, ExitStack() as stack:
            yield Bench(claim, store, stack)
    except Nonconforming:
        raise
    except Exception as error:
        remedy = "raise nothing here; the traceback above says where it came from"
        raise Nonconforming(claim, f"{type(error).__name__} came out of the store: {error}", remedy) from error


def link(
    device: str, seq: int, previous: EnvelopeHash, *, space: SpaceId = SPACE, mark: str = "", content: bytes = b""
) -> Envelope:
    """Make a device's envelope of a number. Nothing in it is sealed or signed: a store looks at neither."""
    sealed = f"{device}{seq}{mark}".encode().ljust(16, b"\0") + content
    header = Header(space, EpochId(bytes(8)), key_of(device), BatchSeq(seq), previous, bytes(24))
    return parse_envelope(header.pack(len(sealed)) + sealed + bytes(SIGNATURE_BYTES))


def chain(device: str, count: int, *, space: SpaceId = SPACE) -> list[Envelope]:
    """Make a device's first envelopes."""
    made: list[Envelope] = []
    for seq in range(1, count + 1):
        made.append(link(device, seq, made[-1].hash if made else NO_ENVELOPE, space=space))
    return made


def fork(of: Envelope, *, space: SpaceId = SPACE) -> Envelope:
    """Make another envelope for the place of one: `a3'` for `a3`."""
    return link(device_of(of.header.device), of.header.batch_seq, of.header.previous, space=space, mark="'")


def job(*envelopes: Envelope) -> Job:
    """Upload envelopes of one space."""
    return Job(envelopes[0].header.space, GENESIS, envelopes)


def key_of(device: str) -> DeviceKey:
    """Give the key of a device."""
    return DeviceKey(device.encode().rjust(32, b"-"))


def device_of(key: DeviceKey) -> str:
    """Give the name of a device, by its key."""
    return key.decode("ascii", "replace").lstrip("-")


def proofs(proved: Proved) -> dict[str, int]:
    """Give how far each device is proved, without those that are not."""
    return {device_of(key): seq for key, seq in proved.seq_by_device.items() if seq}


def heads_of(*last: Envelope) -> VersionVector:
    """Give the version vector of these heads."""
    return VersionVector.of([(each.header.device, Head(each.header.batch_seq, each.hash)) for each in last])


def numbered(envelopes: Sequence[Envelope]) -> list[tuple[Position, bytes]]:
    """Give what a page has of these envelopes, where a space holds nothing else."""
    return [(Position(number), envelope.raw) for number, envelope in enumerate(envelopes, 1)]


def told(outcomes: Sequence[Outcome]) -> str:
    """Say outcomes in short: the position, `again` if it was there, or why it was refused."""
    return " ".join(
        outcome.code.name
        if isinstance(outcome, Rejected)
        else f"{outcome.position}{'' if outcome.is_new else ' again'}"
        for outcome in outcomes
    )


def listed(entries: Sequence[tuple[Position, bytes]]) -> str:
    """Say what a page holds: `1:a1 2:b1`."""
    return " ".join(f"{position}:{names_of((raw,))}" for position, raw in entries) or "nothing"


def names_of(raws: Iterator[bytes] | Sequence[bytes]) -> str:
    """Name envelopes: `a1 a2'`."""
    return " ".join(
        raw[HEADER_BYTES : HEADER_BYTES + 16].rstrip(b"\0").decode("ascii", "replace") or "?" for raw in raws
    )

"""Whether the devices of an app agree in the end, whatever their users do and whenever they meet.

A story is played by devices in memory, without a network. Then all meet, and each must hold the same log, with the same
verdicts, and show the same tables as a device that joins afterwards and is given everything at once. Left out: networks,
relays, crashes (`simulate`), and what differs between processes and machines (`check_determinism`).
"""

from collections.abc import Callable
from traceback import extract_tb
from typing import TYPE_CHECKING, assert_never

from driftlog.errors import EventRejected
from driftlog.space.app import App
from driftlog.space.space import Space
from driftlog.testing.crew import CAUSES, Crew
from driftlog.testing.differing import told as told_event
from driftlog.testing.differing import verdict
from driftlog.testing.story import Appends, ClockIsOff, Meets, Step, Story, Undoes, name_of, told

if TYPE_CHECKING:
    from hypothesis import settings
    from hypothesis.strategies import SearchStrategy

    from driftlog._core.event import Event

ENTRIES_SHOWN_MAX = 20

Invariant = Callable[[Space], object]
"""What must be true of every device once all have met. It asserts: one that answers with a bool is refused."""


class Diverged(AssertionError):
    """Devices that met do not agree, or break an invariant. The text tells the story, and `story` can be played again."""

    def __init__(self, story: Story, text: str) -> None:
        super().__init__(text)
        self.story = story


def play(app: App, story: Story, *, invariant: Invariant | None = None) -> None:
    """Play a story, let all devices meet, and raise `Diverged` if they do not agree.

    `invariant(space)` is called for each device at the end, and an `AssertionError` of it raises `Diverged` too. What else
    is raised, as by an event that cannot be appended at all, is passed on.
    """
    with Crew(app, story.devices) as crew:
        lines = [_take(crew, step) for step in story.steps]
        what = crew.disagreement()
        if what is not None:
            raise Diverged(story, _text(f"devices that hold the same events differ: {what}", lines, crew, 0, CAUSES))
        for at, space in enumerate(crew):
            try:
                if invariant is not None and isinstance(said := invariant(space), bool):
                    raise TypeError(f"the invariant returned {said}, which fails nothing; let it assert")
            except AssertionError as error:
                what = f"an invariant does not hold at {name_of(at)} when all have met: {_said(error)}"
                raise Diverged(story, _text(what, lines, crew, at)) from error


def check_convergence(
    app: App,
    events: "SearchStrategy[Event] | None" = None,
    *,
    devices: int = 3,
    examples: int = 100,
    invariant: Invariant | None = None,
    settings: "settings | None" = None,
) -> None:
    """Play stories that Hypothesis draws, and raise `Diverged` with the shortest it finds after which devices differ.

    Users of two to `devices` devices append what `events` draws (by default `strategies.events(app)`), undo, meet in pairs
    or stay offline, and their clocks are off. In the end all meet: late events have taken their places, and every device
    must show what a device shows that joins then. `invariant(space)` asserts what must be true of that. `examples` are how
    many stories are played; `settings` are Hypothesis's own, in their place. Needs `driftlog[testing]`.
    """
    from driftlog.testing.strategies import stories  # first: it says what to install if Hypothesis is not there

    from hypothesis import Phase, given  # isort: skip
    from hypothesis import settings as make_settings
    from hypothesis.errors import Flaky

    # No deadline: the first story also pays for what is imported. Explaining would play stories for no better a text.
    phases = [phase for phase in make_settings().phases if phase is not Phase.explain]
    chosen = settings or make_settings(max_examples=examples, deadline=None, phases=phases)
    failures: list[Diverged] = []
    played: list[Story] = []

    def convergence(story: Story) -> None:
        played.append(story)
        try:
            play(app, story, invariant=invariant)
        except Diverged as diverged:
            failures.append(diverged)
            raise

    # Hypothesis keeps failures under this name, to try them first the next time: those of another app are no use.
    convergence.__name__ = convergence.__qualname__ = "convergence_of_" + app.name.encode().hex()
    test = make_settings(chosen, report_multiple_bugs=False)(given(stories(app, events, devices=devices))(convergence))
    try:
        test()
    except Diverged as diverged:
        # Without Hypothesis's notes and frames: the story says all that they do.
        raise Diverged(diverged.story, str(diverged)) from diverged.__cause__
    except Flaky:
        if not failures:
            raise
        shortest = min(failures, key=lambda diverged: (len(diverged.story.steps), len(str(diverged.story))))
        error = Diverged(shortest.story, str(shortest))
        error.add_note(
            "Played again, the same story came to something else: what a materializer looks at outlives the devices, as a "
            "global of its module does"
        )
        raise error from shortest.__cause__
    except Exception as error:
        if played:
            # Hypothesis ends with the shortest story that raises it, and notes that in a form in which nobody can read it.
            notes = [note for note in getattr(error, "__notes__", ()) if convergence.__name__ not in note]
            error.__notes__ = [*notes, f"It was raised in this story:\n{played[-1]}"]
        raise


def _take(crew: Crew, step: Step) -> str:
    """Do what a step says, and tell it with what came of it."""
    match step:
        case Appends(device, events):
            with crew.at(device) as space:
                try:
                    space.append(*events)
                except EventRejected as refused:
                    # Told to the user, and no event.
                    return f"{told(step)}, refused at once: {refused.reason}"
        case Undoes(device, back):
            with crew.at(device) as space:
                entries = [entry for entry in space.log() if entry.event is not None]
                if len(entries) <= back:
                    return f"{told(step)}, and has none"
                space.undo(entries[-1 - back].timestamp)
                return f"{told(step)}, {entries[-1 - back].event}"
        case Meets(device, other):
            crew.meet(device, other)
        case ClockIsOff(device, off_ms):
            crew.set_clock(device, off_ms)
        case _:
            assert_never(step)
    return told(step)


def _said(error: AssertionError) -> str:
    """Give an assertion's words, or the line that it stands in: without pytest's rewriting it has no words of its own."""
    frames = extract_tb(error.__traceback__)
    return str(error).strip() or frames[-1].line or repr(error)


def _text(what: str, lines: list[str], crew: Crew, at: int, advice: str = "") -> str:
    story = [f"  {number}. {line}" for number, line in enumerate(lines, 1)] or ["  nothing happens"]
    names = crew.names()
    entries = [f"  {number}. {told_event(e, names)}: {verdict(e)}" for number, e in enumerate(crew[at].log(), 1)]
    more = len(entries) - ENTRIES_SHOWN_MAX
    log = [f"  … {more} before", *entries[-ENTRIES_SHOWN_MAX:]] if more > 0 else entries
    parts = [what, "The story:", *story, f"Then all meet. The log, in its order, at {name_of(at)}:", *log, advice]
    return "\n".join(part for part in parts if part)

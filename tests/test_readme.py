"""The code of the front page, and of the pages that explain by it, runs as it stands there."""

import re
import sys
from pathlib import Path

import pytest

from driftlog import Space
from driftlog.testing import Diverged, RelayThread

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parent.parent


def blocks(page: str, language: str = "python") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


def test_the_front_pages_code_runs_and_does_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    first, second, third, fourth, undo, live, fifth = blocks("README.md")
    names: dict[str, object] = {"__name__": "readme"}
    relay = RelayThread(tmp_path / "relay.db")
    relay.start()
    try:
        exec(first, names)  # noqa: S102 - the page is ours
        assert capsys.readouterr().out == "1 milk\n"
        exec(second.replace("ws://localhost:8787", relay.url), names)  # noqa: S102
        assert "Status(pending=0" in capsys.readouterr().out
    finally:
        relay.stop()

    app = names["app"]
    assert hasattr(app, "open")
    ours: Space = app.open("todos.db")
    theirs: Space = app.open("elsewhere.db")
    exec(third, {"ours": ours, "theirs": theirs})  # noqa: S102
    assert theirs.query("SELECT id FROM todo") == [("1",)]
    assert theirs.digest() == ours.digest()
    exec(fourth, {"space": theirs})  # noqa: S102
    assert capsys.readouterr().out.splitlines() == [
        "[Row(text='milk', done=0)]",
        "TodoAdded(id='1', text='milk')",
        "TodoCompleted(id='1')",
    ]
    exec(undo, {"space": theirs, "TodoAdded": names["TodoAdded"]})  # noqa: S102
    assert capsys.readouterr().out == "[]\n"
    assert theirs.query("SELECT text FROM todo WHERE id = '3'") == [("oat milk",)]
    exec(live, {"space": theirs, "TodoAdded": names["TodoAdded"]})  # noqa: S102
    assert capsys.readouterr().out.splitlines() == [
        "(Added(index=0, row=Row(text='oat milk')),)",
        "(Added(index=1, row=Row(text='bread')),)",
    ]
    ours.close()
    theirs.close()

    exec(fifth, names)  # noqa: S102
    assert capsys.readouterr().out == "milk 1\n"


@pytest.mark.slow
def test_the_page_on_determinism_shows_a_fault_that_is_found_as_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    declared, checked, _ = blocks("docs/determinism.md")
    (tmp_path / "notes.py").write_text(declared)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "notes", raising=False)

    exec(checked, {})  # noqa: S102 - the page is ours
    del sys.modules["notes"]

    # Up to the seed: in which order a set comes out is Python's affair.
    said, shown = (
        " ".join(text.split()) for text in (capsys.readouterr().out, blocks("docs/determinism.md", "text")[0])
    )
    assert said.partition("=")[0] == shown.partition("=")[0]
    assert said.partition("Usual causes")[2] == shown.partition("Usual causes")[2]
    assert "PYTHONHASHSEED" in said


def test_the_page_on_determinism_shows_devices_that_find_each_other_equal(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    exec(blocks("docs/determinism.md")[2], names)  # noqa: S102 - the page is ours

    assert capsys.readouterr().out == blocks("docs/determinism.md", "text")[1]
    for space in names.values():
        if isinstance(space, Space):
            space.close()


def test_the_page_on_rejected_events_runs_and_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    said: list[str] = []
    code = blocks("docs/rejected.md")

    for block in code:
        if not block.startswith("@"):
            exec(block, names)  # noqa: S102 - the page is ours
            said.append(capsys.readouterr().out)

    assert said == blocks("docs/rejected.md", "text")
    examples = "".join(path.read_text() for path in (ROOT / "examples" / "invariants").glob("*.py"))
    for excerpt in [block for block in code if block.startswith("@")] + blocks("docs/rejected.md", "sql"):
        assert excerpt.strip() in examples, "what the page quotes is what the example does"
    for space in names.values():
        if isinstance(space, Space):
            space.close()


def test_the_page_on_settled_events_runs_and_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    said: list[str] = []

    for block in blocks("docs/settled.md"):
        exec(block, names)  # noqa: S102 - the page is ours
        said.append(capsys.readouterr().out)

    assert said == blocks("docs/settled.md", "text")
    for space in names.values():
        if isinstance(space, Space):
            space.close()


QUEUE_MENDED = "(SELECT coalesce(max(number), 0) + 1 FROM ticket)"


@pytest.mark.slow
def test_the_page_on_testing_shows_a_fault_that_is_found_as_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared, tested, *_ = blocks("docs/testing.md")
    (tmp_path / "queueing.py").write_text(declared)
    monkeypatch.syspath_prepend(tmp_path)
    names: dict[str, object] = {}
    exec(tested, names)  # noqa: S102 - the page is ours
    test = names["test_the_queue_converges"]
    assert callable(test)

    with pytest.raises(Diverged) as found:
        test()

    del sys.modules["queueing"]
    said, shown = (" ".join(text.split()) for text in (str(found.value), blocks("docs/testing.md", "text")[0]))
    assert re.sub(r"number=\d+", "number=…", said) == shown


@pytest.mark.slow
def test_the_tests_on_the_page_on_testing_pass_once_the_app_is_mended(pytester: pytest.Pytester) -> None:
    declared, *tests = blocks("docs/testing.md")
    assert QUEUE_MENDED in (ROOT / "docs/testing.md").read_text()
    mended = re.sub(r"    global .*\n    last_number .*\n", "", declared)
    mended = mended.replace("VALUES (?, ?)", f"SELECT ?, {QUEUE_MENDED}").replace(", last_number)", ",)")
    pytester.makepyfile(queueing=mended, test_queueing="\n".join(tests))

    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=6)


def test_every_page_that_is_linked_is_there() -> None:
    for page in [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"

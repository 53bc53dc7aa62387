"""The front page's code runs as it stands there."""

import re
from pathlib import Path

import pytest

from driftlog import Space
from driftlog.testing import RelayThread

ROOT = Path(__file__).parent.parent
BLOCKS = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)


def test_the_front_pages_code_runs_and_does_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    first, second, third, fourth = BLOCKS
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
    ours.close()
    theirs.close()

    exec(fourth, names)  # noqa: S102
    assert capsys.readouterr().out == "milk 1\n"


def test_every_page_that_is_linked_is_there() -> None:
    for page in [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"

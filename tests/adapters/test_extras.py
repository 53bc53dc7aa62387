"""The adapters' front doors: what they offer, and what they say where their framework is not installed."""

import importlib
import subprocess
import sys

import pytest

PUBLIC = {"starlette": ["LiveResponse"], "qt": ["LiveTableModel"], "textual": ["LiveTable"]}
FRAMEWORK = {"textual": "textual", "qt": "PySide6", "starlette": "starlette"}


@pytest.mark.parametrize("adapter", PUBLIC)
def test_the_public_names_are_these(adapter: str) -> None:
    pytest.importorskip(FRAMEWORK[adapter])
    module = importlib.import_module(f"driftlog.{adapter}")

    assert module.__all__ == PUBLIC[adapter]
    for name in module.__all__:
        for thing in (getattr(module, name), *vars(getattr(module, name)).items()):
            member, value = thing if isinstance(thing, tuple) else (name, thing)
            if not member.startswith("_") and callable(value):
                assert value.__doc__, f"driftlog.{adapter}: {member} has no docstring"


@pytest.mark.parametrize("adapter", PUBLIC)
def test_where_its_framework_is_missing_an_adapter_says_what_to_install(
    adapter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, f"driftlog.{adapter}", raising=False)
    for name in list(sys.modules):
        if name.split(".")[0] == FRAMEWORK[adapter]:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, FRAMEWORK[adapter], None)

    with pytest.raises(ModuleNotFoundError, match=rf'pip install "driftlog\[{adapter}\]"') as raised:
        importlib.import_module(f"driftlog.{adapter}")
    assert raised.value.name
    assert raised.value.name.split(".")[0] == FRAMEWORK[adapter]


def test_driftlog_itself_imports_none_of_them() -> None:
    code = "import driftlog, sys; print([one for one in ('textual', 'rich', 'PySide6', 'starlette') if one in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "[]\n"

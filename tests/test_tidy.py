"""What the code base promises of itself: layers, file sizes, public names, plain speech."""

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import driftlog
import driftlog.errors
import driftlog.relay
import driftlog.testing
import driftlog.testing.conformance

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "driftlog"
FILES = sorted(SOURCE.rglob("*.py"))

LAYERS = (
    ("errors",),
    ("_core", "_sqlite"),
    ("_crypto", "_protocol", "_store"),
    ("_reactive", "_transport", "relay"),
    ("_driver",),
    ("space",),
    ("cli", "studio", "testing", "qt", "starlette", "textual"),
)
"""From the bottom up. A layer may import those above it in this list; names on one line are strangers."""

LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}

FAMILIAR = {("relay", "_transport"), ("testing", "cli")}
"""Neighbours of one level that may know each other: the relay listens through the transport's interface, and an app that is
tested in another process is named as on the command line."""

RUNS = {"cli/simulate.py": "driftlog.testing.simulation."}
"""A command that is another package's front: this one file may import what it runs, and only when it runs (decision 19)."""

STRANGERS = {
    ("_protocol", "_crypto"): "a protocol is a value; checking signatures is an argument",
    ("_protocol", "_sqlite"): "a protocol knows no storage",
    ("_core", "_sqlite"): "the core is pure",
    ("relay", "_store"): "the relay keeps envelopes, it has no log",
}
"""What the levels alone would allow or leave unsaid, with the reason."""

PURE = ("_core", "_protocol")
IMPURE_MODULES = {"apsw", "asyncio", "datetime", "nacl", "os", "random", "secrets", "socket", "threading", "time"}

LINES_MAX = 400


def package_of(path: Path) -> str:
    parts = path.relative_to(SOURCE).parts
    return parts[0].removesuffix(".py")


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports(path: Path) -> Iterator[tuple[str, str]]:
    for name in imports_of(path):
        if name.startswith("driftlog."):
            yield name.split(".")[1], name


def is_allowed(importer: str, imported: str) -> bool:
    if importer == imported or (importer, imported) in FAMILIAR:
        return True
    return (importer, imported) not in STRANGERS and LEVEL[imported] < LEVEL[importer]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_down(path: Path) -> None:
    importer = package_of(path)
    if importer == "__init__":
        return  # the package's front door names what is public, from wherever it is made
    for imported, name in own_imports(path):
        runs = RUNS.get(path.relative_to(SOURCE).as_posix())
        is_run = runs is not None and name.startswith(runs)
        assert is_run or is_allowed(importer, imported), f"{path.relative_to(ROOT)} imports {name}"


@pytest.mark.parametrize("file", RUNS)
def test_what_a_command_runs_is_imported_when_it_runs(file: str) -> None:
    code = f"import sys, driftlog.cli.main; sys.exit(any(name.startswith({RUNS[file]!r}) for name in sys.modules))"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_rule_of_layers_refuses_what_it_is_there_for() -> None:
    assert not is_allowed("_core", "_store")
    assert not is_allowed("_crypto", "_store")
    assert not is_allowed("_protocol", "_sqlite")
    assert not is_allowed("relay", "_store")
    assert not is_allowed("_driver", "space")
    assert not is_allowed("cli", "testing")
    assert is_allowed("space", "_driver")


def test_the_relay_cannot_reach_what_opens_envelopes() -> None:
    """Not even through something it imports: a blind relay is blind by construction (P39)."""
    reached: set[str] = set()
    queue = [path for path in FILES if package_of(path) == "relay"]
    assert queue
    while queue:
        for _, name in own_imports(queue.pop()):
            for module in (name, name.rpartition(".")[0]):
                path = SOURCE.joinpath(*module.split(".")[1:])
                for file in (path.with_suffix(".py"), path / "__init__.py"):
                    if file.exists() and module not in reached:
                        reached.add(module)
                        queue.append(file)
    assert "driftlog._crypto.verify" in reached
    assert reached.isdisjoint({"driftlog._crypto.seal", "driftlog._crypto.keys"})
    assert not any(module.startswith(("driftlog._store", "driftlog.space")) for module in reached)


@pytest.mark.parametrize("package", PURE)
def test_pure_layers_reach_for_no_clock_disk_network_or_randomness(package: str) -> None:
    for path in FILES:
        if package_of(path) == package:
            roots = {name.split(".")[0] for name in imports_of(path)}
            assert roots.isdisjoint(IMPURE_MODULES), f"{path.relative_to(ROOT)} imports {roots & IMPURE_MODULES}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_file_can_be_held_in_the_head(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= LINES_MAX
    assert ast.get_docstring(ast.parse(text)), f"{path} does not say what it is"


def test_every_module_imports_by_itself() -> None:
    for path in FILES:
        if path.name != "__main__.py":
            module = ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")
            importlib.import_module(module)


def test_the_public_names_are_these() -> None:
    assert sorted(driftlog.__all__) == [
        "Added",
        "Agreement",
        "Answer",
        "App",
        "Changed",
        "Comparison",
        "DeviceStatus",
        "Difference",
        "DriftlogError",
        "Event",
        "EventRejected",
        "Finding",
        "Head",
        "LogEntry",
        "Moved",
        "Past",
        "Phase",
        "Receipt",
        "Refusal",
        "Rejected",
        "RelayStatus",
        "Removed",
        "Row",
        "Space",
        "State",
        "Status",
        "Subscription",
        "Sync",
        "SyncState",
        "Timestamp",
        "Transaction",
        "Verdict",
        "VersionVector",
        "ViewTransaction",
        "Way",
        "errors",
        "reject",
    ]
    assert sorted(name for name in vars(driftlog.errors) if not name.startswith("_")) == [
        "AppChanged",
        "Busy",
        "Closed",
        "Corrupt",
        "DiskFull",
        "DriftlogError",
        "EventRejected",
        "ForbiddenSQL",
        "InvalidAddress",
        "InvalidApp",
        "InvalidEnvelope",
        "InvalidEvent",
        "InvalidInvite",
        "InvalidKey",
        "LocalTablesChanged",
        "MissingDeviceKey",
        "NeedsUpgrade",
        "NewerFormat",
        "NotADriftlogFile",
        "OtherApp",
        "ProtocolError",
        "ReadOnly",
        "RelayError",
        "RelayRefused",
        "StorageError",
        "UnusableFile",
    ]
    assert sorted(driftlog.testing.__all__) == [
        "Crew",
        "Diverged",
        "Nondeterministic",
        "RelayThread",
        "Simulated",
        "SimulationFailed",
        "Workload",
        "check_convergence",
        "check_determinism",
        "exchange",
        "fleet",
        "play",
        "simulate",
    ]
    assert sorted(driftlog.testing.conformance.__all__) == [
        "MakePair",
        "MakeStore",
        "Nonconforming",
        "STORE_CHECKS",
        "StoreCheck",
        "TRANSPORT_CHECKS",
        "check_connecting",
        "check_store",
        "check_transport",
    ]
    assert sorted(driftlog.relay.__all__) == [
        "Accepted",
        "Admitted",
        "BatchSeq",
        "Birthday",
        "Counts",
        "DamagedSpace",
        "DeviceKey",
        "Envelope",
        "EnvelopeHash",
        "FRAME_ENVELOPES_MAX",
        "HEADS_PER_FRAME_MAX",
        "Head",
        "Job",
        "NO_HEAD",
        "Outcome",
        "PageRead",
        "Position",
        "Proved",
        "ReadPage",
        "Refusal",
        "Rejected",
        "RelayStore",
        "SPACE_BYTES_MAX",
        "SpaceId",
        "SqliteStore",
        "Standing",
        "StoreReader",
        "StoreWriter",
        "VersionVector",
        "judge",
    ]
    for module in (driftlog, driftlog.relay, driftlog.testing, driftlog.testing.conformance):
        for name in module.__all__:
            assert hasattr(module, name)


def test_public_things_say_what_they_are() -> None:
    for name in driftlog.__all__:
        thing = getattr(driftlog, name)
        assert thing.__doc__, f"driftlog.{name} has no docstring"
        if isinstance(thing, type) and thing.__module__.startswith("driftlog"):
            for part in thing.__mro__:
                for member, value in vars(part).items() if part.__module__.startswith("driftlog") else ():
                    if not member.startswith("_") and callable(value):
                        assert value.__doc__, f"driftlog.{name}.{member} has no docstring"


SYNONYMS = {
    r"\bpeers?\b": "device",
    r"\bnodes?\b": "device",
    r"\bcheckpoints?\b": "snapshot (checkpoint is SQLite's word)",
    r"\bmutations?\b": "event",
}
"""Words the glossary forbids, and what to say instead."""

SQLITE_OWN = re.compile(r"autocheckpoint|wal_checkpoint|between checkpoints|at checkpoints|ast\.", re.IGNORECASE)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_the_words_are_the_glossarys(path: Path) -> None:
    for line in path.read_text().splitlines():
        if SQLITE_OWN.search(line):
            continue
        for pattern, instead in SYNONYMS.items():
            assert not re.search(pattern, line, re.IGNORECASE), f"{path.name}: say {instead}: {line.strip()}"

"""Finds the app that a command line names, `module:attribute` or `file.py:attribute`, by importing where it is declared."""

import importlib
import importlib.util
import sys
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Final

from driftlog.cli.arguments import UsageError
from driftlog.errors import InvalidApp
from driftlog.space.app import App

_FILES: Final = dict[str, ModuleType]()
"""The modules made here from files, by name."""


class NoWork(UsageError):
    """The app is there, and the function that does what its users do is not."""


def load_app(name: str) -> App:
    """Import the app. Raises `UsageError` if there is none by that name, `InvalidApp` if the import itself fails."""
    where, attribute = _parts(name)
    return _app_in(_import(where), where, attribute)


def load_app_and_work(name: str, work: str) -> tuple[App, Callable[..., object]]:
    """Import an app, and the function that does what its users do. A file that declares both is run once.

    Else the function would append events of types that the app has never seen. Raises what `load_app` raises.
    """
    where, attribute = _parts(name)
    work_where, colon, work_attribute = work.rpartition(":")
    if not colon or not work_where or not work_attribute:
        raise UsageError(
            f"{work!r} names no workload; give module:function, or file.py:function, such as todos.py:work"
        )
    module = _import(where)
    app = _app_in(module, where, attribute)
    beside = module if _is_same(where, work_where) else _import(work_where)
    try:
        function = attrgetter(work_attribute)(beside)
    except AttributeError:
        raise NoWork(f"{work_where} has no {work_attribute!r}; {_WORKLOAD}") from None
    if not callable(function):
        raise UsageError(f"{work} is of type {type(function).__name__}, not a function; {_WORKLOAD}")
    return app, function


_WORKLOAD: Final = (
    "give a function that does once what a user does, `def work(space, random): space.append(...)`, "
    "which draws from `random` only"
)


def _parts(name: str) -> tuple[str, str]:
    # From the right: a Windows path may begin with a drive and a colon.
    where, colon, attribute = name.rpartition(":")
    if not colon or not where or not attribute:
        raise UsageError(f"{name!r} names no app; give module:attribute, or file.py:attribute, such as todos.py:app")
    return where, attribute


def _app_in(module: ModuleType, where: str, attribute: str) -> App:
    try:
        app = attrgetter(attribute)(module)
    except AttributeError:
        raise UsageError(f"{where} has no {attribute!r}; {_apps_in(module)}") from None
    if not isinstance(app, App):
        raise UsageError(f"{where}:{attribute} is of type {type(app).__name__}, not App; {_apps_in(module)}")
    return app


def _is_same(where: str, other: str) -> bool:
    if where.endswith(".py") and other.endswith(".py"):
        return Path(where).resolve() == Path(other).resolve()
    return where == other


def _import(where: str) -> ModuleType:
    return _import_file(Path(where)) if where.endswith(".py") else _import_module(where)


def _import_module(name: str) -> ModuleType:
    # As `python -m` would find it: the directory one works in comes first.
    _put_first(Path.cwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # Its own parents and itself are the user's to name; anything else is missing inside.
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise UsageError(
                f"there is no module {error.name!r} here or on Python's path; check the name, or give file.py:attribute"
            ) from None
        raise _failed(name, error) from error
    except Exception as error:
        raise _failed(name, error) from error


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"there is no file {path}; check the path of the file that declares the app")
    # As `python file.py` would: its neighbours can be imported.
    _put_first(path.resolve().parent)
    name = _free_name(path.stem)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None, "the name ends in .py"
    assert spec.loader is not None, "a file has a loader"
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(name)
    # Known before it runs, as any module: dataclasses and pickling look their module up by name.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before
        raise _failed(str(path), error) from error
    _FILES[name] = module
    return module


def _free_name(stem: str) -> str:
    """Give a name for a file's module that replaces no other one: whoever imports `json` later must not get an app."""
    # One that was made here may be replaced: it is the same file again, or another version of the app.
    return stem if sys.modules.get(stem) is _FILES.get(stem) else f"{stem}_app_file"


def _put_first(directory: Path) -> None:
    if str(directory) not in sys.path:
        sys.path.insert(0, str(directory))


def _failed(name: str, error: Exception) -> InvalidApp:
    return InvalidApp(f"importing {name} failed: {type(error).__name__}: {error}; run it with python to see where")


def _apps_in(module: ModuleType) -> str:
    apps = sorted(name for name, value in vars(module).items() if isinstance(value, App))
    return f"it declares {', '.join(apps)}" if apps else "it declares no App at its top level"

"""Code that is not part of Shardmill: who may name it, where it is found, and what is said when it fails.

A reference is `package.module:NAME` (an installed module) or `path/to/file.py:NAME`. Only the user's own command makes one
loadable: a command that names it calls `allow_code`. A plan, a manifest or any other file in a run folder can name code but never
allow it, so a run folder from a stranger cannot make a worker import anything. What was allowed reaches worker processes through
the environment variable SHARDMILL_CODE, and later commands of the same user on the same run through a file in that user's state
folder (XDG_STATE_HOME).
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Mapping
from hashlib import sha256
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from shardmill.models.registry import set_code_loader
from shardmill.util.atomic import replacing
from shardmill.util.errors import UserError, did_you_mean
from shardmill.util.safe_files import MAX_RECORD_BYTES, read_private

VARIABLE = "SHARDMILL_CODE"
_loaded: dict[Path, ModuleType] = {}
_objects: dict[str, Any] = {}


def is_reference(text: str) -> bool:
    """Whether a text refers to an object in a module or file: `pkg.module:NAME`, `file.py:NAME`."""
    module, colon, name = text.rpartition(":")
    return bool(colon and module) and name.isidentifier() and (module.endswith(".py") or is_module(module))


def is_module(text: str) -> bool:
    """Whether a text has the form of a module's name."""
    return all(part.isidentifier() for part in text.split("."))


def name_of(text: str, base: Path | None = None) -> tuple[str, str]:
    """The name by which a plan calls a reference, `module:NAME`, and where its module is: a file, or "" for an installed module.

    Relative paths start from `base`, by default the current folder.
    """
    module, _, name = text.rpartition(":")
    if not module.endswith(".py"):
        return text, ""
    path = ((base or Path.cwd()) / module).resolve()
    return f"{path.stem}:{name}", str(path)


def allow_code(text: str, base: Path | None = None) -> str:
    """Let this process and the processes that it starts load a reference that the user's command names.

    Args:
        text: The reference as typed.
        base: The folder that relative paths start from.

    Returns:
        The name for plans, `module:NAME`.

    Raises:
        UserError: If the file does not exist, or another file of the same name is in use already.
    """
    name, location = name_of(text, base)
    if location and not Path(location).is_file():
        raise UserError(f"{text}: there is no file {location}")
    allowed = allowed_code()
    if allowed.get(name, location) != location:
        raise UserError(f"{text}: {allowed[name]} and {location} cannot be used together: rename one of the two files")
    allow_all({name: location})
    return name


def allowed_code() -> dict[str, str]:
    """The references that may be loaded, by name, with the file of each ("" for an installed module)."""
    try:
        found = json.loads(os.environ.get(VARIABLE, "{}"))
        return {str(name): str(location) for name, location in found.items()}
    except (ValueError, AttributeError) as error:
        raise UserError(f"the environment variable {VARIABLE} is not a JSON object of references: {error}") from None


def allow_object(found: Any, name: str = "") -> str:
    """Make an object of this process, say a class of a notebook, loadable by the name that is returned; in this process only.

    An object that is not a class or function needs a name, `module:NAME`.
    """
    name = name or f"{found.__module__}:{found.__name__}"
    _objects[name] = found
    return name


def allow_all(references: Mapping[str, str]) -> None:
    """Allow what another process of the same command was allowed."""
    if references:
        os.environ[VARIABLE] = json.dumps({**allowed_code(), **references})


def load_code(name: str) -> Any:
    """The object that an allowed reference names.

    Raises:
        UserError: If no command of the user named it, if the module cannot be imported (with file and line of the user's code),
            or if it has no such object.
    """
    if name in _objects:
        return _objects[name]
    allowed = allowed_code()
    if name not in allowed:
        raise UserError(
            f"the run uses code of its own, {name}, which this command does not name; name it with --code {_example(name)} "
            "(code is never loaded because a run folder asks for it)"
        )
    module_name, _, attribute = name.rpartition(":")
    module = _file_module(Path(allowed[name])) if allowed[name] else _installed_module(module_name)
    try:
        return getattr(module, attribute)
    except AttributeError:
        known = [each for each in vars(module) if not each.startswith("_")]
        raise UserError(f"{allowed[name] or module_name} has no {attribute}; {did_you_mean(attribute, known)}") from None


def _example(name: str) -> str:
    module, _, attribute = name.rpartition(":")
    return f"{module}.py:{attribute}" if "." not in module else name


def _installed_module(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise UserError(
                f"there is no installed module {name}; install its package, add its folder to PYTHONPATH, "
                f"or name its file: path/to/{name.rpartition('.')[2]}.py:NAME"
            ) from None
        raise UserError(f"importing {name} failed at {where(error)}: {describe(error)}") from error
    except Exception as error:
        raise UserError(f"importing {name} failed at {where(error)}: {describe(error)}") from error


def _file_module(path: Path) -> ModuleType:
    """The module of a file; like a script it may import its neighbours."""
    if path in _loaded:
        return _loaded[path]
    spec = spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path} is not a Python file")
    module = module_from_spec(spec)
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    sys.modules.setdefault(path.stem, module)  # dataclasses and pydantic look their module up there
    try:
        spec.loader.exec_module(module)
    except FileNotFoundError:
        raise UserError(f"the file {path} of the run's own code was not found; name it where it is now with --code") from None
    except Exception as error:
        if sys.modules.get(path.stem) is module:
            del sys.modules[path.stem]
        raise UserError(f"loading {path.name} failed at {where(error, path)}: {describe(error)}") from error
    _loaded[path] = module
    return module


def describe(error: BaseException) -> str:
    """An error on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def where(error: BaseException, path: Path | None = None) -> str:
    """The file and line of the user's code at which an error arose: the last frame in `path`, or outside of Shardmill."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    ours = str(Path(__file__).parents[1])
    own = [frame for frame in frames if (frame.filename == str(path) if path else not frame.filename.startswith((ours, "<")))]
    return f"{own[-1].filename}, line {own[-1].lineno}" if own else "an unknown line"


def remember_code(run: Path, references: Mapping[str, str]) -> None:
    """Keep what the user's command named for this run, so that the user need not name it in every later command."""
    if not references:
        return
    file = _state_file(run)
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with replacing(file) as content:
            os.fchmod(content.fileno(), 0o600)
            content.write(json.dumps({"run": str(run.resolve()), "code": dict(references)}).encode())
    except OSError:  # a home that cannot be written: the next command has to name the code again
        return


def recall_code(run: Path) -> None:
    """Allow what an earlier command of the same user named for this run. A file that others could have written does not count."""
    try:
        kept = json.loads(read_private(_state_file(run), MAX_RECORD_BYTES))["code"]
        allow_all({str(name): str(location) for name, location in kept.items() if name not in allowed_code()})
    except (OSError, UserError, ValueError, KeyError, AttributeError, TypeError, RecursionError):
        return


def _state_file(run: Path) -> Path:
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return state / "shardmill" / "code" / f"{sha256(str(run.resolve()).encode()).hexdigest()[:32]}.json"


set_code_loader(load_code)

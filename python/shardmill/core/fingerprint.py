"""The digest of the source code that shapes a stage's rows.

It covers the module of a class and, transitively, the modules of the same project that this one imports: for Shardmill's own code
all but the machinery in MACHINERY, for a user's code its neighbours or its package. A data file that a module names beside itself
counts as well. Comments, docstrings and formatting do not: what is digested is the syntax tree.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from shardmill.util.resources import PACKAGE

MACHINERY = (
    "core", "store", "util", "cli", "launch", "monitor", "quality", "pages", "audit", "compare", "export", "previews",
)  # fmt: skip
"""Packages whose code decides how rows are read, run, written and shown, not what is in them."""
DATA = (".csv", ".txt", ".json", ".jsonl", ".yaml", ".gz")


def source_digests(kind: type) -> dict[str, str]:
    """The digests of all files that shape what a class does, by a name that is the same on every machine.

    Args:
        kind: A stage or model class.

    Returns:
        File names such as `shardmill/language/nouns.py` or `colours.py`, each with 16 hexadecimal digits.
    """
    start = _file_of_class(kind)
    if start is None:
        return {f"{kind.__module__}.{kind.__qualname__}": _interactive_digest(kind)}
    root = _root_of(start, kind.__module__)
    found: dict[str, str] = {}
    todo: list[Path] = [start]
    while todo:
        path = todo.pop()
        label = path.relative_to(root).as_posix()
        if label in found:
            continue
        digest, imported, data = _read(path, root)
        found[label] = digest
        todo += imported
        found.update(data)
    return dict(sorted(found.items()))


def combined(digests: dict[str, str]) -> str:
    """One digest of several files."""
    return sha256(repr(sorted(digests.items())).encode()).hexdigest()[:16]


def changed_files(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """The files that differ."""
    return [name for name in sorted(before.keys() | now.keys()) if before.get(name) != now.get(name)]


def _file_of_class(kind: type) -> Path | None:
    """The file that defines a class; None for a class made in a notebook or at a prompt."""
    try:
        path = Path(inspect.getfile(kind)).resolve()
    except (OSError, TypeError):
        return None
    return path if path.is_file() else None


def _interactive_digest(kind: type) -> str:
    try:
        return _tree_digest(ast.parse(inspect.cleandoc(inspect.getsource(kind))))
    except (OSError, TypeError, SyntaxError):
        return sha256(kind.__qualname__.encode()).hexdigest()[:16]


def _root_of(path: Path, module: str) -> Path:
    """The folder that a project's modules are named from: above the top package, or the file's own folder."""
    if path.is_relative_to(PACKAGE):
        return PACKAGE.parent
    depth = module.count(".") + (path.name == "__init__.py")
    root = path.parents[depth] if depth < len(path.parents) else path.parent
    expected = root.joinpath(*module.split("."))
    return root if expected.with_suffix(".py") == path or expected / "__init__.py" == path else path.parent


@lru_cache(maxsize=2048)
def _read(path: Path, root: Path) -> tuple[str, list[Path], dict[str, str]]:
    """The digest of a module, the modules of its project that it imports, and the digests of data files that it names."""
    tree = ast.parse(path.read_bytes())
    data = {}
    for file in _data_files(tree, path):
        data[_label(file, root)] = sha256(file.read_bytes()).hexdigest()[:16]
    imported = [module for name in _imports(tree, path, root) if (module := _file_of(name, root)) is not None]
    return _tree_digest(tree), [module for module in imported if not _is_machinery(module)], data


def _label(file: Path, root: Path) -> str:
    return file.relative_to(root).as_posix() if file.is_relative_to(root) else file.name


def _is_machinery(path: Path) -> bool:
    return path.is_relative_to(PACKAGE) and path.relative_to(PACKAGE).parts[0] in MACHINERY


def _imports(tree: ast.AST, path: Path, root: Path) -> Iterator[str]:
    """The dotted names that a module imports, at its top or inside of functions; relative ones made absolute."""
    package = path.relative_to(root).with_suffix("").parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level]) if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def _file_of(name: str, root: Path) -> Path | None:
    """The file of a module of this project; None for any other module, and for the face of a package."""
    file = root.joinpath(*name.split(".")).with_suffix(".py")
    return file if name and file.is_file() else None


def _data_files(tree: ast.AST, path: Path) -> Iterator[Path]:
    """Data files that a module names: beside it, or with its own name and another suffix.

    Resources are texts of the run: stages that read them have them in their fingerprints.
    """
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and node.value.endswith(DATA)
            and "\n" not in node.value
        ):
            candidates = [path.parent / node.value]
            if node.value in DATA:
                candidates = [path.with_suffix(node.value)]
            yield from [file for file in candidates if file.is_file()][:1]


def _tree_digest(tree: ast.AST) -> str:
    return sha256(repr(_plain(tree)).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _plain(node: Any) -> Any:
    """A syntax tree as nested tuples, without what differs between Python versions (empty fields, contexts) and docstrings."""
    if isinstance(node, list):
        return [_plain(each) for each in node]
    if not isinstance(node, ast.AST):
        return node
    fields = {name: value for name, value in ast.iter_fields(node) if name not in ("ctx", "kind", "type_comment")}
    if (
        isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and ast.get_docstring(node) is not None
    ):
        fields["body"] = fields["body"][1:]
    kept = [(name, _plain(value)) for name, value in fields.items() if value is not None and value != []]
    return (type(node).__name__, kept)

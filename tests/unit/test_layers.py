"""Imports run one way, from the commands down to what all may use, and no pipeline is known outside its own folder."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import shardmill
from shardmill.core.registry import bundled_pipelines

ROOT = Path(shardmill.__file__).parent
LAYERS = {
    "cli": 9, "__main__": 9, "api": 9, "__init__": 9,
    "monitor": 8, "launch": 7,
    "negbench": 6, "antidote": 6, "recaption": 6, "anyedit": 6,
    "previews": 5, "audit": 5, "compare": 5, "export": 5, "quality": 5, "stages": 5,
    "pages": 4,
    "core": 3, "embedded": 3,
    "models": 2, "tables": 2, "store": 2,
    "language": 1,
    "util": 0,
}  # fmt: skip


def imports() -> list[tuple[str, str]]:
    """(importing, imported) top names within the package, from the code alone."""
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        importing = path.relative_to(ROOT).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: relative import"
                names = [f"shardmill.{alias.name}" for alias in node.names] if node.module == "shardmill" else [node.module or ""]
            found += [(importing, name.split(".")[1]) for name in names if name.startswith("shardmill.")]
    return found


def test_imports_only_run_down() -> None:
    assert {name for pair in imports() for name in pair} - {"__version__"} <= LAYERS.keys()
    upward = {(a, b) for a, b in imports() if a != "__init__" and b in LAYERS and LAYERS[b] > LAYERS[a]}  # it imports lazily
    assert upward == set()


def test_neighbours_do_not_know_each_other() -> None:
    pairs = set(imports())
    assert ("store", "models") not in pairs
    assert ("tables", "models") not in pairs
    assert ("launch", "quality") not in pairs


def test_importing_the_package_is_quick_and_light() -> None:
    code = (
        "import sys, time; start = time.process_time(); import shardmill; spent = time.process_time() - start; "
        "heavy = [n for n in ('torch', 'vllm', 'matplotlib', 'polars', 'textblob') if n in sys.modules]; print(spent, heavy)"
    )
    spent, heavy = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split(maxsplit=1)
    assert float(spent) < 0.3
    assert heavy.strip() == "[]"


HEAVY = {"torch", "vllm", "transformers", "diffusers", "groundingdino", "matplotlib", "textblob", "pandas"}
PARTS_OF_ENGINES = {
    "models/caption/minigpt4_parts.py",
    "models/detect/phrases.py",
    "models/text/constrained.py",
    "models/text/row_sampling.py",
}
"""Modules that are made of a heavy package's classes."""
LIGHT = {"click", "shardmill"}


def imported_at_once(path: Path) -> set[str]:
    """Top names that a module imports when it is imported itself, so outside of functions."""
    names: set[str] = set()
    nodes: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
        elif isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            nodes += node.orelse
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            nodes += ast.iter_child_nodes(node)
    return names


def test_heavy_packages_are_imported_only_inside_functions() -> None:
    for path in sorted(ROOT.rglob("*.py")):
        if path.relative_to(ROOT).as_posix() not in PARTS_OF_ENGINES:
            assert imported_at_once(path) & HEAVY == set(), path


def test_parts_of_engines_are_imported_only_when_their_engine_is_loaded() -> None:
    parts = {"shardmill." + name.removesuffix(".py").replace("/", ".") for name in PARTS_OF_ENGINES}
    for path in sorted(ROOT.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert not [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module in parts], path


def test_the_command_and_the_commands_of_pipelines_import_nothing_that_makes_help_slow() -> None:
    for path in (*ROOT.glob("cli/*.py"), *ROOT.glob("*/commands.py"), ROOT / "launch" / "__init__.py"):
        assert imported_at_once(path) - sys.stdlib_module_names <= LIGHT, path


def test_no_pipeline_is_named_outside_its_own_folder() -> None:
    """`embedded/` is excepted: its rules answer the tasks of all pipelines."""
    named = re.compile("|".join(bundled_pipelines()), re.IGNORECASE)
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        folder = path.relative_to(ROOT).parts[0]
        if folder == "embedded":
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if any(name.lower() != folder for name in named.findall(line)):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert found == []

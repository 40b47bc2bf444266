"""A stage's version is part of every shard's fingerprint: it must be bumped when code changes so that rows can change.

The table of what each version stands for is data/stage_versions.json; comments, docstrings and blank lines do not count.
"""

from __future__ import annotations

import ast
import io
import json
import sys
import tokenize
from hashlib import sha256
from importlib import import_module
from pathlib import Path

import shardmill
from shardmill.core.stage import PIPELINES, Stage, stage_modules
from shardmill.models.registry import MODELS

ROOT = Path(shardmill.__file__).parent
TABLE = Path(__file__).parents[1] / "data" / "stage_versions.json"
UPDATE = f"python {Path(__file__).relative_to(Path(__file__).parents[2]).as_posix()} --update"
SETTINGS = ["models/settings.py"]
TEXT = ["models/text/settings.py", *SETTINGS]
VLLM = ["models/text/vllm.py", *TEXT]
PHOTOS = ["models/detect/photos.py", "models/detect/findings.py", "models/pictures.py", "models/images.py", *SETTINGS]
DINO = ["models/detect/grounding_dino.py", "models/detect/phrases.py", *PHOTOS]
ROWS = ["models/text/row_sampling.py"]
MODEL_CODE = {
    ("text", "rules"): ["models/text/rules/*.py"],
    ("text", "vllm"): VLLM,
    ("text", "openai"): ["models/text/openai.py", "models/text/openai_answer.py", *TEXT],
    ("text", "transformers"): ["models/text/transformers.py", "models/text/constrained.py", *ROWS, *TEXT],
    ("detect", "scene"): ["models/scene/*.py", "models/detect/scene.py"],
    ("detect", "owlvit"): ["models/detect/owl.py", *PHOTOS],
    ("detect", "owlv2"): ["models/detect/owl.py", *PHOTOS],
    ("detect", "grounding-dino"): DINO,
    ("detect", "groundingdino"): ["models/detect/groundingdino_py.py", *DINO],
    ("paint", "scene"): ["models/scene/*.py", "models/paint/scene.py", "models/paint/prompt_weights.py", "models/paint/store.py"],
    ("paint", "diffusers"): ["models/paint/*.py", *SETTINGS],
    ("caption", "scene"): ["models/scene/*.py", "models/caption/scene.py"],
    ("caption", "transformers"): ["models/caption/transformers.py", "models/caption/pictures.py", *ROWS, *SETTINGS],
    ("caption", "vllm"): ["models/caption/vllm.py", "models/caption/pictures.py", *VLLM],
    ("caption", "minigpt4"): ["models/caption/minigpt4.py", "models/caption/minigpt4_parts.py", *ROWS, *SETTINGS],
    ("score", "scene"): ["models/scene/*.py", "models/score/scene.py", "models/caption/scene.py"],
    ("score", "clip"): ["models/score/clip.py", "models/score/aesthetic.py", "models/pictures.py", "models/images.py", *SETTINGS],
}
"""The code of the models, which bear versions of their own."""


def bare(source: str) -> str:
    """Source without comments, docstrings, blank lines and trailing blanks; the same on every Python."""
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines[node.lineno - 1 : node.end_lineno] = [""] * ((node.end_lineno or node.lineno) - node.lineno + 1)
    return "\n".join(line.rstrip() for line in lines if line.strip())


def code_of(path: Path, stages: set[Path]) -> set[Path]:
    """`path` and what shapes rows with it: the modules of its pipeline and of `language` that it imports, directly or not."""
    found, waiting = {path}, [path]
    while waiting:
        for node in ast.walk(ast.parse(waiting.pop().read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                place = ROOT.joinpath(*node.module.split(".")[1:])
                other = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
                near = path.parent in other.parents or ROOT / "language" in other.parents
                if near and other.exists() and other not in found | stages:
                    found.add(other)
                    waiting.append(other)
    return found


def digest(paths: set[Path]) -> str:
    code = [f"{path.relative_to(ROOT).as_posix()}\n{bare(path.read_text(encoding='utf-8'))}" for path in sorted(paths)]
    return sha256("\n".join(code).encode()).hexdigest()


def stages() -> dict[str, type[Stage]]:
    """The stages of all pipelines by name."""
    found = {}
    for pipeline in PIPELINES:
        for name in stage_modules(pipeline):
            module = import_module(f"shardmill.{pipeline}.{name}")
            found.update(
                {
                    value.name: value
                    for value in vars(module).values()
                    if isinstance(value, type(Stage)) and value.__module__ == module.__name__ and issubclass(value, Stage)
                }
            )
    return found


def versions() -> dict[str, list[int | str]]:
    """{stage or model: [version, digest of its code]}, as it is now."""
    paths = {name: Path(str(sys.modules[stage.__module__].__file__)) for name, stage in stages().items()}
    now: dict[str, list[int | str]] = {}
    for name, stage in stages().items():
        now[name] = [stage.version, digest(code_of(paths[name], set(paths.values())))]
    for (role, kind), target in MODELS.items():
        module = import_module(target.partition(":")[0])
        modules = {path for place in MODEL_CODE[role, kind] for path in ROOT.glob(place)}
        now[f"{role} model {kind}"] = [module.VERSION, digest({path for start in modules for path in code_of(start, set())})]
    return dict(sorted(now.items()))


def test_code_that_changed_has_a_new_version_or_is_known_to_give_the_same_rows() -> None:
    table, now = json.loads(TABLE.read_text()), versions()
    changed = [name for name in now if table.get(name) != now[name]]
    assert not changed, f"the code of {', '.join(changed)} changed: bump its version if its rows can change, then run: {UPDATE}"
    assert table.keys() == now.keys(), f"the table names what is gone; run: {UPDATE}"


def test_every_stage_of_the_pipelines_is_in_the_table() -> None:
    assert {name for name in versions() if name.startswith("negbench.")} == {
        f"negbench.{path.stem}" for path in (ROOT.parents[1] / "templates" / "negbench").glob("*.md")
    } | {"negbench.create_mcq", "negbench.filter_objects"}


def test_only_code_counts() -> None:
    plain = 'def f(x):\n    return x + "#1"\n'
    dressed = '"""Module."""\n\ndef f(x):  # why\n    """Doc\n\n    more."""\n\n    return x + "#1"   \n# end\n'
    assert bare(dressed) == bare(plain)
    assert bare(plain.replace("#1", "#2")) != bare(plain)


if __name__ == "__main__":
    if sys.argv[1:] != ["--update"]:
        sys.exit(f"usage: {UPDATE}")
    TABLE.write_text(json.dumps(versions(), indent=1) + "\n")
    print(f"{TABLE}: {len(versions())} versions")

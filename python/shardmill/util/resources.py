"""Files that come with the product: templates, pipeline files."""

from __future__ import annotations

import sys
from pathlib import Path

from shardmill.util.errors import UserError, did_you_mean
from shardmill.util.texts import text_of

PACKAGE = Path(__file__).parents[1]
REPOSITORY = PACKAGE.parents[1]


def resource_roots() -> list[Path]:
    """The folders in which the product's own files are looked up: the checkout, then the installed package."""
    return [REPOSITORY, PACKAGE / "_resources"]


def resource_path(relative: str) -> Path:
    """The path of a file such as `templates/PIPELINE/STAGE.md`, in the repository or in the installed package."""
    for root in resource_roots():
        path = root / relative
        if path.is_file():
            return path
    names = resource_names(str(Path(relative).parent))
    raise UserError(f"there is no {relative}; {did_you_mean(Path(relative).stem, names)}")


def resource_names(folder: str) -> list[str]:
    """The names of such files in a folder, without suffix."""
    return sorted({path.stem for root in resource_roots() for path in (root / folder).glob("*") if path.is_file()})


def resource_text(relative: str) -> str:
    """The text of such a file, or that which the run in use keeps of it."""
    return text_of(relative, lambda: resource_path(relative).read_text(encoding="utf-8"))


def logs_folder() -> Path | None:
    """The repository's `logs/`; None for an installed package, which has its logs beside what they are of."""
    return REPOSITORY / "logs" if (REPOSITORY / "pyproject.toml").is_file() else None


def command_name() -> str:
    """How the user started us, for hints such as `run: shardmill status RUN`."""
    return "shardmill" if Path(sys.argv[0]).stem in {"shardmill", "__main__", "pytest"} else Path(sys.argv[0]).name

"""The card of an exported dataset: metadata that the Hugging Face hub and `datasets` read, and what people want to know."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import yaml

from shardmill import __version__
from shardmill.export.prompts import PromptFile
from shardmill.export.rows import TableRows
from shardmill.store.cells import Kind
from shardmill.store.dataset_card import stage_entry
from shardmill.store.run_folder import INGEST
from shardmill.util.resources import resource_text

TEMPLATE = "templates/export/card.md.j2"
FEATURES: Mapping[Kind, dict[str, Any]] = {
    "text": {"dtype": "string"}, "int": {"dtype": "int64"}, "float": {"dtype": "float64"}, "bool": {"dtype": "bool"},
    "list": {"list": "string"}, "json": {"dtype": "string"},
}  # fmt: skip
SIZES = (
    (10**3, "n<1K"),
    (10**4, "1K<n<10K"),
    (10**5, "10K<n<100K"),
    (10**6, "100K<n<1M"),
    (10**7, "1M<n<10M"),
    (10**8, "10M<n<100M"),
)
MARKUP = str.maketrans({char: f"\\{char}" for char in "\\`*_{}[]()#+!|~"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"})


@dataclass(frozen=True)
class CardTable:
    """A configuration: the rows and bytes of its files, and the column in which images are embedded."""

    source: TableRows
    rows: int
    size: int
    embedded: str | None


def card(tables: Sequence[CardTable], prompts: Sequence[PromptFile], left_out: Mapping[str, int]) -> str:
    """The text of README.md."""
    run = tables[0].source.run
    shards = sorted({shard for table in tables for shard in table.source.shards})
    stages = stages_of([table.source for table in tables])
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["plain"] = plain
    entries = [stage_entry(run, stage, shards) for stage in [INGEST, *stages]]
    commits = {entry["stage"]: entry.get("commits", {}) for entry in entries}
    body = environment.from_string(resource_text(TEMPLATE)).render(
        plan=run.plan,
        version=__version__,
        input_name=Path(run.plan.input.path).name,
        tables=tables,
        entries=entries,
        models=[
            (stage, *model_of(run.stage(stage).model, run.stage(stage).fingerprint, commits[stage]))
            for stage in stages
            if run.stage(stage).model
        ],
        prompts=[(prompt, [(name, prompt_path(name)) for name in prompt.files]) for prompt in prompts],
        left_out=dict(sorted(left_out.items())),
        shards=len(shards),
        missing=sorted({shard for table in tables for shard in table.source.missing}),
    )
    return f"---\n{yaml.safe_dump(metadata(tables), sort_keys=False, allow_unicode=True)}---\n{body}"


def metadata(tables: Sequence[CardTable]) -> dict[str, Any]:
    """The YAML header: licence to fill in, tags, size, and for each configuration its files, columns and number of rows."""
    rows = sum(table.rows for table in tables)
    return {
        "license": "unknown",
        "language": ["en"],
        "pretty_name": f"{tables[0].source.run.plan.pipeline} data made by shardmill",
        "tags": ["shardmill", tables[0].source.run.plan.pipeline, "synthetic", "vision-language"],
        "size_categories": [next((name for most, name in SIZES if rows < most), "n>100M")],
        "configs": [
            {
                "config_name": table.source.table.name,
                **({"default": True} if index == 0 else {}),
                "data_files": [{"split": "train", "path": f"data/{table.source.table.name}-*.parquet"}],
            }
            for index, table in enumerate(tables)
        ],
        "dataset_info": [
            {
                "config_name": table.source.table.name,
                "features": [feature(name, kind, table.embedded) for name, kind in table.source.kinds.items()],
                "splits": [{"name": "train", "num_bytes": table.size, "num_examples": table.rows}],
                "download_size": table.size,
                "dataset_size": table.size,
            }
            for table in tables
        ],
    }


def feature(name: str, kind: Kind, embedded: str | None) -> dict[str, Any]:
    """A column as the card of a Hugging Face dataset declares it."""
    return {"name": name, **({"dtype": "image"} if name == embedded else FEATURES[kind])}


def stages_of(sources: Sequence[TableRows]) -> list[str]:
    """The stages behind the tables, in the order of the pipeline."""
    run = sources[0].run
    found: set[str | None] = set()
    for source in sources:
        for stage in source.table.stages:
            above: str | None = stage
            while above is not None and above != INGEST:
                found.add(above)
                above = run.after(above)
    return [stage for stage in run.stages if stage in found]


def model_of(
    spec: Mapping[str, Any], fingerprint: Mapping[str, str], commits: Mapping[str, Sequence[str]]
) -> tuple[str, str, str, str]:
    """Backend, name, revision, and everything else that shapes a model's answers.

    The revision of weights that no commit pins says so, and which commits were loaded (`commits`), as far as that is known.
    """
    identity = {field.removeprefix("model "): value for field, value in fingerprint.items() if field.startswith("model ")}
    kind = identity.pop("kind", str(spec.get("kind", "")))
    name = str(spec.get("model") or identity.get("model") or kind)
    revision = str(spec.get("revision") or identity.get("revision") or identity.get("version") or "")
    if unpinned := identity.pop("unpinned", ""):
        loaded = ", ".join(commit for found in commits.values() for commit in found)
        revision = f"{revision or unpinned} (unpinned; {f'loaded: {loaded}' if loaded else 'the commit is not known'})"
    return kind, name, revision, json.dumps(identity, ensure_ascii=False)


def prompt_path(name: str) -> str:
    """The path of a prompt in the folder."""
    return f"prompts/{name}"


def plain(value: object) -> str:
    """A value on one line, with all Markdown and HTML escaped.

    >>> plain("a|b\\n<script>")
    'a\\\\|b &lt;script&gt;'
    """
    return " ".join(str(value).split()).translate(MARKUP)

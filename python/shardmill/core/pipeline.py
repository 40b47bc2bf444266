"""What a pipeline is: its stages, and everything that knows their columns, in one object.

    class CountColours(TextStage):
        name, reads, adds = "count_colours", ("caption",), {"colours": "list"}
        prompt = "count_colours.md"
        answer = Colours

    PIPELINE = Pipeline("colours", stages=[CountColours])

Only `name` and `stages` are needed; for everything else there is a default that works on any columns. Each field takes the object
itself or, so that nothing is imported before it is needed, its reference "package.module:NAME".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shardmill.core.stage import Stage

Lazy = Any
"""An object, or its reference as text, "package.module:NAME"."""


@dataclass(frozen=True)
class Pipeline:
    """A pipeline and all that is known of its data.

    Args:
        name: What the pipeline is called, in lower case.
        stages: The stage classes in their order; each reads from the one before it. A pipeline file may arrange them otherwise.
        datasets: `build(run, out, *, allow_missing, ...) -> BuildResult` writes the datasets of a finished run. Default: the last
            stage as CSV, JSONL and Parquet.
        exports: `(run) -> list[ExportTable]`: the tables that `shardmill export` offers. Default: the last stage.
        formats: `{name: ExportFormat}`: formats of an export that only this pipeline's tables fit. Default: none.
        quality: `(finished, seed) -> PipelineQuality`: what the report measures and which rules it checks. Default: lengths,
            duplicates, frequent values and samples of every column.
        audit: `(run) -> list[AuditOutput]`: what people check by hand. Default: every column that the last stage adds.
        compare: The `CompareMeasures` by which `shardmill compare` compares two runs. Default: the values of every added column.
        prompts: `(stage_plan) -> dict[field of the fingerprint, InstalledPrompt]`: prompts that an exported dataset card shows
            beside a stage's template. Default: the template.
        commands: click commands of this pipeline's own, added to `shardmill`.
        samples: Sample inputs for `shardmill preview`, in `data/samples/`, by the name of the pipeline or pipeline file.
        target_rows: Whether `--target-rows` may stop a run early.
        default: Whether commands use this pipeline where none is named.
        originals: For columns of this pipeline, the names that files of the system it follows give them, for `--start-at`:
            the first that an input has is taken. Braces make a template: "{idx}.jpg".
    """

    name: str
    stages: Sequence[type[Stage] | str]
    datasets: Lazy = None
    exports: Lazy = None
    formats: Lazy = None
    quality: Lazy = None
    audit: Lazy = None
    compare: Lazy = None
    prompts: Lazy = None
    commands: Sequence[str] = ()
    samples: Mapping[str, str] = field(default_factory=dict)
    target_rows: bool = False
    default: bool = False
    originals: Mapping[str, Sequence[str]] = field(default_factory=dict)


def in_package(package: str, *names: str) -> tuple[str, ...]:
    """References to classes of a package whose modules have the classes' names in snake case.

    >>> in_package("shardmill.colours", "CountColours")
    ('shardmill.colours.count_colours:CountColours',)
    """
    return tuple(f"{package}.{snake_case(name)}:{name}" for name in names)


def snake_case(name: str) -> str:
    """A class name as a module name.

    >>> snake_case("CreateMcq")
    'create_mcq'
    """
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")

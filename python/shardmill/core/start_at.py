"""Starting in the middle of a pipeline: with rows that the stages before, or the system that a pipeline follows, have made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from shardmill.core.pipeline_file import PipelineFile
from shardmill.core.stage import Context
from shardmill.store.cells import Kind
from shardmill.tables.ingest import FIELD
from shardmill.util.errors import UserError, did_you_mean, name_list


@dataclass(frozen=True)
class GivenColumns:
    """The columns that stages would have made which are left out, as far as those that are kept read them.

    Attributes:
        start: The first stage that is kept; empty where all are, which read the columns from the input.
        kinds: Their kinds.
        optional: Those of them that may be missing.
        originals: Other names for them; see `Pipeline.originals`.
    """

    start: str = ""
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()
    originals: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def sources(self, columns: Sequence[str]) -> dict[str, str]:
        """Where each column comes from in an input with these columns: a name, a template, or "" for a missing optional one.

        Raises:
            UserError: If the input lacks one that is needed.
        """
        found, missing = {}, []
        for name in self.kinds:
            candidates = (name, *self.originals.get(name, ()))
            source = next((each for each in candidates if set(fields_of(each)) <= {*columns}), None)
            if source is None and name not in self.optional:
                missing.append(" or ".join(candidates))
            found[name] = source or ""
        if missing:
            raise UserError(
                f"{f'to start at {self.start} ' if self.start else ''}the input needs the column {', and '.join(missing)}; "
                f"it has {name_list(columns)}"
            )
        return found


def inputs_of(file: PipelineFile, given: GivenColumns) -> GivenColumns:
    """`given`, and the columns of the input whose kinds the stages declare: lists, and such as may be missing."""
    kinds: dict[str, Kind] = {}
    needed: set[str] = set()
    added: set[str] = {*given.kinds}
    for entry in file.stages:
        stage = entry.make(Context())
        read = {*stage.reads} - added
        kinds |= {name: kind for name, kind in stage.input_kinds.items() if name in read}
        needed |= read - {*stage.optional}
        added |= stage.columns().keys()
    optional = given.optional | (kinds.keys() - needed)
    return GivenColumns(given.start, {**kinds, **given.kinds}, optional, given.originals)


def fields_of(source: str) -> list[str]:
    """The columns that a source of a column names: itself, or those in the braces of a template."""
    return FIELD.findall(source) or [source]


def start_at(file: PipelineFile, stage: str, originals: Mapping[str, Sequence[str]]) -> tuple[PipelineFile, GivenColumns]:
    """The pipeline from a stage on, with the columns that it then has to be given.

    Raises:
        UserError: If the pipeline has no such stage.
    """
    names = [entry.stage for entry in file.stages]
    if stage not in names:
        raise UserError(f"--start-at: the pipeline has no stage {stage!r}; {did_you_mean(stage, names)}")
    before, kept = file.stages[: names.index(stage)], file.stages[names.index(stage) :]
    left_out = {entry.stage for entry in before}
    entries = [entry.model_copy(update={"after": "ingest"}) if entry.after in left_out else entry for entry in kept]
    made: dict[str, Kind] = {}
    for entry in before:
        made |= entry.make(Context()).columns()
    kinds: dict[str, Kind] = {}
    needed: set[str] = set()
    added: set[str] = set()
    for entry in entries:
        made_here = entry.make(Context())
        read = [name for name in made_here.reads if name in made and name not in added]
        kinds |= {name: made[name] for name in read}
        needed |= {*read} - {*made_here.optional}
        added |= made_here.columns().keys()
    given = GivenColumns(stage, kinds, frozenset(kinds.keys() - needed), originals)
    return file.model_copy(update={"stages": entries}), given


def possible_starts(file: PipelineFile, originals: Mapping[str, Sequence[str]], columns: Sequence[str]) -> list[str]:
    """The later stages that an input with these columns could start at, where it has columns that an original system makes."""
    made = {name for names in originals.values() for name in names} - {"caption"}
    if not made & {*columns}:
        return []
    found = []
    for entry in file.stages[1:]:
        try:
            start_at(file, entry.stage, originals)[1].sources(columns)
        except UserError:
            continue
        found.append(entry.stage)
    return found

"""A run on disk: its plan, its stages in order, and the state of each shard, read from the files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shardmill.store.cells import Kind, Kinds, decode
from shardmill.store.finished import FinishedShard, MadeWith, ManifestReader
from shardmill.store.fits import FitBlocks, FitFiles, fit_blocks
from shardmill.store.layout import ShardFiles
from shardmill.store.manifest import FileRecord, Manifest, read_manifest
from shardmill.store.plan import INGEST, Plan, StagePlan, load_plan
from shardmill.util.atomic import file_digest
from shardmill.util.errors import UserError, did_you_mean
from shardmill.util.safe_files import read_untrusted

if TYPE_CHECKING:
    import polars as pl

__all__ = ["INGEST", "RunFolder", "rows_digest"]


def rows_digest(fingerprint: Mapping[str, str], revision: int) -> str:
    """What a journal says that its rows were made with: one digest for a fingerprint and the revision of its stage."""
    made_with = {**fingerprint, **({"revision": str(revision)} if revision > 1 else {})}
    return sha256(json.dumps(made_with, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class RunFolder:
    """`RUN/` and its plan. Stages are named without their pipeline here: `extract_objects`."""

    path: Path

    @cached_property
    def plan(self) -> Plan:
        return load_plan(self.path)

    @property
    def num_shards(self) -> int:
        return len(self.plan.shards)

    @property
    def superseded(self) -> Path:
        """The archive of files that no longer count; nothing reads them, they may be deleted."""
        return self.path / "superseded" / f"revision-{self.plan.revision:03d}"

    @property
    def stages(self) -> list[str]:
        """The stages in the order of the pipeline, without ingest."""
        return [stage.name for stage in self.plan.stages]

    def stage(self, name: str) -> StagePlan:
        """The plan of a stage. Raises UserError with a hint for an unknown one."""
        short = name.removeprefix(self.plan.pipeline + ".")
        for stage in self.plan.stages:
            if stage.name == short:
                return stage
        if short == INGEST:
            raise UserError(
                f"ingest uses no model and has no options; to cut the input again: shardmill run {self.path} ingest --redo"
            )
        raise UserError(
            f"the {self.plan.pipeline} run {self.path} has no stage {name!r}; {did_you_mean(short, [INGEST, *self.stages])}"
        )

    def after(self, name: str) -> str | None:
        """The stage that `name` reads from; None for ingest."""
        return None if name == INGEST else self.stage(name).after

    def downstream(self, name: str) -> list[str]:
        """`name` and all stages that read from it, directly or not, in pipeline order."""
        found = {name}
        for stage in self.plan.stages:
            if stage.after in found:
                found.add(stage.name)
        return [stage for stage in [INGEST, *self.stages] if stage in found]

    def leaves(self) -> list[str]:
        """The stages that no other reads from."""
        read = {stage.after for stage in self.plan.stages}
        return [stage for stage in self.stages if stage not in read] or [INGEST]

    def folder(self, stage: str) -> Path:
        return self.path / stage

    def files(self, stage: str, shard: int) -> ShardFiles:
        """The files of a shard. Raises UserError for a shard index out of range."""
        if not 0 <= shard < self.num_shards:
            raise UserError(f"there is no shard {shard}: {self.path} has the shards 0 to {self.num_shards - 1}")
        return ShardFiles(self.folder(stage), shard, self.num_shards, self.plan.part_format)

    def manifest(self, stage: str, shard: int) -> Manifest | None:
        return read_manifest(self.files(stage, shard).manifest)

    def fingerprint(self, stage: str) -> dict[str, str]:
        """The planned fingerprint; that of ingest is the input itself."""
        if stage == INGEST:
            return {"input": self.plan.input.sha256}
        return self.stage(stage).fingerprint

    def fit_blocks(self, stage: str) -> FitBlocks | None:
        """The blocks of rows that a stage is fitted on; None for one that is not."""
        return None if stage == INGEST else self._fit_blocks[self.stage(stage).name]

    @cached_property
    def _fit_blocks(self) -> dict[str, FitBlocks | None]:
        return {stage.name: fit_blocks(self.plan, stage) for stage in self.plan.stages}

    def fit_files(self, stage: str, block: int) -> FitFiles:
        """The files of a fit."""
        return FitFiles(self.folder(stage), block)

    def needed_by(self, stage: str, shard: int) -> range:
        """The shards of the stage before that a shard is made from: itself, or all that its stage is fitted on."""
        blocks = self.fit_blocks(stage)
        return range(shard, shard + 1) if blocks is None else blocks.needed_by(shard)

    def accepts(self, stage: str, manifest: MadeWith) -> bool:
        """Whether a manifest is as planned, or of earlier code that the user accepted, and made with today's fits."""
        return self.is_planned(stage, manifest.fingerprint, manifest.revision) and self._has_todays_fits(stage, manifest)

    def is_planned(self, stage: str, fingerprint: dict[str, str], revision: int) -> bool:
        """Whether a stage is planned like that, or was before a change of code that the user accepted."""
        return fingerprint in self._fingerprints(stage) and revision == self.stage_revision(stage)

    def _has_todays_fits(self, stage: str, manifest: MadeWith) -> bool:
        """Whether it was made with the fits that are on disk. One that was deleted is made again, and is the same then."""
        for block, digest in manifest.fits.items():
            record = self.fit_files(stage, block).read_manifest()
            if record is not None and record.file.sha256 != digest:
                return False
        return True

    def stage_revision(self, stage: str) -> int:
        """The revision of a planned stage; ingest is never planned anew."""
        return 1 if stage == INGEST else self.stage(stage).revision

    def digests(self, stage: str) -> frozenset[str]:
        """The digests of all fingerprints whose rows count."""
        revision = self.stage_revision(stage)
        return frozenset(rows_digest(fingerprint, revision) for fingerprint in self._fingerprints(stage))

    def accepted_code(self, stage: str) -> list[str]:
        """The digests of earlier code whose rows the user accepted beside those of today's."""
        return [] if stage == INGEST else [each.get("code", "") for each in self.stage(stage).accepted]

    def _fingerprints(self, stage: str) -> list[dict[str, str]]:
        return [self.fingerprint(stage), *([] if stage == INGEST else self.stage(stage).accepted)]

    def is_complete(self, stage: str, shard: int) -> bool:
        """The shard is finished, with the planned fingerprint, from the part that its input stage has now."""
        manifest = self.manifest(stage, shard)
        return manifest is not None and self.accepts(stage, manifest) and not self.is_stale(stage, shard, manifest)

    def complete(self) -> dict[tuple[str, int], Manifest]:
        """The manifests of all complete shards, by (stage, shard), ingest included; each is read once.

        A corrupt manifest counts as none, and what was made from an incomplete shard is not complete.
        """
        found: dict[tuple[str, int], Manifest] = {}
        for stage in [INGEST, *self.stages]:
            source = self.after(stage)
            for shard in range(self.num_shards):
                above = found.get((source, shard)) if source else None
                try:
                    manifest = self.manifest(stage, shard) if above or source is None else None
                except UserError:
                    continue
                if (
                    manifest is not None
                    and self.accepts(stage, manifest)
                    and (above is None or above.part.sha256 == manifest.input.sha256)
                ):
                    found[stage, shard] = manifest
        return found

    def finished(self) -> dict[tuple[str, int], FinishedShard]:
        """The same shards as `complete`, with what figures over a whole run need of their manifests."""
        found: dict[tuple[str, int], FinishedShard] = {}
        for stage in [INGEST, *self.stages]:
            source, accepted = self.after(stage), dict[int, bool]()
            possible = [shard for shard in range(self.num_shards) if source is None or (source, shard) in found]
            for shard, made in self._read_finished(stage, possible):
                if id(made.made_with) not in accepted:
                    accepted[id(made.made_with)] = self.accepts(stage, made.made_with)
                if accepted[id(made.made_with)] and (source is None or found[source, shard].part == made.input):
                    found[stage, shard] = made
        return found

    @cached_property
    def _reader(self) -> ManifestReader:
        return ManifestReader()

    def _read_finished(self, stage: str, shards: Sequence[int]) -> Iterator[tuple[int, FinishedShard]]:
        """Those of the shards that have a manifest which can be read."""
        for shard in shards:
            with suppress(FileNotFoundError, UserError, ValueError):
                yield shard, self._reader.read(shard, read_untrusted(self.files(stage, shard).manifest))

    def is_stale(self, stage: str, shard: int, manifest: Manifest) -> bool:
        """The input part is another one than the manifest names: rows were added to it by `shardmill retry`."""
        source = self.after(stage)
        above = self.manifest(source, shard) if source else None
        return above is not None and above.part.sha256 != manifest.input.sha256

    def kinds(self, stage: str) -> dict[str, Kind]:
        """The columns of a stage's parts: those of the stage before it and what it adds."""
        if stage == INGEST:
            return dict(self.plan.input.columns)
        planned = self.stage(stage)
        return {**self.kinds(planned.after), **planned.adds}

    def read_part(self, stage: str, shard: int) -> tuple[pl.DataFrame, Manifest]:
        """A finished part and its manifest, checked against its digest. Raises UserError when it is missing or corrupt."""
        files = self.files(stage, shard)
        manifest = read_manifest(files.manifest)
        if manifest is None:
            raise UserError(f"{stage} has not finished shard {shard}; run: shardmill run {self.path} {stage} --shard {shard}")
        self._check_file(stage, shard, files.part, manifest.part)
        return self._read_frame(files.part, manifest.columns, self.plan.part_format), manifest

    def rows(self, stage: str, shards: Iterable[int]) -> Iterator[dict[str, Any]]:
        """The rows of finished shards in their order, list and json cells decoded; one part in memory at a time."""
        kinds = self.kinds(stage)
        for shard in shards:
            for row in self.read_part(stage, shard)[0].iter_rows(named=True):
                yield {name: decode(value, kinds[name]) for name, value in row.items()}

    def read_rejects(self, stage: str, shard: int, manifest: Manifest, kinds: dict[str, Kind]) -> pl.DataFrame:
        """The rejects of a finished shard, checked in the same way."""
        files = self.files(stage, shard)
        self._check_file(stage, shard, files.rejects, manifest.rejects)
        return self._read_frame(files.rejects, kinds, "csv")

    @staticmethod
    def _read_frame(path: Path, kinds: Kinds, format: str) -> pl.DataFrame:
        from shardmill.store.frames import read_frame  # here, so that commands that only look at records start at once

        return read_frame(path, kinds, format)

    def _check_file(self, stage: str, shard: int, path: Path, record: FileRecord) -> None:
        if not path.is_file() or file_digest(path) != record.sha256:
            raise UserError(
                f"{path} does not match its manifest (missing or changed); "
                f"run: shardmill run {self.path} {stage} --shard {shard} --redo"
            )

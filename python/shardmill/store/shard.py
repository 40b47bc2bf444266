"""One shard of one stage of a run: its files, its manifest, and the steps from an attempt to a published part."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, groupby
from typing import Any

import polars as pl

from shardmill.store.cells import Kind, decode
from shardmill.store.exclusive import one_change_at_a_time
from shardmill.store.journal import Journal, JournalHeader, JournalRecord, read_records
from shardmill.store.layout import REJECTS, ShardFiles
from shardmill.store.manifest import Manifest
from shardmill.store.plan import StagePlan
from shardmill.store.publish import archive_files, complete_publication, published_files
from shardmill.store.run_folder import RunFolder, rows_digest
from shardmill.store.verify import check_lineage, refuse
from shardmill.util.atomic import new_attempt
from shardmill.util.commands import command_line
from shardmill.util.errors import PlanChanged, UserError


class ShardReopened(Exception):
    """Another worker has reopened the shard meanwhile, or finished it anew."""


@dataclass(frozen=True)
class Shard:
    """A shard of a model or table stage. Raises UserError for a stage or a number that the run does not have."""

    run: RunFolder
    name: str
    index: int

    @cached_property
    def planned(self) -> StagePlan:
        """The plan of its stage."""
        return self.run.stage(self.name)

    @property
    def stage(self) -> str:
        """The name of its stage in the run."""
        return self.planned.name

    @cached_property
    def files(self) -> ShardFiles:
        """The names of its files."""
        return self.run.files(self.stage, self.index)

    @cached_property
    def kinds(self) -> dict[str, Kind]:
        """The columns that its stage reads from."""
        return self.run.kinds(self.planned.after)

    @property
    def keys(self) -> list[str]:
        """The columns that tell its rows apart."""
        return [name for name in ("row_id", "sub_id") if name in self.kinds]

    @property
    def digest(self) -> str:
        """What journals say that rows of the planned stage were made with."""
        return rows_digest(self.planned.fingerprint, self.planned.revision)

    @property
    def digests(self) -> frozenset[str]:
        """The digests of all fingerprints whose rows count."""
        return self.run.digests(self.stage)

    def manifest(self) -> Manifest | None:
        """Its manifest, if it is finished."""
        return self.run.manifest(self.stage, self.index)

    def is_stale(self, manifest: Manifest) -> bool:
        """Whether its input part is no longer the one that it was made from."""
        return self.run.is_stale(self.stage, self.index, manifest)

    def read_input(self) -> tuple[pl.DataFrame, Manifest]:
        """The part that it is made from, checked against its manifest.

        Raises:
            PlanChanged: If it is not there.
            UserError: If it or a part that it was made from is of another plan.
        """
        if self.run.manifest(self.planned.after, self.index) is None:
            again = command_line("run", self.run.path, self.planned.after, "--shard", self.index)
            raise PlanChanged(f"{self.planned.after} has not finished shard {self.index}; run: {again}")
        table, manifest = self.run.read_part(self.planned.after, self.index)
        refuse(self.run, check_lineage(self.run, [self.planned.after], [self.index], depth="origin"), allow_missing=True)
        return table, manifest

    def complete_publication(self) -> Manifest | None:
        """Finish a publication that an attempt has begun; the manifest, if the shard is finished then."""
        return complete_publication(self.files, self.run.superseded / self.stage)

    def records(
        self, manifest: Manifest, *, rejects: bool = True, made_from: pl.DataFrame | None = None
    ) -> Iterator[JournalRecord]:
        """The rows of the finished shard as journal records, in their order.

        What the shard cost is divided among them, so that the shard that they go into counts it too.

        Args:
            manifest: The shard's manifest.
            rejects: Whether to include the rejected rows.
            made_from: An input part: leave out rows that have other values in it than they were made from. If there are any, the
                rejected rows are left out too, which do not say what they were made from.

        Raises:
            UserError: If its files are not what the manifest says: a corrupt part must not get into a journal.
        """
        part, _ = self.run.read_part(self.stage, self.index)
        adds = self.planned.adds
        if made_from is not None:
            shared = [name for name in made_from.columns if name in part.columns and (name in self.keys or name not in adds)]
            same = part.join(made_from.select(shared).unique(), on=shared, how="semi", nulls_equal=True, maintain_order="left")
            rejects = rejects and same.height == part.height
            part = same
        names = [*self.keys, *(name for name in adds if name not in self.keys)]
        count = manifest.rows_in - (0 if rejects else manifest.rejected)
        share = {name: value / max(count, 1) for name, value in manifest.usage.items() if value}
        by_key = groupby(part.select(names).iter_rows(named=True), key=lambda row: tuple(row[name] for name in self.keys))
        for key, rows in by_key:
            yield JournalRecord(key, rows=[_decoded(row, adds) for row in rows], usage=share)
        if rejects:
            kinds: dict[str, Kind] = {**dict.fromkeys(self.keys, "int"), **REJECTS}
            refused = self.run.read_rejects(self.stage, self.index, manifest, kinds)
            for row in refused.with_columns(pl.col("detail", "raw").fill_null("")).iter_rows(named=True):
                yield JournalRecord(tuple(row.pop(name) for name in self.keys), reject=row, usage=share)

    def reopen_stale(self, manifest: Manifest) -> None:
        """Reopen the shard because its input part is another one now: it has more rows, or some were made again.

        Rows that are as they were are kept, and only the others will be asked.

        Raises ShardReopened if another worker was faster.
        """
        try:
            self._reopen(manifest, rejects=True, round=manifest.round, made_from=self.read_input()[0])
        except (UserError, FileNotFoundError):  # its files are not those of the manifest: perhaps another worker's by now
            now = self.manifest()
            if now is None or now.attempt != manifest.attempt:
                raise ShardReopened from None
            raise

    def reopen_rejected(self, manifest: Manifest) -> int:
        """Reopen the shard so that its rejected rows are asked again, with new seeds. Returns how many those are."""
        if not manifest.rejected:
            return 0
        try:
            self._reopen(manifest, rejects=False, round=manifest.round + 1)
        except ShardReopened:
            return 0
        return manifest.rejected

    def _reopen(self, manifest: Manifest, *, rejects: bool, round: int, made_from: pl.DataFrame | None = None) -> None:
        seen, now = published_files(self.files), self.manifest()
        if now is None or now.attempt != manifest.attempt:
            raise ShardReopened
        header = JournalHeader(rows_digest(manifest.fingerprint, manifest.revision), round)
        with closing(Journal(self.files.journal(new_attempt()), header)) as journal:
            for record in self.records(manifest, rejects=rejects, made_from=made_from):
                journal.append(record)
        archive_files(self.files, self.run.superseded / self.stage, seen)

    def keep_rows(self, fingerprint: str) -> None:
        """Write what the rows that came out hold into a journal of the new `fingerprint`, for a stage that is extended.

        The rows of an unfinished shard are those in its journals. Only stages that make one row of each take part.
        """
        manifest = self.manifest()
        if manifest is not None:
            records = self.records(manifest, rejects=False)
        else:
            records = read_records(self.files.journals(), self.digests)
        rows = ((record.key, record.rows[0]) for record in records if record.rows and len(record.rows) == 1)
        first = next(rows, None)
        if first is not None:
            with closing(Journal(self.files.journal(new_attempt()), JournalHeader(fingerprint))) as journal:
                for key, row in chain([first], rows):
                    journal.append(JournalRecord(key, kept=row))


@one_change_at_a_time
def reopen_rejected(run: RunFolder, stage: str) -> list[int]:
    """Reopen the finished shards of a stage for their rejected rows; how many those are in each."""
    manifests = [(index, run.manifest(stage, index)) for index in range(run.num_shards)]
    return [Shard(run, stage, index).reopen_rejected(manifest) for index, manifest in manifests if manifest is not None]


def _decoded(row: dict[str, Any], adds: dict[str, Kind]) -> dict[str, Any]:
    return {name: decode(row[name], kind) for name, kind in adds.items()}

"""AnyEdit: concepts and their backgrounds, scene captions, edit instructions, chains, implicit edits (section 5)."""

from __future__ import annotations

import polars as pl

from shardmill.anyedit.quality_chains import Chains, Implicit
from shardmill.anyedit.quality_edits import Edits
from shardmill.language.object_names import distinct
from shardmill.quality.figures import skeleton
from shardmill.quality.finished_shards import FinishedShards
from shardmill.quality.grounding import ScoreHistogram
from shardmill.quality.images import ImageChecks
from shardmill.quality.inputs import Inputs
from shardmill.quality.judging import example, never
from shardmill.quality.measures import Histogram, histogram_chart
from shardmill.quality.model import QualityFinding, ReportSection, TextView
from shardmill.quality.objects_and_texts import Objects, Texts, TextsSection
from shardmill.quality.parts import CHECKED_ROWS, PipelineQuality, Row, Rows


class Anyedit(PipelineQuality):
    """All that is measured of an AnyEdit run of any of its pipeline files, as far as it has come."""

    def __init__(self, standing: FinishedShards, seed: int) -> None:
        super().__init__(standing, seed)
        self.parts = [Inputs(standing)]
        texts: list[Texts] = []
        if standing.has("propose_backgrounds", "all_backgrounds"):
            self.parts += [
                Backgrounds(standing, seed),
                Objects(standing, "propose_backgrounds", "all_backgrounds", "backgrounds of concepts", judged=False),
            ]
        if standing.has("write_captions", "scene_caption"):
            texts.append(_scenes(standing, seed))
        if standing.has("generate_images"):
            self.parts.append(ImageChecks(standing, "generate_images", seed))
        if standing.has("ground_objects", "detections"):
            self.parts.append(ScoreHistogram(standing, "ground_objects", seed))
        if standing.has("select_captions", "input_objects"):
            self.parts.append(Objects(standing, "select_captions", "input_objects", "objects of the captions"))
        stage = next((name for name in ("judge_instructions", "write_instructions") if standing.has(name)), None)
        if stage is not None:
            edits = Edits(standing, stage, seed)
            self.parts.append(edits)
            texts.append(edits.texts)
        if standing.has("chain_instructions"):
            self.parts.append(Chains(standing, seed))
        if standing.has("write_implicit"):
            implicit = Implicit(standing, seed)
            self.parts.append(implicit)
            texts.append(implicit.texts)
        self.parts += [*texts, TextsSection(texts)]

    def objects(self, row: Row) -> tuple[list[str], list[str]]:
        return row.get("input_objects") or row.get("caption_objects") or [], []

    def texts(self, lines: dict[str, list[Row]]) -> list[TextView]:
        rows = [row for own in lines.values() for row in own]
        found: list[TextView] = []
        for label, column in (("concept", "concept"), ("scene", "scene_caption"), ("start of the edits", "input")):
            said = next((row[column] for row in rows if row.get(column)), None)
            found += [TextView(label=label, text=said)] if said else []
        for row in rows:
            if row.get("all_backgrounds"):
                found.append(TextView(label="backgrounds", text=", ".join(row["all_backgrounds"])))
            if row.get("edit"):
                found += [
                    TextView(label=row["edit_type"], text=row["edit"], why=row.get("instruction_verdict") or ""),
                    TextView(label=f"{row['edit_type']}: caption after it", text=row["output"] or "(none can tell)"),
                ]
            for turn in row.get("chain") or []:
                label = f"chain, turn {turn['turn']}: {turn['edit_type']}"
                found.append(TextView(label=label, text=turn["edit"], why=turn["output"] or ""))
            for each in row.get("implicit") or []:
                why = f"{each['original_caption']} → {each['target_caption']}"
                found.append(TextView(label="implicit edit", text=each["instruction"], why=why))
        return found


def _scenes(standing: FinishedShards, seed: int) -> Texts:
    def explode(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.select("row_id", "caption_objects", text="scene_caption")

    return Texts(
        standing, "write_captions", ("scene_caption", "caption_objects"), explode, "scenes", "scene captions", seed,
        pattern=lambda text, row: skeleton(text, row["caption_objects"] or []), copies=(0.02, 0.1), dominance=(0.2, 0.5),
    )  # fmt: skip


class Backgrounds(Rows):
    """The backgrounds of concepts: how many, and none twice."""

    def __init__(self, standing: FinishedShards, seed: int) -> None:
        super().__init__(standing, "propose_backgrounds", ("concept", "all_backgrounds"), CHECKED_ROWS, seed, "backgrounds")

    def findings(self) -> list[QualityFinding]:
        doubled = []
        count = 0
        for row in self.rows:
            names = row["all_backgrounds"] or []
            count += len(names)
            doubled += [(row, name) for name in set(names) - set(distinct(names))]
        return [
            never(
                "backgrounds.distinct",
                "No background of a concept comes twice.",
                len(doubled),
                count,
                means="A concept's captions are set in the same place again and again.",
                examples=[example(row["row_id"], f"{row['concept']}: {name}") for row, name in doubled[:5]],
            )
        ]

    def sections(self) -> list[ReportSection]:
        numbers = Histogram(0, 60, 60)
        numbers.look([float(len(row["all_backgrounds"] or [])) for row in self.rows])
        chart = histogram_chart("backgrounds.number", "Backgrounds of a concept", "backgrounds", {"concepts": numbers})
        return [ReportSection(id="backgrounds", title="Backgrounds", charts=[chart])] if numbers.n else []

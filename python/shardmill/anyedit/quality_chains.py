"""Chains of edits, in which each turn goes on from the one before, and edits that follow from how the world works."""

from __future__ import annotations

from collections import Counter

import polars as pl

from shardmill.anyedit.instruction_form import plain
from shardmill.quality.finished_shards import FinishedShards
from shardmill.quality.judging import example, never
from shardmill.quality.measures import ValueTally, bars_chart
from shardmill.quality.model import QualityFinding, ReportSection, RowExample
from shardmill.quality.objects_and_texts import Texts
from shardmill.quality.parts import CHECKED_ROWS, ColumnReading, QualityPart, Rows

TURNS = pl.List(pl.Struct({"turn": pl.Int64, "edit_type": pl.String}))
IMPLICIT = pl.List(pl.Struct({"original_caption": pl.String, "instruction": pl.String, "target_caption": pl.String}))
MIN_TURNS = 2


class Chains(QualityPart):
    """Chains: turn k + 1 starts from the output of turn k, and no type comes twice."""

    def __init__(self, standing: FinishedShards, seed: int) -> None:
        self._sample = Rows(standing, "chain_instructions", ("input", "chain"), 4 * CHECKED_ROWS, seed, "chains")
        self._turns, self._types, self._chains = ValueTally(), ValueTally(), 0

    def readings(self) -> list[ColumnReading]:
        return [*self._sample.readings(), ColumnReading("chain_instructions", ("chain",), self._look)]

    def _look(self, frame: pl.DataFrame) -> None:
        chains = frame.select(chain=pl.col("chain").str.json_decode(TURNS)).filter(pl.col("chain").list.len() > 0)
        self._chains += chains.height
        self._turns.look(chains["chain"].list.len())
        self._types.look(chains.explode("chain")["chain"].struct.field("edit_type"))

    def findings(self) -> list[QualityFinding]:
        torn: list[RowExample] = []
        doubled: list[RowExample] = []
        bad = Counter[str]()
        chains = [(row, row["chain"]) for row in self._sample.rows if row["chain"]]
        for row, chain in chains:
            starts = [row["input"], *(turn["output"] for turn in chain[:-1])]
            place = next((at for at, turn in enumerate(chain) if turn["input"] != starts[at]), None)
            if place is not None:
                bad["torn"] += 1
                torn.append(
                    example(row["row_id"], f"turn {place + 1} starts from “{chain[place]['input']}”, not “{starts[place]}”")
                )
            kinds = [turn["edit_type"] for turn in chain]
            if len(set(kinds)) < len(kinds) or len(kinds) < MIN_TURNS:
                bad["doubled"] += 1
                doubled.append(example(row["row_id"], ", ".join(kinds)))
        if not chains:
            return []
        return [
            never(
                "chains.linked",
                "In a chain, each turn starts from the caption that the turn before left.",
                bad["torn"],
                len(chains),
                means="The turns do not belong together: a multi-turn editor learns from contradictions.",
                examples=torn,
            ),
            never(
                "chains.types",
                f"A chain has at least {MIN_TURNS} turns, each of another type.",
                bad["doubled"],
                len(chains),
                means="A chain that does one thing again is no multi-turn edit.",
                examples=doubled,
            ),
        ]

    def sections(self) -> list[ReportSection]:
        if not self._chains:
            return []
        turns = [(f"{name} turns", float(count)) for name, count in sorted(self._turns.most())]
        types = [(name, float(count)) for name, count in self._types.most()]
        charts = [
            bars_chart("chains.turns", "Length of the chains", "length", turns, "Bad: most chains end early."),
            bars_chart("chains.types", "Types of their turns", "type", types, "Bad: one type towers over all."),
        ]
        return [ReportSection(id="chains", title="Chains", charts=charts)]

    def facts(self) -> dict[str, str]:
        return {"chains": f"{self._chains:,}"}


class Implicit(QualityPart):
    """Implicit edits: a scene, what happens, and what it looks like then."""

    def __init__(self, standing: FinishedShards, seed: int) -> None:
        self._sample = Rows(standing, "write_implicit", ("implicit",), 4 * CHECKED_ROWS, seed, "implicit")
        self._count = 0
        self.texts = Texts(
            standing, "write_implicit", ("implicit",), _implicit_in, "implicit", "implicit edits", seed,
            copies=(0.2, 0.5), dominance=(0.1, 0.3),
        )  # fmt: skip

    def readings(self) -> list[ColumnReading]:
        return self._sample.readings()

    def findings(self) -> list[QualityFinding]:
        edits = [(row["row_id"], place, each) for row in self._sample.rows for place, each in enumerate(row["implicit"] or [])]
        idle = [
            example(row_id, f"{each['original_caption']} / {each['instruction']}", place)
            for row_id, place, each in edits
            if plain(each["original_caption"]) == plain(each["target_caption"]) or not each["key_words"]
        ]
        if not edits:
            return []
        return [
            never(
                "implicit.change",
                "An implicit edit changes its scene, and names the words that say how.",
                len(idle),
                len(edits),
                means="Nothing happens: the editor learns to do nothing.",
                examples=idle,
            )
        ]

    def facts(self) -> dict[str, str]:
        return {"implicit edits": f"{self.texts.words.n:,}"}


def _implicit_in(frame: pl.DataFrame) -> pl.DataFrame:
    """A line for each implicit edit; the scene belongs to the text, since questions are alike."""
    each = frame.select("row_id", each=pl.col("implicit").str.json_decode(IMPLICIT)).explode("each").drop_nulls("each")
    return each.unnest("each").select("row_id", text=pl.col("original_caption") + " " + pl.col("instruction"))

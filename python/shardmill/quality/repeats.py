"""Repeated texts among very many, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

_HASH_SEED = 0x5EED
MAX_HASHES = 1 << 18
MAX_EXAMPLES = 100


@dataclass(frozen=True)
class RepeatedText:
    """A text that came several times: how often, and two of its rows."""

    text: str
    times: int
    rows: tuple[int, int]


class Repeats:
    """How many texts repeat another, by 64-bit hashes of the texts without case and double blanks.

    Exact up to some 260,000 different texts. Beyond that only texts are followed whose hash is a multiple of 2, 4, 8, …: a fair
    sample of the different texts, each with all of its copies (adaptive sampling: Flajolet, "On adaptive sampling", Computing 43,
    1990). Texts that made a thousandth of a batch or of the whole are followed whatever their hash.
    """

    def __init__(self, limit: int = MAX_HASHES) -> None:
        self.total = 0
        self._limit, self._level = limit, 0
        self._counts = pl.DataFrame(schema={"hash": pl.UInt64, "n": pl.Int64, "first": pl.Int64})
        self._examples: dict[int, RepeatedText] = {}

    def add_texts(self, rows: pl.Series, texts: pl.Series) -> None:
        """Count the texts of a batch that are not null, each with its row_id."""
        plain = pl.col("text").str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars()
        batch = pl.DataFrame({"row": rows, "text": texts}).drop_nulls("text").with_columns(hash=plain.hash(_HASH_SEED))
        self.total += batch.height
        own = batch.group_by("hash").agg(n=pl.len().cast(pl.Int64), first=pl.col("row").min())
        if self._level:
            followed = self._counts.filter(~self._is_sampled())["hash"]
            own = own.filter(
                self._is_sampled() | (pl.col("n") >= _heavy(batch.height)) | pl.col("hash").is_in(followed.implode())
            )
        self._counts = pl.concat([self._counts, own]).group_by("hash").agg(pl.col("n").sum(), pl.col("first").min())
        self._keep_examples(batch, own)
        while self._counts.height > self._limit:
            self._level += 1
            self._counts = self._counts.filter(self._is_sampled() | (pl.col("n") >= _heavy(self.total)))

    def _is_sampled(self) -> pl.Expr:
        return pl.col("hash") % (1 << self._level) == 0

    def _keep_examples(self, batch: pl.DataFrame, own: pl.DataFrame) -> None:
        """Keep the wording of the texts of a batch that came again, the commonest first."""
        again = self._counts.filter(pl.col("n") > 1).join(own.select("hash"), on="hash", how="semi")
        again = again.sort("n", "first", descending=[True, False]).head(MAX_EXAMPLES)
        if not again.height:
            return
        texts = batch.join(again, on="hash", how="semi").group_by("hash").agg(pl.col("text").first(), last=pl.col("row").max())
        for line in again.join(texts, on="hash").iter_rows(named=True):
            self._examples[line["hash"]] = RepeatedText(line["text"], line["n"], (line["first"], line["last"]))
        if len(self._examples) > 2 * MAX_EXAMPLES:
            best = sorted(self._examples.items(), key=lambda item: (-item[1].times, item[1].rows))
            self._examples = dict(best[:MAX_EXAMPLES])

    @property
    def is_exact(self) -> bool:
        """Whether all different texts were followed."""
        return self._level == 0

    @property
    def copies(self) -> int:
        """The number of texts less the number of different ones; estimated from the followed texts if these are not all."""
        sampled = self._counts.filter(self._is_sampled())
        if self.is_exact:
            return self.total - sampled.height
        heavy = self._counts.filter(~self._is_sampled())
        weight = int(heavy["n"].sum())
        light = int(sampled["n"].sum())
        share = (light - sampled.height) / light if light else 0.0
        return weight - heavy.height + round(share * (self.total - weight))

    def most_common(self, count: int) -> list[RepeatedText]:
        """The texts that came most often, of those that came at least twice."""
        return sorted(self._examples.values(), key=lambda each: (-each.times, each.rows))[:count]


def _heavy(total: int) -> int:
    """The number of copies from which a text among so many is followed whatever its hash."""
    return max(total // 1_000, 20)

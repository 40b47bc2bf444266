"""The engine of quality rules: reads each stage once in batches, counts, keeps seeded examples, and judges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Protocol

import polars as pl

from shardmill.core.user_code import describe, where
from shardmill.pages.shown import shortened
from shardmill.quality.finished_shards import FinishedShards
from shardmill.quality.fixes import maker_of
from shardmill.quality.judging import MAX_EXAMPLES, example, judged
from shardmill.quality.measures import ValueTally
from shardmill.quality.model import QualityFinding, RowExample
from shardmill.quality.parts import ColumnReading, QualityPart, SampledRows, with_lists
from shardmill.quality.repeats import Repeats
from shardmill.quality.rules import CHECKED_ROWS, QualityRule, Row, RowCheck
from shardmill.quality.sampling import KEYS, RowSample, keys_in
from shardmill.util.errors import UserError
from shardmill.util.words import percent

MAX_NAMED = 6
"""Commonest values that a finding names."""


class RuleCheck(Protocol):
    """One rule while its rows stream by."""

    def add_batch(self, frame: pl.DataFrame) -> None:
        """Count a batch, in which list columns are lists."""

    def finding(self, sample: SampledRows) -> QualityFinding:
        """The verdict when all rows are counted; `sample` are rows of the rule's stage."""


class RuleChecks(QualityPart):
    """All rules of a pipeline. A rule has no finding if its stage is not finished or lacks a column, or if nothing is checked.

    Args:
        finished: The finished shards of the run.
        rules: The rules.
        seed: The seed of the samples and examples.
    """

    def __init__(self, finished: FinishedShards, rules: Sequence[QualityRule], seed: int) -> None:
        self._finished, self._seed = finished, seed
        self._checks: dict[str, list[tuple[QualityRule, RuleCheck]]] = {}
        """By the stage that is read."""
        for rule in rules:
            stage = _stage_of(finished, rule)
            if stage is not None:
                self._checks.setdefault(stage, []).append((rule, _check_of(rule, seed)))
        self._samples = {stage: self._sample(stage) for stage in self._checks}

    def _sample(self, stage: str) -> SampledRows:
        columns = _columns(rule for rule, _ in self._checks[stage] if _needs_sample(rule))
        return SampledRows(self._finished, stage, columns, CHECKED_ROWS, self._seed, "rules")

    def readings(self) -> list[ColumnReading]:
        found = []
        for stage, checks in self._checks.items():
            columns = _columns(rule for rule, _ in checks if isinstance(rule.expression, pl.Expr))
            found += [*self._samples[stage].readings(), ColumnReading(stage, columns, partial(self._add_batch, stage, columns))]
        return found

    def _add_batch(self, stage: str, columns: list[str], frame: pl.DataFrame) -> None:
        wanted = [*keys_in(frame), *(name for name in columns if name not in KEYS)]
        batch = with_lists(frame.select(wanted), self._finished.run.kinds(stage))
        for rule, check in self._checks[stage]:
            with _named_in_errors(rule):
                check.add_batch(batch)

    def findings(self) -> list[QualityFinding]:
        found = []
        for stage, checks in self._checks.items():
            for rule, check in checks:
                with _named_in_errors(rule):
                    finding = check.finding(self._samples[stage])
                found.append(finding.model_copy(update={"stage": maker_of(self._finished.run, stage, rule.columns)}))
        return [finding for finding in found if finding.n]


@contextmanager
def _named_in_errors(rule: QualityRule) -> Iterator[None]:
    """Any error of a rule's expression or function, which may be a user's own, as one line that names the rule."""
    try:
        yield
    except pl.exceptions.PolarsError as error:
        raise UserError(f"the quality rule {rule.id} cannot be evaluated: {describe(error)}") from error
    except Exception as error:
        raise UserError(f"the quality rule {rule.id} failed at {where(error)}: {describe(error)}") from error


def _columns(rules: Iterable[QualityRule]) -> list[str]:
    return list(dict.fromkeys(name for rule in rules for name in rule.columns))


def _needs_sample(rule: QualityRule) -> bool:
    return not isinstance(rule.expression, pl.Expr) or rule.counts == "commonest"


def _stage_of(finished: FinishedShards, rule: QualityRule) -> str | None:
    if rule.stage:
        return rule.stage if finished.has(rule.stage, *rule.columns) else None
    return finished.last_with(*rule.columns)


def _check_of(rule: QualityRule, seed: int) -> RuleCheck:
    if not isinstance(rule.expression, pl.Expr):
        return _Problems(rule, rule.expression)
    if rule.counts == "copies":
        return _Copies(rule, rule.expression)
    if rule.counts == "commonest":
        return _Commonest(rule, rule.expression)
    return _TrueShare(rule, rule.expression, seed)


class _Counted:
    """A rule whose expression is evaluated on every row."""

    def __init__(self, rule: QualityRule, expression: pl.Expr) -> None:
        self.rule, self.expression = rule, expression
        self.lines = 0

    def values(self, frame: pl.DataFrame, *, with_text: bool = False) -> pl.DataFrame:
        """A line for each thing that is checked: row_id (and sub_id), value, and the text that shows its line."""
        text = self.rule.example if self.rule.example is not None else _columns_as_text(self.rule.columns, frame)
        found = frame.select(*keys_in(frame), self.expression.alias("value"), *([text.alias("text")] if with_text else []))
        if isinstance(found.schema["value"], pl.List):
            found = found.explode("value")
        return found.drop_nulls("value")

    def finding_of(self, found: int, n: int, examples: Sequence[RowExample], detail: str = "") -> QualityFinding:
        """The verdict on a share."""
        return _verdict(self.rule, found, n, examples, detail)


class _TrueShare(_Counted):
    """The share of things for which the expression is true."""

    def __init__(self, rule: QualityRule, expression: pl.Expr, seed: int) -> None:
        super().__init__(rule, expression)
        self._n = self._found = 0
        self._examples = RowSample(MAX_EXAMPLES, ("text",), seed, rule.id)

    def add_batch(self, frame: pl.DataFrame) -> None:
        self.lines += frame.height
        values = self.values(frame)
        self._n += values.height
        self._found += int(values["value"].sum())
        bad = values.filter(pl.col("value") == (not self.rule.limits.is_least))
        if bad.height:
            keys = keys_in(frame)
            shown = self.values(frame.join(bad.select(keys).unique(), on=keys, how="semi"), with_text=True)
            self._examples.add_batch(shown.select(*keys, "text").unique(keys))

    def finding(self, sample: SampledRows) -> QualityFinding:
        frame = self._examples.frame()
        examples = [] if frame is None else [_example(line) for line in frame.iter_rows(named=True)]
        return self.finding_of(self._found, self.lines if self.rule.per_line else self._n, examples)


class _Commonest(_Counted):
    """The share of things that have the commonest value."""

    def __init__(self, rule: QualityRule, expression: pl.Expr) -> None:
        super().__init__(rule, expression)
        self._tally = ValueTally()

    def add_batch(self, frame: pl.DataFrame) -> None:
        self.lines += frame.height
        self._tally.add_values(self.values(frame)["value"])

    def finding(self, sample: SampledRows) -> QualityFinding:
        n = self.lines if self.rule.per_line else self._tally.total
        top = self._tally.most_common(MAX_NAMED)
        if not top:
            return self.finding_of(0, 0, [])
        detail = ", ".join(f"{shortened(name, 60)} {percent(count / n)}" for name, count in top)
        return self.finding_of(top[0][1], n, self._examples(sample, top[0][0]), detail)

    def _examples(self, sample: SampledRows, value: str) -> list[RowExample]:
        frame = sample.frame()
        if frame is None:
            return []
        values = self.values(frame, with_text=True).filter(pl.col("value").cast(pl.String) == value)
        shown = values.unique(keys_in(frame), maintain_order=True).head(MAX_EXAMPLES)
        return [_example(line) for line in shown.iter_rows(named=True)]


class _Copies(_Counted):
    """The share of texts that repeat another."""

    def __init__(self, rule: QualityRule, expression: pl.Expr) -> None:
        super().__init__(rule, expression)
        self._repeats = Repeats()

    def add_batch(self, frame: pl.DataFrame) -> None:
        values = self.values(frame)
        self._repeats.add_texts(values["row_id"], values["value"])

    def finding(self, sample: SampledRows) -> QualityFinding:
        return self.finding_of(self._repeats.copies, self._repeats.total, copy_examples(self._repeats))


class _Problems:
    """The share of things with a problem, on the sampled rows of the stage."""

    def __init__(self, rule: QualityRule, check: RowCheck) -> None:
        self._rule, self._check = rule, check

    def add_batch(self, frame: pl.DataFrame) -> None:
        pass

    def finding(self, sample: SampledRows) -> QualityFinding:
        rule = self._rule
        counts = Counter[bool]()
        examples: list[RowExample] = []
        for row in sample.every_nth(rule.max_rows):
            for problem in self._check(row):
                counts[problem is None] += 1
                if problem is not None and len(examples) < MAX_EXAMPLES:
                    examples.append(example(row["row_id"], problem, row.get("sub_id")))
        return _verdict(rule, counts[rule.limits.is_least], counts.total(), examples)


def _verdict(rule: QualityRule, found: int, n: int, examples: Sequence[RowExample], detail: str = "") -> QualityFinding:
    return judged(
        rule.id,
        rule.meaning,
        rule.limits,
        found,
        n,
        fault=rule.fault,
        advice=rule.advice,
        examples=examples,
        detail=detail,
        enough=rule.enough,
    )


def copy_examples(repeats: Repeats) -> list[RowExample]:
    """The texts that are repeated most often, each by two of its rows."""
    found: list[RowExample] = []
    for each in repeats.most_common(3):
        found += [example(row, f"{each.times:,} times: {each.text}") for row in dict.fromkeys(each.rows)]
    return found


def _columns_as_text(columns: Sequence[str], frame: pl.DataFrame) -> pl.Expr:
    texts = [
        (pl.col(name).list.join(", ") if isinstance(frame.schema[name], pl.List) else pl.col(name).cast(pl.String)).fill_null("–")
        for name in columns
    ]
    return pl.concat_str(texts, separator=" | ")


def _example(line: Row) -> RowExample:
    return example(line["row_id"], line["text"] or "", line.get("sub_id"))

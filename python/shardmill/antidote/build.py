"""The files of a finished run: queries by kind, the table with all that was found on the way, and preference pairs.

shardmill build RUN
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from shardmill.antidote.hints import KINDS, Query, queries_of
from shardmill.language.similarity import near_duplicates, near_duplicates_of
from shardmill.models.embedding import embed
from shardmill.store.atomic import replacing
from shardmill.store.combine import partial_name
from shardmill.store.dataset_card import BuildResult, write_card
from shardmill.store.run_folder import RunFolder
from shardmill.store.verify import choose_shards
from shardmill.util.errors import UserError

QUERIES, PAIRS = "ask_descriptions", "pair_preferences"
CARD, TABLE, DUPLICATES = "dataset.json", "antidote.jsonl", "queries/near_duplicates.jsonl"
LIKENESS, NEIGHBOURS = 0.8, 3
"""A question is a near duplicate when so many earlier ones have a cosine above this."""

Row = dict[str, Any]
Key = tuple[int, str, str | None, str]


def build(run: RunFolder, out: Path | None = None, *, allow_missing: bool = False, likeness: str | None = None) -> BuildResult:
    """Write all files into `out` (RUN/datasets), in the order of the input.

    Presupposition questions that are near duplicates of earlier ones go into a file of their own and into no pair; what that
    makes of a question does not depend on the shards. They are compared by hashed n-grams, or by the sentence-embedding model
    `likeness`. Raises UserError naming the shards that are not finished.
    """
    if QUERIES not in run.stages:
        raise UserError(f"the run {run.path} has no stage {QUERIES}, which the queries are made of")
    stages = [stage for stage in (QUERIES, PAIRS) if stage in run.stages]
    shards, missing = choose_shards(run, stages, allow_missing)
    out = out or run.path / "datasets"
    names = [*(f"queries/{kind}_list.jsonl" for kind in KINDS), DUPLICATES, TABLE, CARD]
    names += [f"preferences.{form}.jsonl" for form in FORMS] if PAIRS in stages else []
    paths = {name: out / name for name in names}
    if missing:
        paths = {name: partial_name(path, len(shards), run.num_shards) for name, path in paths.items()}
    card = paths.pop(CARD)
    doubles = doubles_of(run, shards, likeness)
    verdicts: Counter[str] = Counter()
    with ExitStack() as stack:
        sink = _Sink({name: stack.enter_context(replacing(path)) for name, path in paths.items()})
        for row in run.rows(QUERIES, shards):
            sink.put(TABLE, row)
            verdicts.update(f"{each['kind']} {each['verdict']}" for each in row["questions"])
            verdicts.update(f"pope {each['answer']}" for each in row["pope"])
            for query in queries_of(row):
                double = _key(row, query) in doubles
                sink.put(DUPLICATES if double else f"queries/{query.kind}_list.jsonl", _line(row, query))
        for row in run.rows(PAIRS, shards) if PAIRS in stages else ():
            if (row["row_id"], row["query_kind"], row["query_object"], row["query"]) not in doubles:
                for form, write in FORMS.items():
                    sink.put(f"preferences.{form}.jsonl", write(row))
    files: dict[Path, int | None] = {path: sink.counts[name] for name, path in paths.items()}
    write_card(run, card, shards, missing, files, {"questions": dict(sorted(verdicts.items()))})
    notes = [f"questions: {', '.join(f'{name} {count:,}' for name, count in sorted(verdicts.items()))}"]
    return BuildResult({**files, card: None}, missing, notes)


class _Sink:
    """Files of JSON lines, and how many lines each got."""

    def __init__(self, files: dict[str, IO[bytes]]):
        self._files = files
        self.counts = dict.fromkeys(files, 0)

    def put(self, name: str, line: Row) -> None:
        self._files[name].write((json.dumps(line, ensure_ascii=False) + "\n").encode("utf-8"))
        self.counts[name] += 1


def _key(row: Row, query: Query) -> Key:
    return row["row_id"], query.kind, query.object, query.text


def doubles_of(run: RunFolder, shards: list[int], likeness: str | None) -> set[Key]:
    """The presupposition questions that are near duplicates of earlier ones of their kind about the same thing."""
    keys = [_key(row, query) for row in run.rows(QUERIES, shards) for query in queries_of(row) if query.kind in ("cpq", "tpq")]
    found: set[Key] = set()
    for kind in ("cpq", "tpq"):
        own = [key for key in keys if key[1] == kind]
        texts, things = [key[3] for key in own], [key[2] for key in own]
        if likeness is None:
            flags = near_duplicates(texts, things, LIKENESS, NEIGHBOURS)
        else:
            flags = near_duplicates_of(embed(texts, likeness), things, LIKENESS, NEIGHBOURS)
        found |= {key for key, double in zip(own, flags, strict=True) if double}
    return found


def _line(row: Row, query: Query) -> Row:
    """A query as the original has it (`image`, `text`, `text_hint`), and what one needs to know about it."""
    return {
        "image": row["generated_image"],
        "text": query.text,
        "text_hint": query.text_hint,
        "row_id": row["row_id"],
        "object": query.object,
        "hint_is_true": query.hint_is_true,
        "preferred": query.preferred,
        **({"answer": "no" if query.hint_is_true else "yes"} if query.kind == "pope" else {}),
    }


def _swift(row: Row) -> Row:
    """ms-swift's DPO row."""
    return {
        "query": f"<image>\n{row['query']}",
        "response": row["response"],
        "rejected_response": row["rejected_response"],
        "images": [row["generated_image"]],
    }


def _trl(row: Row) -> Row:
    """TRL's conversational preference row for vision-language models."""
    asked = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": row["query"]}]}
    return {
        "images": [row["generated_image"]],
        "prompt": [asked],
        "chosen": [_said(row["response"])],
        "rejected": [_said(row["rejected_response"])],
    }


def _said(text: str) -> Row:
    return {"role": "assistant", "content": [{"type": "text", "text": text}]}


def _llava(row: Row) -> Row:
    """LLaVA's conversation with a second, rejected answer."""
    asked = {"from": "human", "value": f"<image>\n{row['query']}"}
    return {
        "id": f"{row['row_id']}-{row['sub_id']}",
        "image": row["generated_image"],
        "conversations": [asked, {"from": "gpt", "value": row["response"]}],
        "rejected_conversations": [asked, {"from": "gpt", "value": row["rejected_response"]}],
    }


FORMS: dict[str, Callable[[Row], Row]] = {"swift": _swift, "trl": _trl, "llava": _llava}

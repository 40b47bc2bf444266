"""The datasets of a finished run: queries by kind, a table with everything that the stages found, and preference pairs.

shardmill build RUN
"""

from __future__ import annotations

import json
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from shardmill.antidote.hints import KINDS, Query, queries_of
from shardmill.export.preference_forms import FORMS, PreferencePair
from shardmill.language.similarity import near_duplicates, near_duplicates_of
from shardmill.models.embedding import embed
from shardmill.store.combine import partial_name
from shardmill.store.dataset_card import BuildResult, write_card
from shardmill.store.image_columns import GENERATED_IMAGE, absolute_path
from shardmill.store.json_lines import settle_json_lines
from shardmill.store.run_folder import RunFolder
from shardmill.store.verify import choose_shards
from shardmill.util.atomic import replacing
from shardmill.util.errors import UserError

QUERIES, PAIRS = "ask_descriptions", "pair_preferences"
CARD, TABLE, DUPLICATES = "dataset.json", "antidote.jsonl", "queries/near_duplicates.jsonl"
PAIR_FORMS = ("swift", "trl")
"""The forms of preference pairs that need no other file beside them; `shardmill export` has more."""
LIKENESS, NEIGHBOURS = 0.8, 3
"""A question is a near duplicate if NEIGHBOURS earlier ones have a cosine of at least LIKENESS with it."""

Row = dict[str, Any]
Key = tuple[int, str, str | None, str]


def build(run: RunFolder, out: Path | None = None, *, allow_missing: bool = False, likeness: str | None = None) -> BuildResult:
    """Write all files into `out` (RUN/datasets), in the order of the input.

    Presupposition questions that are near duplicates of earlier ones go into a file of their own and into no pair, whatever the
    shards are.

    Args:
        run: The run.
        out: The folder to write into.
        allow_missing: Leave unfinished shards out; the file names say so.
        likeness: The sentence-embedding model by which questions are compared; hashed n-grams by default.

    Raises:
        UserError: Shards are unfinished; names them.
    """
    if QUERIES not in run.stages:
        raise UserError(f"the run {run.path} does not have the stage {QUERIES}, which the queries are made from")
    stages = [stage for stage in (QUERIES, PAIRS) if stage in run.stages]
    shards, missing = choose_shards(run, stages, allow_missing)
    out = out or run.path / "datasets"
    names = [*(f"queries/{kind}_list.jsonl" for kind in KINDS), DUPLICATES, TABLE, CARD]
    names += [f"preferences.{form}.jsonl" for form in PAIR_FORMS] if PAIRS in stages else []
    paths = {name: out / name for name in names}
    if missing:
        paths = {name: partial_name(path, len(shards), run.num_shards) for name, path in paths.items()}
    card = paths.pop(CARD)
    duplicates = near_duplicate_keys(run, shards, likeness)
    verdicts: Counter[str] = Counter()
    with ExitStack() as stack:
        sink = _Sink({name: stack.enter_context(replacing(path)) for name, path in paths.items()})
        for found in run.rows(QUERIES, shards):
            row = {**found, GENERATED_IMAGE: absolute_path(run, GENERATED_IMAGE, found[GENERATED_IMAGE])}
            sink.put(TABLE, row)
            verdicts.update(f"{each['kind']} {each['verdict']}" for each in row["questions"])
            verdicts.update(f"pope {each['answer']}" for each in row["pope"])
            for query in queries_of(row):
                repeats = duplicates.get(_key(row, query))
                name = f"queries/{query.kind}_list.jsonl" if repeats is None else DUPLICATES
                sink.put(name, {**_line(row, query), **(repeats or {})})
        for row in run.rows(PAIRS, shards) if PAIRS in stages else ():
            if (row["row_id"], row["query_kind"], row["query_object"], row["query"]) not in duplicates:
                pair = pair_of(row, str(absolute_path(run, GENERATED_IMAGE, row[GENERATED_IMAGE])))
                for form in PAIR_FORMS:
                    sink.put(f"preferences.{form}.jsonl", FORMS[form](pair))
    files = settle_json_lines({path: sink.counts[name] for name, path in paths.items()}, {paths[TABLE]: run.kinds(QUERIES)})
    write_card(run, card, shards, missing, files, {"questions": dict(sorted(verdicts.items()))})
    notes = [f"questions: {', '.join(f'{name} {count:,}' for name, count in sorted(verdicts.items()))}"]
    return BuildResult({**files, card: None}, missing, notes)


class _Sink:
    """Files of JSON lines, and how many lines each has."""

    def __init__(self, files: dict[str, IO[bytes]]):
        self._files = files
        self.counts = dict.fromkeys(files, 0)

    def put(self, name: str, line: Row) -> None:
        self._files[name].write((json.dumps(line, ensure_ascii=False) + "\n").encode("utf-8"))
        self.counts[name] += 1


def _key(row: Row, query: Query) -> Key:
    return row["row_id"], query.kind, query.object, query.text


def near_duplicate_keys(run: RunFolder, shards: list[int], likeness: str | None) -> dict[Key, Row]:
    """The presupposition questions that are near duplicates of earlier ones of their kind about the same object.

    Returns:
        By key, what is said of each: the row_id and the text of the question that it repeats, and how similar they are.
    """
    keys = [_key(row, query) for row in run.rows(QUERIES, shards) for query in queries_of(row) if query.kind in ("cpq", "tpq")]
    found: dict[Key, Row] = {}
    for kind in ("cpq", "tpq"):
        own = [key for key in keys if key[1] == kind]
        texts, objects = [key[3] for key in own], [key[2] for key in own]
        if likeness is None:
            repeated = near_duplicates(texts, objects, LIKENESS, NEIGHBOURS)
        else:
            repeated = near_duplicates_of(embed(texts, likeness), objects, LIKENESS, NEIGHBOURS)
        for key, repeats in zip(own, repeated, strict=True):
            if repeats is not None:
                row_id, _, _, text = own[repeats.earlier]
                found[key] = {"repeats_row_id": row_id, "repeats_text": text, "similarity": round(repeats.cosine, 4)}
    return found


def _line(row: Row, query: Query) -> Row:
    """A query with the fields of the original (`image`, `text`, `text_hint`), and what else is known about it."""
    return {
        "image": row[GENERATED_IMAGE],
        "text": query.text,
        "text_hint": query.text_hint,
        "row_id": row["row_id"],
        **({"object": query.object} if query.object else {}),
        "hint_is_true": query.hint_is_true,
        "preferred": query.preferred,
        **({"answer": "no" if query.hint_is_true else "yes"} if query.kind == "pope" else {}),
    }


def pair_of(row: Row, image: str) -> PreferencePair:
    """The preference pair of a row of `pair_preferences`."""
    name = f"{row['row_id']}-{row['sub_id']}"
    return PreferencePair(name, image, row["query"], row["response"], row["rejected_response"])

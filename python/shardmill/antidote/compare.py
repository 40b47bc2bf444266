"""What two Antidote runs are compared by: verdicts and forms of questions, kinds of pairs, and the verified objects."""

from __future__ import annotations

import polars as pl

from shardmill.compare.measures import CompareMeasures, Measure, as_text, entry_fields, list_size
from shardmill.store.frames import LIST

MEASURES = CompareMeasures(
    balances=(
        Measure("verdict on the question", "judge_questions", entry_fields("questions", "kind", "verdict")),
        Measure("form of the question", "ask_presuppositions", entry_fields("asked", "kind", "form")),
        Measure("answer of the existence question", "ask_pope", entry_fields("pope", "answer")),
        Measure("kind of the preference pair", "pair_preferences", as_text("query_kind")),
        Measure("present objects per row", "check_facts", list_size("verified_present")),
        Measure("absent objects per row", "check_facts", list_size("verified_absent")),
    ),
    objects=tuple(
        Measure(f"{kind} objects", "check_facts", pl.col(f"verified_{kind}").str.json_decode(LIST))
        for kind in ("present", "absent")
    ),
)

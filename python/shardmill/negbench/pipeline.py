"""NegBench: captions and images to negated captions and multiple-choice questions (Alhamoud et al., 2025, arXiv:2501.09425)."""

from __future__ import annotations

from shardmill.core.pipeline import Pipeline, in_package

PIPELINE = Pipeline(
    "negbench",
    stages=in_package(
        "shardmill.negbench",
        "ExtractObjects", "ProposeNegatives", "DrawQuestions", "FilterObjects", "ValidateObjects", "CaptionNegated", "CreateMcq",
        "ParaphraseMcq",
    ),
    datasets="shardmill.negbench.build:build",
    exports="shardmill.negbench.exports:export_tables",
    formats="shardmill.negbench.evaluation_export:FORMATS",
    quality="shardmill.negbench.quality:NegbenchQuality",
    audit="shardmill.negbench.audit:audit_outputs",
    compare="shardmill.negbench.compare:MEASURES",
    samples={"negbench": "captions.csv"},
    target_rows=True,
    default=True,
    originals={
        **dict.fromkeys(("objects", "seen_objects", "positive_objects"), ("extracted_objects",)),
        **dict.fromkeys(("negatives", "unseen_negatives"), ("negative_objects",)),
    },
)  # fmt: skip

"""Recaption: images to captions by several models from several perspectives, and to lines of several texts per image."""

from __future__ import annotations

from shardmill.core.pipeline import Pipeline, in_package

PIPELINE = Pipeline(
    "recaption",
    stages=in_package("shardmill.recaption", "CaptionImages", "ScoreCaptions", "CheckCaptions", "MergeCaptions"),
    datasets="shardmill.recaption.build:build",
    exports="shardmill.recaption.exports:export_tables",
    quality="shardmill.recaption.quality:RecaptionQuality",
    audit="shardmill.recaption.audit:audit_outputs",
    compare="shardmill.recaption.compare:MEASURES",
    prompts="shardmill.recaption.exports:prompts",
    commands=("shardmill.recaption.commands:join_captions", "shardmill.recaption.commands:check_multitext"),
    samples={"recaption": "captions.csv"},
)

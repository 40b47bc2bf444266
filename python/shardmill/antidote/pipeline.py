"""Antidote: captions to generated images, questions about what they show and do not show, and preference pairs."""

from __future__ import annotations

from shardmill.core.pipeline import Pipeline, in_package

PIPELINE = Pipeline(
    "antidote",
    stages=(
        *in_package("shardmill.antidote", "ParseCaptions", "JudgeCaptions", "DrawObjects"),
        "shardmill.antidote.generate_images:GenerateWeightedImages",
        "shardmill.antidote.ground_objects:GroundFactLists",
        *in_package(
            "shardmill.antidote",
            "CheckFacts", "AskPresuppositions", "JudgeQuestions", "AskPope", "AskDescriptions", "AnswerQueries",
            "PairPreferences",
        ),
    ),
    datasets="shardmill.antidote.build:build",
    exports="shardmill.antidote.exports:export_tables",
    quality="shardmill.antidote.quality:AntidoteQuality",
    audit="shardmill.antidote.audit:audit_outputs",
    compare="shardmill.antidote.compare:MEASURES",
    prompts="shardmill.antidote.exports:prompts",
    commands=("shardmill.antidote.commands:cpbench",),
    samples={"antidote": "antidote.json"},
    originals={
        "scene_caption": ("caption",),
        "absent": ("no-exist",),
        "generated_image": ("{idx}.jpg",),
        "verified_caption": ("caption",),
        "verified_present": ("present",),
        "verified_absent": ("no-exist",),
    },
)  # fmt: skip

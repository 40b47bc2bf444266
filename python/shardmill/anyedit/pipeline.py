"""AnyEdit: concepts or captions to scene captions, edit instructions, chains of edits and implicit edits."""

from __future__ import annotations

from shardmill.core.pipeline import Pipeline, in_package

PIPELINE = Pipeline(
    "anyedit",
    stages=(
        *in_package(
            "shardmill.anyedit",
            "JudgeConcepts", "ProposeBackgrounds", "WriteCaptions", "SelectCaptions",
            "DrawEdits", "WriteInstructions", "JudgeInstructions", "ChainInstructions", "WriteImplicit",
        ),
        "shardmill.anyedit.generate_images:GenerateSceneImages",
        "shardmill.anyedit.ground_objects:GroundInputObjects",
        "shardmill.anyedit.edit_images:EditImages",
        "shardmill.anyedit.check_edits:CheckEdits",
        "shardmill.anyedit.score_images:ScoreImages",
    ),
    datasets="shardmill.anyedit.build:build",
    exports="shardmill.anyedit.exports:export_tables",
    formats="shardmill.anyedit.exports:FORMATS",
    quality="shardmill.anyedit.quality:AnyeditQuality",
    audit="shardmill.anyedit.audit:audit_outputs",
    compare="shardmill.anyedit.compare:MEASURES",
    prompts="shardmill.anyedit.exports:prompts",
    commands=("shardmill.anyedit.commands:concepts",),
    originals={"scene_caption": ("caption",)},
    samples={"anyedit": "anyedit.csv", "anyedit-concepts": "concepts.csv"},
)  # fmt: skip

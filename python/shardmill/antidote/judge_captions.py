"""Step 2: whether an image of a parsed caption can be generated, and whether its lists are true of it.

python -m shardmill.antidote.judge_captions --run RUN --shard-index 3
"""

from __future__ import annotations

from random import Random
from typing import Any

from shardmill.antidote.answers import CaptionVerdict
from shardmill.core.model_stages import TextStage
from shardmill.core.stage import Answer, ModelCall, Reject, Row
from shardmill.core.stage_main import main
from shardmill.language.object_names import conflict
from shardmill.language.polarity import ABSENT, AFFIRMED, polarity


class JudgeCaptions(TextStage):
    """A verdict on a parsed caption; only rows with "pass" come out.

    caption, scene_caption (text), present, absent (list) -> caption_verdict (text). An empty scene, negated mentions and related
    names are found by code; the model is asked about the rest: "abstract" (nothing to show), "not visible" (a present entry
    is no object, or not there), "same thing" (an absent object is or belongs to a present one), "implausible" (an absent
    object would not be expected there).
    """

    name = "judge_captions"
    reads = ("caption", "scene_caption", "present", "absent")
    adds = {"caption_verdict": "text"}
    prompt = "antidote/judge_captions.md"
    answer = CaptionVerdict

    def ask(self, row: Row, rng: Random) -> list[ModelCall]:
        if fault(row) is not None:
            return []
        given = {"caption": row["caption"][:2_000], "scene_caption": row["scene_caption"]}
        return [self.text_call(**given, present=row["present"], absent=row["absent"])]

    def accept(self, row: Row, answers: list[Answer]) -> dict[str, Any] | Reject:
        verdict, detail = fault(row) or (answers[0].value.verdict, "by the model")
        if verdict == "pass":
            return {"caption_verdict": verdict}
        return Reject(f"caption judged: {verdict}", detail)


def fault(row: Row) -> tuple[str, str] | None:
    """The verdict that needs no model, with what is wrong; None when nothing is wrong by form."""
    captions = [row["caption"], row["scene_caption"]]
    if not row["present"]:
        return "abstract", "nothing present"
    for name in row["present"]:
        for caption in captions:
            if (way := polarity(caption, name)) not in (AFFIRMED, ABSENT):
                return "not visible", f"{name} is {way}"
    for name in row["absent"]:
        for caption in ("", *captions):
            if (reason := conflict(name, row["present"], caption)) is not None:
                return "same thing", f"{name} is {reason}"
    return None


if __name__ == "__main__":
    main(JudgeCaptions)

"""Step 4: keep the objects that a detector sees in the image and the negatives that it does not see.

python -m shardmill.negbench.filter_objects --run RUN --shard-index 3
"""

from __future__ import annotations

from random import Random
from typing import Any, Literal

from pydantic import Field

from shardmill.core.model_stages import DetectStage, is_detectable, write_detections
from shardmill.core.stage import Answer, ModelCall, Options, Reject, Row
from shardmill.core.stage_main import main
from shardmill.language.object_names import distinct
from shardmill.models.contract import Detections
from shardmill.negbench.answers import question_names


class FilterOptions(Options):
    """Options of `filter_objects`. A name that scores between the two thresholds is in doubt and dropped either way."""

    present_above: float = Field(0.1, ge=0, le=1, description="an object counts as seen from this score on (0.1 for OWL-ViT)")
    absent_below: float = Field(0.1, ge=0, le=1, description="a negative counts as absent below this score")
    unverified: Literal["reject", "keep"] = Field(
        "reject", description="rows whose image cannot be read: reject them, or keep them unchecked (a dry run without images)"
    )


class FilterObjects(DetectStage):
    """Objects and negatives as the image bears them out.

    image (text), objects, negatives, drawn_negatives (list), drawn_questions (json) -> seen_objects, unseen_negatives (list),
    image_checked (bool), detections (json): {name: {"score": float, "boxes": [[x0, y0, x1, y1], ...]}} for every name of the
    lists and the questions, boxes in pixels, and confirmed_questions (json): the drawn ones of which the detector sees what is to
    be there and does not see what is not.
    """

    name = "filter_objects"
    reads = ("image", "objects", "negatives", "drawn_negatives", "drawn_questions")
    optional = ("drawn_negatives",)
    input_kinds = {"drawn_negatives": "list"}
    adds = {
        "seen_objects": "list",
        "unseen_negatives": "list",
        "image_checked": "bool",
        "detections": "json",
        "confirmed_questions": "json",
    }
    tolerant = True
    Options = FilterOptions
    options: FilterOptions

    def ask(self, row: Row, rng: Random) -> list[ModelCall]:
        names = dict.fromkeys([*row["objects"], *negatives_of(row), *question_names(row["drawn_questions"])])
        return [self.detect_call(row["image"], list(names))] if row["image"] else []

    def accept(self, row: Row, answers: list[Answer]) -> dict[str, Any] | Reject:
        problem = answers[0].problem if answers else "no image"
        if problem is not None:
            if self.options.unverified == "reject":
                return Reject(problem, answers[0].detail if answers else "the row names no image")
            return self.outcome(row["objects"], negatives_of(row), {}, row["drawn_questions"], checked=False)
        found: Detections = answers[0].value
        seen = [name for name in row["objects"] if found[name].score >= self.options.present_above]
        unseen = [name for name in negatives_of(row) if is_detectable(name) and found[name].score < self.options.absent_below]
        if not seen:
            return Reject("no object seen", "scores: " + ", ".join(f"{name} {found[name].score:.3f}" for name in row["objects"]))
        if not unseen:
            return Reject(
                "no negative left", "scores: " + ", ".join(f"{name} {found[name].score:.3f}" for name in negatives_of(row))
            )
        confirmed = [question for question in row["drawn_questions"] if self.is_confirmed(question, found)]
        return self.outcome(seen, unseen, found, confirmed, checked=True)

    def is_confirmed(self, question: dict[str, Any], found: Detections) -> bool:
        """Whether the detector sees of a question's objects those that are to be there, and no other."""
        return all(
            found[name].score >= self.options.present_above
            if present
            else is_detectable(name) and found[name].score < self.options.absent_below
            for name, present in zip(question["objects"], question["present"], strict=True)
        )

    def outcome(
        self, seen: list[str], unseen: list[str], found: Detections, questions: list[dict[str, Any]], checked: bool
    ) -> dict[str, Any]:
        """The values of the added columns."""
        return {
            "seen_objects": seen,
            "unseen_negatives": unseen,
            "image_checked": checked,
            "detections": write_detections(found),
            "confirmed_questions": questions,
        }


def negatives_of(row: Row) -> list[str]:
    """The negatives of a row: those that were proposed, then those that were drawn, each object once."""
    return distinct([*row["negatives"], *(row.get("drawn_negatives") or [])])


if __name__ == "__main__":
    main(FilterObjects)

"""Step 6: captions that affirm what the image shows and negate what it does not.

python -m shardmill.negbench.caption_negated --run RUN --shard-index 3
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, Literal

from pydantic import Field

from shardmill.core.list_stage import ListOptions, ListStage, pieces
from shardmill.core.model_stages import asked_value, prompt_value
from shardmill.core.seeding import rng_of
from shardmill.core.stage import Answer, FollowUp, ModelCall, Reject, Row
from shardmill.core.stage_main import main
from shardmill.language.nouns import fold
from shardmill.language.object_names import is_denied
from shardmill.language.polarity import check_negated, cue, form, new_objects
from shardmill.language.relations import mentions
from shardmill.language.spelling import corrected
from shardmill.negbench.answers import NewCaption

FORMS = ("affirmation_first", "negation_first")


class NegatedCaptionOptions(ListOptions):
    """Options of `caption_negated`."""

    negatives: Literal["drawn", "all"] = Field(
        "drawn",
        description="drawn: objects that other captions name, as often as they do; proposed ones only where none is left. "
        "all: any, though who knows what captions name can then tell what is missing",
    )

    per_image: int = Field(
        3, ge=1, description="captions per image, each with another negative; fewer when there are fewer negatives"
    )
    style: Literal["caption", "retrieval"] = Field(
        "caption",
        description='caption: a new one; retrieval: the original with "There is no X in the image." before or after it',
    )
    medium: Literal["image", "video"] = Field("image", description="the word for what is shown, in style retrieval")
    max_words: int = Field(
        60, ge=10, description="longer captions are asked for again; the original's own length is allowed on top"
    )


class CaptionNegated(ListStage):
    """Negated captions of an image, one per negative, asked for together.

    caption (text), objects, drawn_negatives, seen_objects, positive_objects, negative_objects (list) -> negative_captions
    (list) and negation_details (json): for each caption {"object", "form", "cue", "template"}. Every caption passes the polarity
    checker: positives affirmed, the negative inside the scope of a negation cue, no other object added, and none named that the
    detector did not see.
    """

    name = "caption_negated"
    reads = ("caption", "objects", "drawn_negatives", "seen_objects", "positive_objects", "negative_objects")
    optional = ("drawn_negatives",)
    input_kinds = {"drawn_negatives": "list"}
    adds = {"negative_captions": "list", "negation_details": "json"}
    prompt = "negbench/caption_negated.md"
    list_prompt = "negbench/caption_negated_list.md"
    answer = NewCaption
    Options = NegatedCaptionOptions
    options: NegatedCaptionOptions

    def ask(self, row: Row, rng: Random) -> list[ModelCall]:
        if self.options.style == "retrieval":
            return []
        calls = [self.caption_call(row, negative, wanted) for negative, wanted in self.draws(row, rng)]
        if len(calls) < 2 or not self.asks_lists:
            return calls
        return [self.captions_call(row, piece) for piece in pieces(calls)]

    def caption_call(self, row: Row, negative: str, wanted: str) -> ModelCall:
        """The call for one caption."""
        return self.text_call(
            caption=corrected(row["caption"][:2_000]),
            objects=row["positive_objects"],
            unconfirmed=unconfirmed_objects(row),
            negative=negative,
            form=wanted,
            check=lambda answer: self.problem(row, answer.caption, negative, wanted),
        )

    def captions_call(self, row: Row, calls: Sequence[ModelCall]) -> ModelCall:
        """The call for several captions: first those that begin with what is there."""
        wanted = {form: [call for call in calls if asked_value(call, "form") == form] for form in FORMS}
        negatives = {form: [asked_value(call, "negative") for call in each] for form, each in wanted.items()}
        return self.list_call(
            [call for form in FORMS for call in wanted[form]],
            caption=corrected(row["caption"][:2_000]),
            objects=row["positive_objects"],
            unconfirmed=unconfirmed_objects(row),
            last=negatives["affirmation_first"],
            first=negatives["negation_first"],
        )

    def accept(self, row: Row, answers: list[Answer]) -> dict[str, Any] | Reject | FollowUp:
        if self.options.style == "retrieval":
            return self.retrieval(row)
        found = self.single_answers(answers)
        if isinstance(found, FollowUp):
            return found
        if found and all(answer.problem is not None for answer in found):
            return Reject(found[0].problem or "", found[0].detail)
        captions: list[str] = []
        details: list[dict[str, Any]] = []
        for answer in found:
            if answer.problem is not None or answer.value.caption.casefold() in map(str.casefold, captions):
                continue
            negative = prompt_value(answer, "negative")
            captions.append(answer.value.caption)
            details.append(self.details(captions[-1], negative, prompt_value(answer, "form"), self.template.name))
        return {"negative_captions": captions, "negation_details": details}

    def draws(self, row: Row, rng: Random) -> list[tuple[str, str]]:
        """(negative, form) of each caption: other negatives without replacement, forms by the toss of a coin.

        What the caption denies already is no news in it; questions alone use that.
        """
        negatives = [name for name in row["negative_objects"] if not is_denied(name, row["caption"])]
        if self.options.negatives == "drawn":
            drawn = {fold(name) for name in row.get("drawn_negatives") or []}
            negatives = [name for name in negatives if fold(name) in drawn] or negatives
        chosen = rng.sample(negatives, min(self.options.per_image, len(negatives)))
        return [(negative, rng.choice(FORMS)) for negative in chosen]

    def problem(self, row: Row, caption: str, negative: str, wanted: str) -> str | None:
        """Why a caption is not what was asked for; None when it is."""
        positives = row["positive_objects"]
        if len(caption.split()) > self.options.max_words + len(row["caption"].split()):
            return "caption too long"
        original = corrected(row["caption"])
        if caption.casefold().strip(" .") in (row["caption"].casefold().strip(" ."), original.casefold().strip(" .")):
            return "copy of the caption"
        if check_negated(caption, positives, [negative]) is not None:
            return "wrong polarity"
        if any(mentions(caption, name) for name in unconfirmed_objects(row)):
            return "names an unseen object"
        if new_objects(caption, [*positives, negative], source=original):
            return "names another object"
        if form(caption, positives, [negative]) != wanted:
            return "other form than asked"
        return None

    def details(self, caption: str, negative: str, wanted: str, template: str) -> dict[str, Any]:
        return {"object": negative, "form": wanted, "cue": cue(caption, negative), "template": template}

    def retrieval(self, row: Row) -> dict[str, Any] | Reject:
        """The original caption with a sentence that negates one object, before it or after it."""
        unconfirmed = unconfirmed_objects(row)
        if unconfirmed:
            return Reject("caption names an unseen object", ", ".join(unconfirmed))
        rng = rng_of(self.context.seed, self.seed_label, row["row_id"], "retrieval")
        original = corrected(row["caption"].strip())
        sentence = original if original.endswith((".", "!", "?")) else original + "."
        captions, details = [], []
        for negative, wanted in self.draws(row, rng):
            negation = f"There is no {bare(negative)} in the {self.options.medium}."
            captions.append(f"{negation} {sentence}" if wanted == "negation_first" else f"{sentence} {negation}")
            details.append(self.details(captions[-1], negative, wanted, f"retrieval {wanted}"))
        return {"negative_captions": captions, "negation_details": details}


def unconfirmed_objects(row: Row) -> list[str]:
    """Objects that the original caption names and the detector did not see."""
    seen = {fold(name) for name in row["seen_objects"]}
    return [name for name in row["objects"] if fold(name) not in seen]


def bare(name: str) -> str:
    """The name without an article, as it stands after "no"."""
    words = name.split()
    return " ".join(words[1:]) if len(words) > 1 and words[0].lower() in ("a", "an", "the") else name


if __name__ == "__main__":
    main(CaptionNegated)

"""Step 8: the options of a question in other words, each object keeping its polarity.

python -m shardmill.negbench.paraphrase_mcq --run RUN --shard-index 3
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from pydantic import Field

from shardmill.core.model_stages import TextStage
from shardmill.core.stage import Answer, ModelCall, Options, Row
from shardmill.core.stage_main import main
from shardmill.language.polarity import check_polarity, new_objects
from shardmill.negbench.answers import NewCaption
from shardmill.negbench.mcq_forms import plain
from shardmill.store.cells import dump_cell

OPTIONS = range(4)


class ParaphraseOptions(Options):
    """Options of `paraphrase_mcq`."""

    variants: int = Field(4, ge=1, description="ways in which one and the same sentence may be paraphrased over the data set")
    max_words: int = Field(30, ge=8, description="a longer paraphrase is asked for again")


class ParaphraseMcq(TextStage):
    """Paraphrases of the four options of a question.

    caption_0 .. caption_3 (text), option_truths (json) -> paraphrase_0 .. paraphrase_3 (text) and paraphrased (json): which of
    them are new; the others fell back to the template's sentence, because no good paraphrase came or two would be equal. Equal
    sentences are asked once per shard, and get the same paraphrases in any shard.
    """

    name = "paraphrase_mcq"
    reads = ("caption_0", "caption_1", "caption_2", "caption_3", "option_truths")
    adds = {"paraphrase_0": "text", "paraphrase_1": "text", "paraphrase_2": "text", "paraphrase_3": "text", "paraphrased": "json"}
    prompt = "negbench/paraphrase_mcq.md"
    answer = NewCaption
    tolerant = True
    Options = ParaphraseOptions
    options: ParaphraseOptions

    def ask(self, row: Row, rng: Random) -> list[ModelCall]:
        return [self.option_call(row[f"caption_{index}"], row["option_truths"][index], rng) for index in OPTIONS]

    def option_call(self, sentence: str, truth: Mapping[str, bool], rng: Random) -> ModelCall:
        """The call for one of the variants of a sentence."""
        return self.text_call(
            sentence=sentence,
            objects=truth,
            order="free",
            check=lambda answer: self.problem(answer.caption, sentence, truth),
            share=f"{rng.randrange(self.options.variants)} {sentence} {dump_cell(truth)}",
        )

    def accept(self, row: Row, answers: list[Answer]) -> dict[str, Any]:
        originals = [row[f"caption_{index}"] for index in OPTIONS]
        texts = [
            original if answer.problem else answer.value.caption for original, answer in zip(originals, answers, strict=True)
        ]
        while (clash := first_clash(texts, originals)) is not None:
            texts[clash] = originals[clash]
        changed = [text != original for text, original in zip(texts, originals, strict=True)]
        return {**{f"paraphrase_{index}": texts[index] for index in OPTIONS}, "paraphrased": changed}

    def problem(self, caption: str, sentence: str, truth: Mapping[str, bool]) -> str | None:
        """Why a paraphrase is not one; None when it is."""
        if plain(caption) == plain(sentence):
            return "copy of the sentence"
        if len(caption.split()) > self.options.max_words:
            return "paraphrase too long"
        if check_polarity(caption, truth) is not None:
            return "wrong polarity"
        if new_objects(caption, truth, source=sentence):
            return "names another object"
        return None


def first_clash(texts: list[str], originals: list[str]) -> int | None:
    """The first paraphrase that looks the same as another option."""
    looks = [plain(text) for text in texts]
    return next((index for index in OPTIONS if texts[index] != originals[index] and looks.count(looks[index]) > 1), None)


if __name__ == "__main__":
    main(ParaphraseMcq)

"""Step 8: the options of a question in other words, each object keeping its polarity.

python -m shardmill.negbench.paraphrase_mcq --run RUN --shard-index 3
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from pydantic import Field

from shardmill.core.list_stage import ListOptions, ListStage
from shardmill.core.model_stages import prompt_value
from shardmill.core.stage import Answer, FollowUp, ModelCall, Row
from shardmill.core.stage_main import main
from shardmill.language.polarity import check_polarity, new_objects
from shardmill.negbench.answers import NewCaption
from shardmill.negbench.mcq_forms import CELLS, TRUTHS, plain
from shardmill.store.cells import dump_cell

OPTIONS = range(4)


class ParaphraseOptions(ListOptions):
    """Options of `paraphrase_mcq`."""

    variants: int = Field(4, ge=1, description="ways in which one and the same sentence may be paraphrased over the data set")
    max_words: int = Field(30, ge=8, description="a longer paraphrase is asked for again")


class ParaphraseMcq(ListStage):
    """Paraphrases of the four options of a question, asked for together where the options are the four cells over two objects.

    caption_0 .. caption_3 (text), option_truths (json) -> paraphrase_0 .. paraphrase_3 (text) and paraphrased (json): which of
    them are new; the others fell back to the template's sentence, because no good paraphrase came or two would be equal. Equal
    sentences, or fours of them, are asked about once per shard, and get the same paraphrases in any shard.
    """

    name = "paraphrase_mcq"
    reads = ("caption_0", "caption_1", "caption_2", "caption_3", "option_truths")
    adds = {"paraphrase_0": "text", "paraphrase_1": "text", "paraphrase_2": "text", "paraphrase_3": "text", "paraphrased": "json"}
    prompt = "negbench/paraphrase_mcq.md"
    list_prompt = "negbench/paraphrase_mcq_list.md"
    answer = NewCaption
    Options = ParaphraseOptions
    options: ParaphraseOptions

    def ask(self, row: Row, rng: Random) -> list[ModelCall]:
        sentences, truths = [row[f"caption_{index}"] for index in OPTIONS], row["option_truths"]
        if self.asks_lists and (names := names_of_cells(truths)):
            return [self.cells_call(names, sentences, truths, rng.randrange(self.options.variants))]
        return [
            self.option_call(sentence, truth, rng.randrange(self.options.variants))
            for sentence, truth in zip(sentences, truths, strict=True)
        ]

    def option_call(self, sentence: str, truth: Mapping[str, bool], variant: int) -> ModelCall:
        """The call for one of the variants of a sentence."""
        return self.text_call(
            sentence=sentence,
            objects=truth,
            order="free",
            check=lambda answer: self.problem(answer.caption, sentence, truth),
            share=f"{variant} {sentence} {dump_cell(truth)}",
        )

    def cells_call(self, names: list[str], sentences: list[str], truths: list[Mapping[str, bool]], variant: int) -> ModelCall:
        """The call for one of the variants of all four: the same for each order of the options, so that rows can share it.

        The variants take the objects in either order.
        """
        things = names if variant % 2 else names[::-1]
        cells = [dict(zip(things, TRUTHS[cell], strict=True)) for cell in CELLS]
        ordered = [sentences[truths.index(cell)] for cell in cells]
        return self.list_call(
            [self.option_call(sentence, cell, variant) for sentence, cell in zip(ordered, cells, strict=True)],
            things=things,
            sentences=ordered,
            share=f"{variant} {dump_cell(things)} {dump_cell(ordered)}",
        )

    def accept(self, row: Row, answers: list[Answer]) -> dict[str, Any] | FollowUp:
        found = self.single_answers(answers)
        if isinstance(found, FollowUp):
            return found
        new = {prompt_value(answer, "sentence"): answer.value.caption for answer in found if answer.problem is None}
        originals = [row[f"caption_{index}"] for index in OPTIONS]
        texts = [new.get(original, original) for original in originals]
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


def names_of_cells(truths: Sequence[Mapping[str, bool]]) -> list[str]:
    """The two objects, in the order of the alphabet, of which options claim the four cells; empty for other options."""
    names = sorted(truths[0])
    if len(names) != 2 or any(truth.keys() != {*names} for truth in truths):
        return []
    claimed = sorted((truth[names[0]], truth[names[1]]) for truth in truths)
    return names if claimed == sorted(TRUTHS.values()) else []


def first_clash(texts: list[str], originals: list[str]) -> int | None:
    """The first paraphrase that looks the same as another option."""
    looks = [plain(text) for text in texts]
    return next((index for index in OPTIONS if texts[index] != originals[index] and looks.count(looks[index]) > 1), None)


if __name__ == "__main__":
    main(ParaphraseMcq)

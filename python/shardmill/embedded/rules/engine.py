"""`rules`: deterministic English rules over a lexicon of everyday objects, behind the contract of a text model.

It reads a prompt's task and values instead of its prose, and answers in the JSON that a language model is asked for. A task that
has no rule of its own is answered from its JSON schema; see `any_task`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from random import Random
from typing import Any

from shardmill.embedded.rules import (
    concepts,
    edit_objects,
    edit_scenes,
    edits,
    extract,
    implicit,
    judge,
    judge_edits,
    lists,
    negate,
    pope,
    propose,
    questions,
    rephrase,
    scene_captions,
    scenes,
)
from shardmill.embedded.rules.any_task import ImpossibleSchema, answer_any
from shardmill.language.lexicon import lexicon_digest
from shardmill.models.contract import Model, Reply, TextRequest
from shardmill.util.resources import resource_text

PATTERNS = (
    "templates/rules/negated_captions.yaml",
    "templates/rules/paraphrases.yaml",
    "templates/rules/questions.yaml",
    "templates/rules/scene_captions.yaml",
    "templates/rules/implicit.yaml",
    "templates/rules/edits.yaml",
    "templates/rules/additions.yaml",
    "templates/rules/swaps.yaml",
    "templates/rules/backgrounds.yaml",
)


@dataclass(frozen=True)
class Rule:
    """What answers a task: `answer` from the values of its prompt, of which it needs those in `reads`."""

    answer: Callable[[Mapping[str, Any], Random], dict[str, Any]]
    reads: frozenset[str]


def _rule(answer: Callable[[Mapping[str, Any], Random], dict[str, Any]], reads: str) -> Rule:
    return Rule(answer, frozenset(reads.split()))


RULES = {
    "extract_objects": _rule(extract.extract_objects, "caption"),
    "extract_and_propose": _rule(lists.extract_and_propose, "caption count"),
    "judge_objects": _rule(judge.judge_objects, "objects"),
    "propose_negatives": _rule(propose.propose_negatives, "caption objects count"),
    "caption_negated": _rule(negate.caption_negated, "caption objects negative form"),
    "caption_negated_list": _rule(lists.captions_negated, "caption objects last first"),
    "paraphrase_list": _rule(lists.paraphrases, "things sentences"),
    "paraphrase": _rule(rephrase.paraphrase, "sentence objects"),
    "ask_presuppositions": _rule(questions.ask_presuppositions, "caption present_object absent_object form"),
    "judge_questions": _rule(questions.judge_question, "object present question"),
    "ask_pope": _rule(pope.ask_pope, "object"),
    "parse_captions": _rule(scenes.parse_caption, "caption max_present absent_count"),
    "judge_captions": _rule(scenes.judge_caption, "caption scene_caption present absent"),
    "judge_concepts": _rule(concepts.judge_concept, "concept"),
    "propose_backgrounds": _rule(concepts.propose_backgrounds, "concept known count"),
    "write_captions": _rule(scene_captions.write_caption, "concept max_words"),
    "write_implicit": _rule(implicit.write_implicit, "topic count"),
    "edit_add": _rule(edit_objects.add, "caption verb"),
    "edit_remove": _rule(edit_objects.remove, "caption object verb"),
    "edit_replace": _rule(edit_objects.replace, "caption object verb"),
    "edit_color_alter": _rule(edits.color_alter, "caption object color verb"),
    "edit_appearance_alter": _rule(edits.appearance_alter, "caption object verb"),
    "edit_material_change": _rule(edits.material_change, "caption object material verb"),
    "edit_action_change": _rule(edits.action_change, "caption object action verb"),
    "edit_background_change": _rule(edit_scenes.background_change, "caption verb"),
    "edit_tune_transfer": _rule(edit_scenes.tune_transfer, "caption aspect verb"),
    "edit_textual_change": _rule(edits.textual_change, "caption object text verb"),
    "judge_instructions": _rule(judge_edits.judge_instruction, "type input edit output"),
}
"""The tasks that have a rule of their own, by name."""


class RulesModel(Model):
    """The rules as a model. It takes no settings."""

    many_streams = True

    @classmethod
    def identity(cls, **settings: Any) -> dict[str, str]:
        """A digest of the words and sentence patterns that the rules use."""
        patterns = sha256("".join(map(resource_text, PATTERNS)).encode()).hexdigest()
        return {"lexicon": lexicon_digest(), "patterns": patterns}

    def stream(self, requests: Iterable[TextRequest]) -> Iterator[Reply]:
        """See `models.contract.Model`."""
        for request in requests:
            try:
                answer = _answer(request)
            except ImpossibleSchema as error:
                yield Reply(request.key, None, "unusable", "no rule for this schema", str(error))
            else:
                yield Reply(request.key, json.dumps(answer, ensure_ascii=False))


def _answer(request: TextRequest) -> Any:
    """The answer of the task's own rule, or of the general one where the task, its values or its schema are somebody else's."""
    values, rule = request.chat.values, RULES.get(request.chat.task)
    if rule is not None and rule.reads <= values.keys():
        answer = rule.answer(values, Random(request.seed))
        fields = (request.schema or {}).get("properties")
        if fields is None or answer.keys() <= fields.keys():
            return answer
    return answer_any(values, request.schema, Random(request.seed))

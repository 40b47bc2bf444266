"""`rules`: deterministic English rules over a lexicon of everyday objects, behind the contract of a text model.

It reads a prompt's task and values instead of its prose, and answers in the JSON that a language model is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any

from shardmill.models.contract import Reply, TextRequest
from shardmill.util.resources import resource_text

VERSION = 2
TASKS = {
    "extract_objects": "extract:extract_objects",
    "judge_objects": "judge:judge_objects",
    "propose_negatives": "propose:propose_negatives",
    "caption_negated": "negate:caption_negated",
    "paraphrase": "rephrase:paraphrase",
    "ask_presuppositions": "questions:ask_presuppositions",
    "judge_questions": "questions:judge_question",
    "ask_pope": "pope:ask_pope",
    "parse_captions": "scenes:parse_caption",
    "judge_captions": "scenes:judge_caption",
    "judge_concepts": "concepts:judge_concept",
    "propose_backgrounds": "concepts:propose_backgrounds",
    "write_captions": "scene_captions:write_caption",
    "write_implicit": "implicit:write_implicit",
    "edit_add": "edits:add",
    "edit_remove": "edits:remove",
    "edit_replace": "edits:replace",
    "edit_color_alter": "edits:color_alter",
    "edit_appearance_alter": "edits:appearance_alter",
    "edit_material_change": "edits:material_change",
    "edit_action_change": "edits:action_change",
    "edit_background_change": "edits:background_change",
    "edit_tune_transfer": "edits:tune_transfer",
    "edit_textual_change": "edits:textual_change",
    "judge_instructions": "judge_edits:judge_instruction",
}
PATTERNS = (
    "templates/rules/negated_captions.yaml",
    "templates/rules/paraphrases.yaml",
    "templates/rules/questions.yaml",
    "templates/rules/scene_captions.yaml",
    "templates/rules/implicit.yaml",
    "templates/rules/edits.yaml",
    "templates/rules/backgrounds.yaml",
)

Task = Callable[[Mapping[str, Any], Random], dict[str, Any]]


class RulesModel:
    """The rules as a model. It takes no settings."""

    many_streams = True

    def __init__(self) -> None:
        self._tasks: dict[str, Task] = {}

    @classmethod
    def identity(cls) -> dict[str, str]:
        """The rules' version and a digest of the words and sentence patterns that they use."""
        lexicon = (Path(__file__).parents[2] / "language" / "lexicon.csv").read_bytes()
        words = sha256(lexicon + "".join(map(resource_text, PATTERNS)).encode())
        return {"version": str(VERSION), "words": words.hexdigest()}

    def stream(self, requests: Iterable[TextRequest]) -> Iterator[Reply]:
        for request in requests:
            task = self._task(request.chat.task)
            if task is None:
                yield Reply(request.key, None, "unusable", "no rule for this task", f"rules know {', '.join(TASKS)}")
                continue
            answer = task(request.chat.values, Random(request.seed))
            yield Reply(request.key, json.dumps(answer, ensure_ascii=False))

    def _task(self, name: str) -> Task | None:
        if name not in self._tasks and name in TASKS:
            module, _, function = TASKS[name].partition(":")
            self._tasks[name] = getattr(import_module(f"shardmill.embedded.rules.{module}"), function)
        return self._tasks.get(name)

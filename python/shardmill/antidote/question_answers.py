"""The answers that the prompts about presupposition questions ask for."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

Verdict = Literal["pass", "unrealistic", "not visible", "unanswerable", "existence"]


class QuestionPair(BaseModel):
    """Two questions of one form: about an object that is not in the picture, and about one that is."""

    absent_question: str
    present_question: str


class QuestionVerdict(BaseModel):
    """Whether a question is good, or what is wrong with it."""

    verdict: Verdict

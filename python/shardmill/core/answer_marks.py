"""What models put around an answer: thoughts, channels, and the marks that begin and end a turn.

The marks are those of the chat templates of DeepSeek R1, Qwen 3, GLM, Kimi, MiniMax, Hunyuan, Magistral, gpt-oss, Command A
Reasoning, Granite, Seed-OSS, EXAONE Deep, Apertus, MedGemma, Gemma and others. Thoughts are never an answer.
"""

from __future__ import annotations

import re

NAMES = (
    "think",
    "thinking",
    "thought",
    "thoughts",
    "reasoning",
    "reflection",
    "analysis",
    "scratchpad",
    "seed:think",
    "redacted_thinking",
)
PAIRS = {
    **{f"<{name}>": f"</{name}>" for name in NAMES},
    "[think]": "[/think]",
    "◁think▷": "◁/think▷",
    "<|think|>": "<|/think|>",
    "<|start_thinking|>": "<|end_thinking|>",
    "<|begin_of_thought|>": "<|end_of_thought|>",
    "<|inner_prefix|>": "<|inner_suffix|>",
    "<unused94>thought": "<unused95>",
    "<|channel>thought": "<channel|>",
    "here is my thought process:": "here is my response:",
}
"""What thoughts begin and end with, in lower case."""
OPENINGS = re.compile("|".join(map(re.escape, PAIRS)), re.IGNORECASE)
CLOSINGS = re.compile("|".join(map(re.escape, PAIRS.values())), re.IGNORECASE)
FINAL_CHANNEL = re.compile(r"<\|channel\|>\s*final\b[^\n]{0,80}?<\|message\|>", re.IGNORECASE)
BARE_CHANNELS = re.compile(r"analysis(?=[A-Z])")
"""How the channels begin where special tokens were left out in decoding; `BARE_FINAL` is how the last one begins then."""
BARE_FINAL = "assistantfinal"
WRAPPERS = ("answer", "final_answer", "final", "response", "output", "result", "solution")
WRAPPED = re.compile(rf"<({'|'.join(WRAPPERS)})>(.*?)(?:</\1>|\Z)", re.IGNORECASE | re.DOTALL)
END_MARK = (
    r"(?:<\|[\w-]{1,40}\|>|<｜[^｜<>]{1,40}｜>|</?s>|<(?:eos|bos|pad|end_of_turn|end_of_utterance)>|<turn\|>|\[/?INST\]|\[EOS\])"
)
END_MARKS, FIRST_MARKS = re.compile(END_MARK), re.compile(rf"(?:{END_MARK}\s*)+")


def answer_itself(text: str) -> str:
    """The text without thoughts and without the marks of its turn; empty if there are thoughts only."""
    text = _final_channel(text.lstrip("\ufeff"))
    text = _without_thoughts(text).lstrip()
    if OPENINGS.match(text):
        return ""
    if closings := [*CLOSINGS.finditer(text)]:  # of a model whose chat template has begun the thoughts
        text = text[closings[-1].end() :].lstrip()
    if found := FIRST_MARKS.match(text):
        text = text[found.end() :]
    text = END_MARKS.split(text, maxsplit=1)[0].strip()
    wrapped = WRAPPED.match(text)
    return wrapped[2].strip() if wrapped else text


def _final_channel(text: str) -> str:
    """What a model that speaks in channels says in the last one; empty if it has not got that far."""
    if "<|channel|>" in text:
        finals = [*FINAL_CHANNEL.finditer(text)]
        return text[finals[-1].end() :] if finals else ""
    if BARE_CHANNELS.match(text):
        return text.rpartition(BARE_FINAL)[2] if BARE_FINAL in text else ""
    return text


def _without_thoughts(text: str) -> str:
    """The text without its thoughts; those that never end stay."""
    parts, at, unclosed = [], 0, set[str]()
    for opening in OPENINGS.finditer(text):
        closing_mark = PAIRS[opening[0].lower()]
        if opening.start() < at or closing_mark in unclosed:
            continue
        closing = re.compile(re.escape(closing_mark), re.IGNORECASE).search(text, opening.end())
        if closing is None:
            unclosed.add(closing_mark)
            continue
        parts.append(text[at : opening.start()])
        at = closing.end()
    return "".join(parts) + text[at:]

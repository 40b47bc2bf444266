"""How the rules word an instruction and its caption: the object as the caption names it, the full stop as the caption has it."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from shardmill.embedded.rules.phrases import capital
from shardmill.language.relations import as_worded
from shardmill.language.rewriting import core


def sentence(wordings: Sequence[str], rng: random.Random, values: Mapping[str, Any], caption: str, **words: str) -> str:
    """One of the wordings with the verb, the object as the caption names it, and the words."""
    the = f"the {as_worded(caption, str(values.get('object') or ''))}"
    return rng.choice(wordings).format(Verb=capital(str(values["verb"])), the=the, **words)


def ended(text: str, caption: str) -> str:
    """The text with a full stop if the caption has one, in capitals if the caption is."""
    text = core(text).upper() if caption.isupper() else core(text)
    return text + "." if caption.rstrip().endswith(".") else text

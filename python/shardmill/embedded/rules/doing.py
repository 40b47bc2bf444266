"""Another action for a person or an animal of a caption: only where the verb takes no object, so that all else can stay."""

from __future__ import annotations

import random
import re

from shardmill.embedded.rules.phrases import patterns
from shardmill.language.actions import actions, is_human, verb_stem
from shardmill.language.doing import lone_verb
from shardmill.language.placement import place_phrases
from shardmill.language.relations import mentions
from shardmill.language.rewriting import core, gerund, third_person

_GERUND = re.compile(
    r"\b(?!building|wedding|evening|morning|railing|ceiling|clothing|painting|string)[a-z]{2,}ing\b", re.IGNORECASE
)


def doing(caption: str, agent: str, verb: str, rng: random.Random) -> tuple[str, str | None]:
    """(another action, the caption with it in the place of the verb, or None where that would not be English)."""
    before = {verb_stem(action.verb) for action in actions(caption)} | {verb_stem(verb)}
    found = lone_verb(caption, verb)
    known: list[str] = patterns("edits")[found.group if found else "resting"]["person" if is_human(agent) else "animal"]
    if found is not None and _is_held_up(caption, found.end):
        known = [each for each in known if each in patterns("edits")["gestures"]]
    if _GERUND.search(core(caption), found.end if found is not None else 0):
        known = [each for each in known if each in patterns("edits")["postures"]]  # nobody claps while cutting a cake
    free = [action for action in known if verb_stem(action.split()[0]) not in before]
    if found is None or not free:
        return (known or ["wave"])[0], None
    new = rng.choice(free)
    first, _, rest = new.partition(" ")
    form = gerund(first) if verb.endswith("ing") else third_person(first) if verb.endswith("s") else first
    output = " ".join(f"{caption[: found.start]} {form} {rest} {caption[found.end :]}".split())
    output = output.replace(" ,", ",").replace(" .", ".")
    return new, output if mentions(output, agent) else None


def _is_held_up(caption: str, end: int) -> bool:
    """Whether the next thing in the caption is what somebody is on: nobody dances on a chair."""
    place = next((each for each in place_phrases(caption) if each.start >= end), None)
    return place is not None and place.supports and not place.is_background

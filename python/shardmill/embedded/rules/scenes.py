"""A caption as a scene to draw, and a verdict on such a scene."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shardmill.embedded.rules.judge import is_object_name
from shardmill.embedded.rules.propose import propose_negatives
from shardmill.language.lexicon import lexicon
from shardmill.language.noun_phrases import extract_objects
from shardmill.language.nouns import fold
from shardmill.language.object_names import conflict
from shardmill.language.polarity import ABSENT, AFFIRMED, polarity
from shardmill.language.spelling import corrected

HEAVIEST, LIGHTEST, STEP = 1.4, 1.0, 0.1
SPARE = 4
# Things of these scenes are plausible nearly everywhere.
_EVERYDAY = frozenset({"street", "park", "living room", "kitchen", "garden", "office"})
# Body parts are listed under "hospital", but say nothing about the place.
_PLACELESS = frozenset({"body", "part"})
# Words that are written with a capital and still say something about the image.
_KEPT_CAPITALS = frozenset({"i", "christmas", "easter", "halloween", "tv", "suv", "dj", "atm", "t-shirt", "x-ray"})
_NAME = r"[A-Z][\w’'.&-]*(?<![’']s)(?<![.’'-])"
_NAMES = rf"(?P<name>{_NAME}(?: (?:(?:de|of|the|von|van|la) )?{_NAME})*)"
_END = r"(?=[ ,.;]|$)"
_PLACE = re.compile(rf",? (?:in|at|near|from|of|outside|over) (?:the )?{_NAMES}{_END}")
_FIRST_OWNER = re.compile(rf"^{_NAMES}[’']s (?=\w)")
_OWNER = re.compile(rf"(?<=\w ){_NAMES}[’']s (?=\w)")
_MAKER = re.compile(rf"\b(?P<article>[Aa]n?|[Tt]he|[Hh]is|[Hh]er|[Tt]heir) {_NAMES} (?P<thing>[a-z]+)\b")
_PERSON = re.compile(rf"\b(?P<before>with|and|by|for|to|beside|behind) {_NAMES}{_END}")


def parse_caption(values: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
    """{"caption", "max_present", "absent_count"} -> {"caption", "present", "absent"}, as its prompt asks.

    The first things that a caption names weigh most.
    """
    source = corrected(str(values["caption"]))
    caption = _without_names(source)
    named = list(dict.fromkeys(map(_known_part, extract_objects(caption))))
    # A thing within another's name, as the bus of a bus stop, has no words of its own.
    present = [name for name in named if not any(f" {name} " in f" {other} " for other in named if other != name)]
    present = [name for name in present if polarity(caption, name) == AFFIRMED][: int(values["max_present"])]
    telling = [name for name in present if (entry := lexicon().find(name)) is None or entry.category not in _PLACELESS]
    count = int(values["absent_count"])
    wanted = {"caption": f"{caption} {source}", "objects": telling or present, "count": count + SPARE}
    absent = propose_negatives(wanted, rng)["objects"] if present else []
    absent = [name for name in absent if conflict(name, present, caption) is None][:count]
    return {"caption": caption, "present": _weighted(present), "absent": _weighted(absent)}


def judge_caption(values: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
    """{"caption", "scene_caption", "present", "absent"} -> {"verdict"}. Nothing in it is random."""
    present, absent = list(map(str, values["present"])), list(map(str, values["absent"]))
    captions = [str(values["caption"]), str(values["scene_caption"])]
    # Unknown nouns alone are more often ideas than things.
    if not any(lexicon().find(name) for name in present):
        return {"verdict": "abstract"}
    if not all(map(_is_thing, present)) or any(_is_denied(name, captions) for name in present):
        return {"verdict": "not visible"}
    if any(conflict(name, present, captions[1]) for name in absent):
        return {"verdict": "same thing"}
    if any(_is_foreign(name, present, captions) for name in absent):
        return {"verdict": "implausible"}
    return {"verdict": "pass"}


def _weighted(names: Sequence[str]) -> list[dict[str, Any]]:
    return [{"object": name, "weight": round(max(HEAVIEST - STEP * place, LIGHTEST), 1)} for place, name in enumerate(names)]


def _known_part(name: str) -> str:
    """The name without a verb that was taken for its head: the keyboard of "keyboard glow"."""
    words = name.split()
    if lexicon().find(name) is None:
        for end in range(len(words) - 1, 0, -1):
            if lexicon().exact(known := " ".join(words[:end])):
                return known
    return name


def _without_names(caption: str) -> str:
    """The caption in one line, without the names of places, makers, owners and persons that its capitals show."""
    text = " ".join(caption.split())
    words = text.split()
    if sum(word[0].isupper() for word in words) * 2 > len(words):
        return text  # in a title, capitals mean nothing

    def replaced(pattern: re.Pattern[str], by: Callable[[re.Match[str]], str]) -> str:
        return pattern.sub(lambda match: match[0] if _says_something(match["name"]) else by(match), text)

    text = replaced(_PLACE, lambda match: "")
    text = replaced(_MAKER, _unnamed)
    text = replaced(_FIRST_OWNER, lambda match: "A person's ")
    text = replaced(_OWNER, lambda match: "a person's ")
    return replaced(_PERSON, lambda match: f"{match['before']} a person")


def _unnamed(match: re.Match[str]) -> str:
    """ "An Olivetti typewriter" as "A typewriter"."""
    article, thing = match["article"], match["thing"]
    if article.lower() in ("a", "an"):
        article = ("An" if thing[0] in "aeio" else "A") if article[0] == "A" else ("an" if thing[0] in "aeio" else "a")
    return f"{article} {thing}"


def _says_something(name: str) -> bool:
    return name.lower().split()[0] in _KEPT_CAPITALS or lexicon().exact(name) is not None


def _is_thing(name: str) -> bool:
    return is_object_name(name) or lexicon().exact(name) is not None


def _is_denied(name: str, captions: Sequence[str]) -> bool:
    return any(polarity(caption, name) not in (AFFIRMED, ABSENT) for caption in captions)


def _is_foreign(name: str, present: Sequence[str], captions: Sequence[str]) -> bool:
    """Whether the lexicon sees the thing only where it sees nothing of the scene."""
    words = lexicon()
    entry = words.find(name)
    around = [other for each in present if (other := words.find(each))]
    if entry is None or not around or not _EVERYDAY.isdisjoint(entry.scenes):
        return False
    seen = {scene for other in around for scene in other.scenes}
    named = {fold(word) for caption in captions for word in re.findall(r"[\w-]+", caption.lower())}
    return bool(entry.scenes) and seen.isdisjoint(entry.scenes) and named.isdisjoint(entry.scenes)

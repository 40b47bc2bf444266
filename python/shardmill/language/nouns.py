"""English nouns as captions use them: number, articles, and one canonical key per object name."""

from __future__ import annotations

import re
from functools import lru_cache

import inflection

_CACHE = 1 << 16


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Plurals that `inflection` gets wrong or does not know. A compound follows its last part: bookshelf, firewoman.
_IRREGULAR = {
    "person": "people", "man": "men", "woman": "women", "child": "children", "mouse": "mice", "goose": "geese",
    "foot": "feet", "tooth": "teeth", "ox": "oxen", "leaf": "leaves", "loaf": "loaves", "shelf": "shelves",
    "calf": "calves", "half": "halves", "elf": "elves", "wolf": "wolves", "thief": "thieves", "knife": "knives",
    "wife": "wives", "life": "lives", "scarf": "scarves", "hoof": "hooves", "dwarf": "dwarves", "wharf": "wharves",
    "cactus": "cacti", "octopus": "octopuses", "platypus": "platypuses", "hippopotamus": "hippopotamuses",
    "canoe": "canoes", "shoe": "shoes", "toe": "toes", "hoe": "hoes", "oboe": "oboes", "doe": "does", "gas": "gases",
    "lens": "lenses", "bus": "buses", "canvas": "canvases", "atlas": "atlases", "iris": "irises", "axe": "axes",
    "quiz": "quizzes", "mosquito": "mosquitoes", "mango": "mangoes", "tomato": "tomatoes", "potato": "potatoes",
    "hero": "heroes", "domino": "dominoes", "torpedo": "torpedoes", "volcano": "volcanoes", "moustache": "moustaches",
    "mustache": "mustaches", "headache": "headaches", "quiche": "quiches", "avalanche": "avalanches", "claus": "clauses",
    "passerby": "passersby", "rhinoceros": "rhinoceroses", "thermos": "thermoses", "oasis": "oases", "base": "bases",
    "cow": "cows", "taxi": "taxis", "ski": "skis", "kiwi": "kiwis", "bikini": "bikinis", "safari": "safaris",
    "chili": "chilis", "chilli": "chillis", "zucchini": "zucchinis", "emu": "emus", "menu": "menus", "tutu": "tutus",
    "caribou": "caribous",
}  # fmt: skip
_SINGULAR_OF = {many: one for one, many in _IRREGULAR.items()}
_COMPOUNDING = (
    "man", "woman", "person", "child", "goose", "foot", "tooth", "leaf", "loaf", "shelf", "wolf", "knife", "wife", "scarf",
    "shoe", "mouse", "bus",
)  # fmt: skip
_NOT_COMPOUNDS = _words("human caiman talisman shaman ottoman german roman ramen specimen omen abdomen stamen")
# Words in -ie whose plural looks like that of a word in -y.
_IE_WORDS = _words(
    """
    movie cookie smoothie brownie selfie duckie bowtie hoodie zombie birdie genie prairie collie rookie veggie beanie
    budgie magpie tie pie necktie goalie caddie pinkie onesie pixie walkie-talkie lie bookie sortie eerie cootie
    """
)
_SINGULAR_ENDS = ("ss", "us", "is", "'s")
_INVARIANT = _words(
    """
    sheep fish deer moose bison elk salmon trout shrimp squid swordfish jellyfish starfish goldfish shellfish catfish
    reindeer dice aircraft spacecraft watercraft hovercraft species series offspring crossroads headquarters barracks
    """
)
PLURAL_ONLY = _words(
    """
    scissors jeans trousers pants shorts sunglasses eyeglasses spectacles goggles binoculars headphones earphones
    tights leggings pyjamas pajamas overalls pliers tweezers tongs shears clippers clothes groceries cattle police
    noodles chopsticks fries woods bleachers slacks dungarees sweatpants knickers panties briefs bagpipes outskirts
    remains surroundings goods belongings
    """
)
MASS = _words(
    """
    water snow sand grass ice rain fog mist smoke steam fire mud dirt soil gravel foam moss ivy hay straw wood timber
    lumber armor armour firewood driftwood metal gold silver leather fabric wool silk yarn paper cardboard plastic
    money cash furniture luggage baggage equipment machinery clothing jewelry jewellery laundry garbage trash rubbish
    litter graffiti traffic seaweed coral bamboo lavender food fruit meat beef pork bacon ham poultry seafood bread
    toast rice pasta spaghetti macaroni flour sugar salt butter cheese jam honey ketchup mustard mayonnaise sauce oil
    vinegar milk cream coffee tea juice beer wine whiskey vodka champagne lemonade soda water yogurt yoghurt popcorn
    corn broccoli lettuce spinach celery garlic ginger parsley basil asparagus kale cereal oatmeal granola chocolate
    tofu sushi caviar soup stew porridge guacamole salsa hummus cutlery silverware tableware crockery glassware
    stationery artwork pottery hair fur blood skin chalk toothpaste shampoo soap makeup perfume sunscreen confetti
    bunting tinsel lightning sunlight sky scenery countryside vegetation foliage greenery shrubbery wheat barley oats
    cotton tennis golf chess air dust ash lava concrete asphalt pavement brickwork wallpaper carpeting bedding linen
    underwear footwear knitwear lace denim homework music electricity camouflage wildlife livestock mankind
    """
)
ARTICLES = frozenset({"a", "an", "the"})
_PLURAL_NUMBERS = _words(
    """
    two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty hundred several many few both
    multiple various numerous all these those some dozens dozen hundreds thousands couple
    """
)
_DETERMINERS = ARTICLES | _PLURAL_NUMBERS | _words("one no any each every another other this that my your his her its our their")
# "a pair of scissors" names scissors; "a cup of coffee" stays a cup.
_QUANTITY_OF = re.compile(
    r"^(?:pair|group|bunch|couple|lot|number|crowd|flock|herd|pack|pile|stack|heap|set|row|piece|slice|variety|collection|array|"
    r"assortment|handful|dozen|dozens|hundreds|thousands|plenty|swarm|team|series|selection|cluster|kind|type|sort)s? of "
)
_AFTER_HEAD = _words("of with in on at for from to by under near over behind beside and")
_NUMERAL = re.compile(r"\d[\d.,]*$")
_EDGE = " \t\n.,;:!?\"'()[]{}<>*_"
_AN_ACRONYM = re.compile(r"(?:[AEFHILMNORSX][A-Z0-9]*s?|[aefhilmnorsx])$")
_ACRONYM = re.compile(r"(?:[A-Z][A-Z0-9]+s?|[A-Za-z])$")
_SOUNDS_YOU = re.compile(r"(?:uni(?![dmn])|us[aeu]|ut[eio]|uk[eu]|u[rb][aio]|eu|ewe|one(?![a-z])|once)", re.I)
_SILENT_H = re.compile(r"(?:hour|heir|hono|honest)", re.I)


@lru_cache(maxsize=_CACHE)
def plural(word: str) -> str:
    """Plural of a noun or of a phrase by its head: "knife" -> "knives", "cup of tea" -> "cups of tea"."""
    before, head, after = _split_head(word)
    return before + _plural(head) + after


@lru_cache(maxsize=_CACHE)
def singular(word: str) -> str:
    """Singular of one noun, lower-cased; a word that has none, or is singular already, comes back unchanged."""
    word = word.lower()
    if word in _INVARIANT or word in PLURAL_ONLY or word in MASS or word in _IRREGULAR:
        return word
    if word in _SINGULAR_OF:
        return _SINGULAR_OF[word]
    for one in () if word in _NOT_COMPOUNDS else _COMPOUNDING:
        if word.endswith(_IRREGULAR[one]):
            return word[: -len(_IRREGULAR[one])] + one
    if not word.endswith("s") or len(word) < 3 or (word.endswith(_SINGULAR_ENDS) and not word.endswith("eaus")):
        return word
    if word[:-1] in _IE_WORDS or word.endswith(("ves", "fes", "ouses", "eaus")):
        return word[:-1]
    if word.endswith("uses") and not word.endswith(("auses", "xcuses", "fuses", "muses")):
        return word[:-2]
    return inflection.singularize(word)


@lru_cache(maxsize=_CACHE)
def fold(phrase: str) -> str:
    """The canonical key of an object name: lower case, no article, quantity or number, head noun singular."""
    words = phrase.lower().replace("’", "'").strip(_EDGE).split()
    words = _without_determiners(words)
    text = " ".join(words)
    bare = _QUANTITY_OF.sub("", text, count=1)
    if bare != text:
        return fold(bare)
    before, head, after = _split_head(text)
    return before + singular(head) + after


@lru_cache(maxsize=_CACHE)
def is_plural(phrase: str) -> bool:
    """Whether the phrase takes "are": "dogs", "people", "two sheep", "scissors"; not "a pair of scissors"."""
    words = phrase.lower().strip(_EDGE).split()
    if not words:
        return False
    head = _split_head(" ".join(words))[1]
    if head in MASS:
        return False
    if head in PLURAL_ONLY:
        return True
    counted = any(word in _PLURAL_NUMBERS or (_NUMERAL.match(word) and word != "1") for word in words[:2])
    return counted if head in _INVARIANT else singular(head) != head


@lru_cache(maxsize=_CACHE)
def is_mass(phrase: str) -> bool:
    """Whether the head noun is not counted: "water", "green grass"."""
    return _split_head(phrase.lower().strip(_EDGE))[1] in MASS


@lru_cache(maxsize=_CACHE)
def with_article(phrase: str) -> str:
    """The phrase with "a" or "an" where English wants one: plurals, mass nouns and determined phrases stay bare."""
    words = phrase.split()
    if not words or words[0].lower() in _DETERMINERS or _NUMERAL.match(words[0]) or is_plural(phrase) or is_mass(phrase):
        return phrase
    return f"{_article(words[0])} {phrase}"


def _article(word: str) -> str:
    first = word.split("-")[0]
    if _ACRONYM.match(first):
        return "an" if _AN_ACRONYM.match(first) else "a"
    if _SILENT_H.match(word):
        return "an"
    return "an" if word[0].lower() in "aeiou" and not _SOUNDS_YOU.match(word) else "a"


def _plural(word: str) -> str:
    low = word.lower()
    if low in _INVARIANT or low in PLURAL_ONLY or low in MASS or low in _SINGULAR_OF:
        return word
    if low in _IRREGULAR:
        return _IRREGULAR[low]
    if low in _NOT_COMPOUNDS:
        return word + "s"
    for one in _COMPOUNDING:
        if low.endswith(one):
            return word[: -len(one)] + _IRREGULAR[one]
    if low.endswith(("us", "is", "ss")):
        return word + "es"
    if low.endswith(("f", "fe", "um", "ouse")):
        return word + "s"
    return inflection.pluralize(word)


def _without_determiners(words: list[str]) -> list[str]:
    start = 0
    while start < len(words) - 1 and (words[start] in _DETERMINERS or _NUMERAL.match(words[start])):
        start += 1
    if 0 < start < len(words) - 1 and words[start] == "of":
        return _without_determiners(words[start + 1 :])
    return words[start:]


def _split_head(phrase: str) -> tuple[str, str, str]:
    """(text before the head noun, head noun, text after it): the head stands before the first preposition."""
    words = phrase.split()
    if not words:
        return "", phrase, ""
    end = next((i for i, word in enumerate(words) if i and word in _AFTER_HEAD), len(words))
    before = " ".join(words[: end - 1])
    after = " ".join(words[end:])
    return before + " " if before else "", words[end - 1], " " + after if after else ""

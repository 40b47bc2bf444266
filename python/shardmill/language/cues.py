"""The words that carry negation, and the closed classes of words that bound how far it reaches."""

from __future__ import annotations


def word_set(*lines: str) -> frozenset[str]:
    """The words of some lines."""
    return frozenset(" ".join(lines).split())


def _phrases(kind: str, text: str) -> dict[tuple[str, ...], str]:
    return {tuple(phrase.split()): kind for phrase in text.split("|")}


# What a cue does to the words around it; `scopes.py` holds one rule for each kind.
CUES: dict[tuple[str, ...], str] = {
    # Stands before what it denies: "no cat", "without a cat", "devoid of cats".
    **_phrases("before", "no|without|zero|nary|sans|minus|lack|lacks|lacked|lacking|lacking in|lack of|lacks of|absence of|"
               "exclude|excludes|excluding|omit|omits|omitting|leave out|leaves out|leaving out|free of|free from|"
               "devoid of|empty of|clear of|bare of|bereft of|void of|stripped of|absent of|barren of|unaccompanied by|nothing|"
               "without so much as|not so much as|instead of|rather than|in place of|as opposed to|in lieu of|not a single|"
               "not one|not any|not a"),
    # Denies a verb or a noun after it, or the subject before it: "does not show a cat", "a cat is not visible".
    **_phrases("not", "not|never|no longer|by no means|in no way|at no point|at no time|fails to|fail to|failed to|failing to|"
               "anything but|everything but|everything except|forget about"),
    # Predicate of an absent subject; some take an object as well: "a cat is missing", "the cat is missing a paw".
    **_phrases("missing", "missing|absent|left out"),
    **_phrases("gone", "gone|nowhere|invisible|unseen|nonexistent|non-existent|excluded|omitted|removed|out of sight|out of view|"
               "out of frame|out of shot|out of the picture|out of the frame|out of the image|out of the scene|off camera"),
    **_phrases("neither", "neither"),
    **_phrases("nor", "nor"),
    **_phrases("none", "none"),
    **_phrases("suffix", "_free|_less"),
    # Says neither yes nor no.
    **_phrases("hedge", "hardly any|hardly a|hardly an|barely any|barely a|scarcely any|scarcely a|almost no|nearly no|"
               "virtually no|practically no|not many|not much"),
    # Reads like a cue and is none.
    **_phrases("idle", "not only|not just|not merely|not simply|not all|not every|not always|not necessarily|not alone|not far|"
               "not unlike|not to mention|not the only|whether or not|if not|no doubt|no matter|no wonder|no fewer than|"
               "no less than|no more than|no ordinary|no mere|no shortage of|no end of|without a doubt|without doubt|"
               "without any doubt|without question|without fail|nothing but|nothing except|nothing other than|"
               "nothing more than|nothing else but|none other than|none but|no person but|no person except|no person other than|"
               "no sooner"),
}  # fmt: skip
_LENGTHS: dict[str, tuple[tuple[tuple[str, ...], str], ...]] = {
    first: tuple(sorted(((phrase, kind) for phrase, kind in CUES.items() if phrase[0] == first), key=lambda cue: -len(cue[0])))
    for first in sorted({phrase[0] for phrase in CUES})
}

DEFINITE = word_set("the this that these those his her its their our your my")
DETERMINERS = DEFINITE | word_set("a an any some one two three four five another each every either")
AUXILIARIES = word_set(
    "is are was were be been being am has have had having do does did can could will would may might must shall should ca wo",
    "sha there's it's that's here's what's dog's isn aren",
)
SINGULAR = word_set("is was has does")
VERBS = AUXILIARIES | word_set(
    "feature features featured featuring show shows showing contain contains containing include includes including depict",
    "depicts depicting display displays displaying present presents presenting hold holds holding sit sits sitting stand",
    "stands standing run runs lie lies lays play plays sleep sleeps walk walks rest rests appear appears exist exists occupy",
    "occupies fill fills remain remains see find spot notice expect look looks capture captures capturing reveal reveals wait",
    "waits graze grazes stay stays ride rides eat eats drink drinks drive drives fly flies float floats swim swims jump jumps",
    "hang hangs lean leans join joins joined accompany accompanied accompanies watch watches follow follows chase chases",
    "interrupt interrupts disturb disturbs share shares surround surrounds cover covers wear wears wearing carry carries take",
    "takes make makes give gives keep keeps get gets go goes come comes put puts let lets enjoy enjoys complete completes",
    "offer offers feel feels seem seems need needs want wants have's boast boasts highlight highlights portray portrays",
    "illustrate illustrates focus focuses steal steals grace graces fit fits turn turns move moves pass passes cross crosses",
    "sail sails bark barks spoil spoils block blocks wander wanders linger lingers enter enters belong belongs figure figures",
    "emerge emerges lurk lurks leaves mark marks",
)
# What a thing does, or is, when it is in the picture.
SEEN = word_set(
    "present visible shown seen depicted featured included found pictured displayed spotted captured portrayed here there",
    "around anywhere evident apparent observed detected noticeable available nearby involved photographed represented filmed",
    "recorded discernible noticed part inside",
)
APPEARS = word_set("appear appears appeared appearing exist exists figure feature occur show come")
ADVERBS = word_set(
    "also both actually currently even really quite entirely completely totally altogether conspicuously notably clearly",
    "notoriously simply just still yet now today ever at all evidently apparently obviously curiously strangely sadly",
    "otherwise wholly visibly fully noticeably however though either too anymore else necessarily directly",
)
PRONOUNS = word_set("it there we you they i he she one anyone anybody everyone us me them itself here what who")
PLACES = word_set(
    "in on at near beside besides behind under over above below by next inside outside around along across against beneath",
    "between through toward towards onto into during from upon within amid amidst among alongside past down up off beyond",
    "throughout underneath atop opposite with for to about before after until",
)
JOINS = word_set(
    "but yet while whereas although though because since so when where who whom whose which that only just instead except",
    "save if as then than still however despite whilst unless apart aside other together plus until and/or what how",
)
RELATIVES = word_set("that which who")
MEDIA = word_set("image photo photograph picture video scene frame clip footage shot view sight setting film snapshot")
SENTENCE_ENDS = word_set(". ; ! ? ( ) [ ]")
PAUSES = word_set(": - ,") | SENTENCE_ENDS


def cue_at(words: list[str], start: int) -> tuple[int, str] | None:
    """The longest cue that begins at a word: (number of words, kind)."""
    for phrase, kind in _LENGTHS.get(words[start], ()):
        if len(phrase) == 1 or tuple(words[start : start + len(phrase)]) == phrase:
            return len(phrase), kind
    return None

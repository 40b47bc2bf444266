from __future__ import annotations

import pytest

from shardmill.language.nouns import fold, is_mass, is_plural, plural, singular, with_article

PAIRS = [
    ("knife", "knives"), ("wolf", "wolves"), ("leaf", "leaves"), ("mouse", "mice"), ("goose", "geese"), ("bus", "buses"),
    ("dress", "dresses"), ("glass", "glasses"), ("person", "people"), ("man", "men"), ("woman", "women"), ("child", "children"),
    ("tomato", "tomatoes"), ("photo", "photos"), ("cactus", "cacti"), ("bookshelf", "bookshelves"), ("scarf", "scarves"),
    ("toothbrush", "toothbrushes"), ("box", "boxes"), ("bench", "benches"), ("sandwich", "sandwiches"), ("ski", "skis"),
    ("tie", "ties"), ("movie", "movies"), ("cookie", "cookies"), ("shoe", "shoes"), ("canoe", "canoes"), ("gas", "gases"),
    ("lens", "lenses"), ("octopus", "octopuses"), ("policewoman", "policewomen"), ("businessperson", "businesspeople"),
    ("snowman", "snowmen"), ("human", "humans"), ("glove", "gloves"), ("olive", "olives"), ("wave", "waves"), ("roof", "roofs"),
    ("cliff", "cliffs"), ("giraffe", "giraffes"), ("cafe", "cafes"), ("hoof", "hooves"), ("axe", "axes"), ("cow", "cows"),
    ("house", "houses"), ("blouse", "blouses"), ("walrus", "walruses"), ("circus", "circuses"), ("stadium", "stadiums"),
    ("baby", "babies"), ("cherry", "cherries"), ("monkey", "monkeys"), ("potato", "potatoes"), ("piano", "pianos"),
    ("radio", "radios"), ("tv", "tvs"), ("horse", "horses"), ("rose", "roses"), ("vase", "vases"), ("match", "matches"),
    ("tissue", "tissues"), ("bureau", "bureaus"), ("taxi", "taxis"), ("base", "bases"), ("bee", "bees"),
    ("banjo", "banjos"), ("gecko", "geckos"), ("hero", "heroes"), ("cafeteria", "cafeterias"), ("slice", "slices"),
    ("thief", "thieves"), ("gentleman", "gentlemen"), ("grandchild", "grandchildren"), ("roman", "romans"), ("hoodie", "hoodies"),
    ("moustache", "moustaches"), ("calorie", "calories"), ("niche", "niches"), ("menu", "menus"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "many"), PAIRS)
def test_plural_and_singular_undo_each_other(one: str, many: str) -> None:
    assert (plural(one), singular(many)) == (many, one)


@pytest.mark.parametrize(
    "one", [one for one, _ in PAIRS] + ["grass", "moss", "tennis", "canvas", "bass", "thermos", "agenda", "specimen"]
)
def test_singular_leaves_a_singular_word_alone(one: str) -> None:
    assert singular(one) == one


@pytest.mark.parametrize("word", ["sheep", "fish", "deer", "species", "aircraft", "dice", "scissors", "jeans", "snow"])
def test_words_with_one_form_keep_it(word: str) -> None:
    assert (singular(word), plural(word)) == (word, word)


@pytest.mark.parametrize("many", [many for _, many in PAIRS])
def test_plural_of_a_plural_irregular_is_itself(many: str) -> None:
    assert is_plural(many)


def test_plural_of_a_phrase_is_that_of_its_head() -> None:
    assert plural("cup of tea") == "cups of tea"
    assert plural("traffic light") == "traffic lights"


@pytest.mark.parametrize(
    ("phrase", "key"),
    [
        ("The two dogs", "dog"), ("traffic lights", "traffic light"), ("a pair of scissors", "scissors"), ("Apples", "apple"),
        ("a group of people", "person"), ("cups of coffee", "cup of coffee"), ("3 red cars", "red car"), ("an apple.", "apple"),
        ("Several Knives", "knife"), ("a few of the boys", "boy"), ("her  sunglasses", "sunglasses"), ("one", "one"),
        ("a bunch of bananas", "banana"), ("women in hats", "woman in hats"), ("both of my shoes", "shoe"), ("\"kites\"", "kite"),
        ("lots of balloons", "balloon"), ("the children's toys", "children's toy"), ("", ""), ("  ", ""),
    ],
)  # fmt: skip
def test_fold_gives_one_key_per_object(phrase: str, key: str) -> None:
    assert fold(phrase) == key
    assert fold(key) == key


@pytest.mark.parametrize("phrase", ["dogs", "people", "two sheep", "scissors", "the red cars", "5 fish", "men in suits", "jeans"])
def test_plural_phrases_take_are(phrase: str) -> None:
    assert is_plural(phrase)


@pytest.mark.parametrize("phrase", ["dog", "sheep", "a pair of scissors", "water", "bus", "glass", "cup of beans", "1 fish", ""])
def test_singular_and_mass_phrases_take_is(phrase: str) -> None:
    assert not is_plural(phrase)


def test_mass_is_a_matter_of_the_head_noun() -> None:
    assert is_mass("green grass")
    assert not is_mass("water bottle")


@pytest.mark.parametrize(
    ("phrase", "said"),
    [
        ("apple", "an apple"), ("dog", "a dog"), ("dogs", "dogs"), ("water", "water"), ("people", "people"), ("hour", "an hour"),
        ("pair of scissors", "a pair of scissors"), ("unicycle", "a unicycle"), ("umbrella", "an umbrella"), ("SUV", "an SUV"),
        ("TV", "a TV"), ("X-ray", "an X-ray"), ("x-ray", "an x-ray"), ("t-shirt", "a t-shirt"), ("uniform", "a uniform"),
        ("utensil", "a utensil"), ("urinal", "a urinal"), ("ukulele", "a ukulele"), ("urn", "an urn"), ("scissors", "scissors"),
        ("one-way sign", "a one-way sign"), ("onion", "an onion"), ("European flag", "a European flag"),
        ("ice cream", "ice cream"),
        ("the moon", "the moon"), ("two cats", "two cats"), ("my bike", "my bike"), ("honest man", "an honest man"), ("", ""),
        ("glass of water", "a glass of water"), ("old man", "an old man"), ("unusual hat", "an unusual hat"), ("ATM", "an ATM"),
    ],
)  # fmt: skip
def test_with_article_says_it_as_english_does(phrase: str, said: str) -> None:
    assert with_article(phrase) == said

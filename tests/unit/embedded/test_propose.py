from __future__ import annotations

import random
from collections import Counter

import pytest

from shardmill.embedded.rules.propose import propose_negatives
from shardmill.language.lexicon import lexicon
from shardmill.language.relations import mentions, relation

CAPTIONS = {
    "a ferry at the pier at dusk": ["ferry", "pier"],
    "A dog catches a frisbee in the park": ["dog", "frisbee", "park"],
    "a man in a kitchen cutting vegetables": ["man", "kitchen", "vegetables"],
    "two zebras and a giraffe standing in tall grass": ["zebras", "giraffe", "grass"],
    "a cat sleeping on a sofa": ["cat", "sofa"],
    "a bathroom with a toilet and a sink": ["toilet", "sink"],
    "a plane on the runway": ["plane", "runway"],
    "a laptop on a desk next to a cup of coffee": ["laptop", "desk", "cup of coffee"],
    "skiers on a snowy slope": ["skiers", "slope"],
    "a pizza on a table with a glass of wine": ["pizza", "table", "glass of wine"],
    "a guitarist and a drummer on stage": ["guitarist", "drummer", "stage"],
    "the meaning of it all": [],
    "a red car parked on a street": ["red car", "street"],
    "a nurse with a patient": ["nurse", "patient"],
    "a tractor in a field": ["tractor", "field"],
    "children playing on the beach": ["children", "beach"],
    "a woman with glasses holding an umbrella": ["woman", "glasses", "umbrella"],
    "a hot dog with mustard": ["hot dog", "mustard"],
    "a teddy bear on a bed": ["teddy bear", "bed"],
    "a flower pot and a watering can": ["flower pot", "watering can"],
    "a bird house hanging from a tree": ["bird house", "tree"],
    "a group of people waiting at the bus stop": ["people", "bus stop"],
    "a train arriving at the station": ["train", "station"],
    "a baseball player swinging a bat": ["baseball player", "bat"],
    "a bride and groom cutting a wedding cake": ["bride", "groom", "wedding cake"],
    "a carpenter with a hammer": ["carpenter", "hammer"],
    "a camel walking across the desert": ["camel", "desert"],
    "a tent beside a campfire under the stars": ["tent", "campfire", "stars"],
    "a shark above a coral reef": ["shark", "coral reef"],
    "a hot air balloon floating over hills": ["hot air balloon", "hills"],
    "students in a classroom": ["students", "classroom"],
    "a stack of books on a shelf": ["books", "shelf"],
    "apples and bananas at a market": ["apples", "bananas", "market"],
    "a quixotry beside a gewgaw": ["quixotry", "gewgaw"],
}


def propose(caption: str, seed: int, count: int = 5) -> list[str]:
    values = {"caption": caption, "objects": CAPTIONS[caption], "count": count}
    return propose_negatives(values, random.Random(seed))["objects"]


@pytest.mark.parametrize("caption", CAPTIONS)
def test_negatives_are_absent_and_unrelated_to_everything_else(caption: str) -> None:
    for seed in range(20):
        negatives = propose(caption, seed)
        assert len(negatives) == 5
        for at, negative in enumerate(negatives):
            assert mentions(caption, negative) == []
            others = CAPTIONS[caption] + negatives[:at]
            assert [(negative, other) for other in others if relation(negative, other)] == []


@pytest.mark.parametrize(
    ("caption", "expected", "implausible"),
    [
        ("a ferry at the pier at dusk", {"harbor"}, {"microwave", "desk", "zebra", "tractor", "bed", "guitar", "toothbrush"}),
        ("a bathroom with a toilet and a sink", {"bathroom"}, {"zebra", "tractor", "seagull", "guitar", "pizza", "truck"}),
        ("two zebras and a giraffe standing in tall grass", {"zoo", "park", "farm", "garden"}, {"microwave", "laptop", "pizza"}),
        ("a plane on the runway", {"airport"}, {"microwave", "zebra", "bed", "cow", "guitar"}),
        ("skiers on a snowy slope", {"snow", "mountain"}, {"microwave", "surfboard", "camel", "laptop", "palm tree"}),
        ("a shark above a coral reef", {"underwater", "sea"}, {"microwave", "car", "cow", "desk", "bicycle", "pizza"}),
        ("a man in a kitchen cutting vegetables", {"kitchen"}, {"zebra", "tractor", "surfboard", "train", "tent"}),
    ],
)
def test_negatives_suit_the_scene(caption: str, expected: set[str], implausible: set[str]) -> None:
    words = lexicon()
    for seed in range(50):
        negatives = propose(caption, seed)
        assert not implausible & set(negatives)
        assert all(expected & set(words.entries[name].scenes) for name in negatives), negatives


def test_a_person_in_the_picture_rules_out_all_roles() -> None:
    for seed in range(100):
        kinds = {lexicon().entries[name].category for name in propose("a man in a kitchen cutting vegetables", seed)}
        assert "person" not in kinds


def test_a_negative_shares_no_word_with_the_caption() -> None:
    for seed in range(100):
        assert not any({"pot", "flower", "can"} & set(name.split()) for name in propose("a flower pot and a watering can", seed))


def test_no_object_dominates_and_roles_stay_few() -> None:
    captions = list(CAPTIONS)
    drawn = Counter(name for seed in range(2000) for name in propose(captions[seed % len(captions)], seed))
    roles = sum(count for name, count in drawn.items() if lexicon().entries[name].category == "person")
    assert drawn.total() == 10_000
    assert max(drawn.values()) < 0.03 * drawn.total()
    assert len(drawn) > 500
    assert roles < 0.2 * drawn.total()


def test_one_scene_alone_gives_varied_negatives() -> None:
    drawn = Counter(name for seed in range(2000) for name in propose("a red car parked on a street", seed))
    assert max(drawn.values()) < 0.03 * drawn.total()


def test_the_same_seed_gives_the_same_negatives() -> None:
    caption = "a cat sleeping on a sofa"
    assert propose(caption, 7) == propose(caption, 7)
    assert len({tuple(propose(caption, seed)) for seed in range(20)}) == 20


@pytest.mark.parametrize("count", [0, 1, 12, 40])
def test_as_many_as_asked_for(count: int) -> None:
    assert len(propose("a ferry at the pier at dusk", 1, count)) == count


def test_objects_written_only_in_the_caption_set_the_scene_too() -> None:
    values = {"caption": "toothpaste and a toilet brush", "objects": [], "count": 5}
    negatives = propose_negatives(values, random.Random(3))["objects"]
    assert all("bathroom" in lexicon().entries[name].scenes for name in negatives)

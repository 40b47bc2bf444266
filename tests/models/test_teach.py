"""The pieces of `make teach`: pairs that are held out, questions that are true of their pictures, losses, an untrained model."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.nn import functional

from models.tiny_clip import build_clip
from shardmill.embedded.scene import detect_objects
from teach.held_out import CELLS, Question, choice_questions, negated_queries
from teach.results import table
from teach.towers import ClipTowers, SmallTowers
from teach.train import Batches, Plan, TestSet, choice_loss, contrastive_loss, evaluate, train
from teach.training_sets import TrainingSet
from teach.words import vocabulary
from teach.world import Picture, held_out_pairs, make_pictures

pytestmark = pytest.mark.models


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Picture], list[Picture]]:
    folder = tmp_path_factory.mktemp("teach")
    shown = make_pictures(folder / "train", 60, held_out=False)
    return folder, shown, make_pictures(folder / "test", 120, held_out=True)


def test_no_training_picture_shows_a_held_out_pair_and_each_test_picture_does(pictures: tuple) -> None:
    _, shown, tested = pictures
    reserved = set(held_out_pairs())

    def reserved_in(picture: Picture) -> set:
        return reserved & set(combinations(sorted(picture.objects), 2))

    assert not any(map(reserved_in, shown))
    assert all(map(reserved_in, tested))


def test_the_detector_finds_what_a_picture_is_said_to_show(pictures: tuple) -> None:
    folder, shown, _ = pictures
    for picture in shown[:5]:
        found = detect_objects(Image.open(folder / "train" / picture.file), list(picture.objects))
        assert {name: len(each.boxes) for name, each in found.items()} == picture.objects


def test_of_each_question_one_option_is_true_of_its_picture(pictures: tuple) -> None:
    tested = pictures[2]
    for question in choice_questions(tested, 200):
        objects = tested[question.picture].objects
        x, y = next(pair for pair in held_out_pairs() if all(name in question.options[0].lower() for name in pair))
        if question.options[0].lower().index(x) > question.options[0].lower().index(y):
            x, y = y, x
        assert (x in objects, y in objects) == CELLS[question.answer]


def test_a_query_denies_what_its_picture_does_not_show(pictures: tuple) -> None:
    tested = pictures[2]
    for picture, query in zip(tested, negated_queries(tested), strict=True):
        denied = query.replace(picture.caption, "").strip().removeprefix("There is no ").removesuffix(" in the picture.")
        assert picture.caption in query
        assert denied not in picture.objects


def test_an_untrained_model_is_right_by_chance(pictures: tuple) -> None:
    folder, _, tested = pictures
    torch.manual_seed(0)
    questions = choice_questions(tested, 800)
    seen = SmallTowers.read_pictures([folder / "test" / picture.file for picture in tested])
    towers = SmallTowers(vocabulary(option for question in questions for option in question.options), seen)
    captions = [picture.caption for picture in tested]
    figures = evaluate(towers, TestSet(seen, questions, captions, negated_queries(tested)))
    assert abs(figures["choice"] - 25) < 6
    assert figures["plain"] < 20


def test_questions_and_negated_captions_are_learned(pictures: tuple) -> None:
    folder, shown, _ = pictures
    torch.manual_seed(0)
    captions = [(number, picture.caption) for number, picture in enumerate(shown)]
    negated = [(number, f"{text} There is no dog.") for number, text in captions]
    texts = ("There is a dog.", "There is no dog.", "There is no dog, but a dog.", "A dog, and no dog.")
    questions = [Question(number, texts, int("dog" not in picture.objects)) for number, picture in enumerate(shown)]
    seen = SmallTowers.read_pictures([folder / "train" / picture.file for picture in shown])
    towers = SmallTowers(vocabulary(text for _, text in negated), seen)
    test = TestSet(seen, questions, ["A dog."], ["No dog."])
    before = evaluate(towers, test)["choice"]
    train(towers, Batches(TrainingSet(captions, negated, questions), towers, 0), seen, Plan(30, 3e-3))
    assert evaluate(towers, test)["choice"] > max(before + 10, 80)


def test_the_losses_are_zero_for_perfect_and_log_n_for_equal_vectors() -> None:
    perfect, equal, scale = torch.eye(4), functional.normalize(torch.ones(4, 4), dim=1), torch.tensor(100.0)
    assert contrastive_loss(perfect, perfect, scale) < 1e-6
    assert torch.allclose(contrastive_loss(equal, equal, scale), torch.log(torch.tensor(4.0)))
    options = perfect.expand(4, 4, 4)
    assert choice_loss(perfect, options, torch.arange(4), scale) < 1e-6
    assert choice_loss(perfect, options, torch.tensor([1, 2, 3, 0]), scale) > 99


def test_clip_gives_the_vectors_of_its_library(tmp_path: Path, pictures: tuple) -> None:
    folder, _, tested = pictures
    towers = ClipTowers(str(build_clip(tmp_path / "clip")))
    towers.eval()
    files, texts = [folder / "test" / picture.file for picture in tested[:3]], ["a dog", "a dog and no cat"]
    with torch.no_grad():
        seen = towers.encode_pictures(towers.read_pictures(files))
        read = towers.encode_texts(towers.read_texts(texts))
        images = [Image.open(file).convert("RGB") for file in files]
        inputs = towers.processor(text=texts, images=images, padding=True, return_tensors="pt")
        whole = towers.clip(**inputs)
    assert torch.allclose(seen, whole.image_embeds, atol=2e-2)
    assert torch.allclose(read, whole.text_embeds, atol=1e-4)


def test_a_table_shows_means_intervals_and_differences() -> None:
    figures = {"captions": [30.0, 32.0, 34.0], "negfull": [60.0, 62.0, 64.0]}
    results = {kind: {"choice": values, "negated": values, "plain": values} for kind, values in figures.items()}
    rows = table(results).splitlines()
    assert rows[2].startswith("| (a) captions | 32.0 ± 5.0 |")
    assert rows[-1].startswith("| (d) less (a) | +30.0 ± 0.0 |")

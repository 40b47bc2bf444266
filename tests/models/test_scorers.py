"""CLIP and SigLIP with small random weights: every row as if the library scored it alone, and heads for the looks of pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from models.tiny_clip import LENGTH, build_clip, build_siglip, head_weights
from models.tiny_detectors import build_owl, picture
from shardmill.models.contract import Reply, ScoreRequest, Scores
from shardmill.models.images import open_image
from shardmill.models.registry import model_identity, open_model
from shardmill.util.errors import UserError

TEXTS = [
    ("a cat", "a red bird on a house", "two dogs"),
    ("a bicycle",),
    ("a person in a blue shirt holding a bottle", "trees", "a cat", "cars, a cat"),
    ("a remote control and a cup",),
]
SIZES = [(96, 64), (64, 96), (120, 80), (64, 64), (200, 60)]
KINDS = ["clip", "siglip"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scorers")
    build_clip(path / "clip")
    build_siglip(path / "siglip")
    torch.save(head_weights(24, 16, 8), path / "head.pth")
    return path


def scorer(folder: Path, kind: str, **more: Any) -> Any:
    return open_model("score", {"kind": "clip", "model": str(folder / kind), "max_batch_size": 8, **more})


@pytest.fixture(scope="module")
def scorers(folder: Path) -> dict[str, Any]:
    return {"clip": scorer(folder, "clip", aesthetic=str(folder / "head.pth")), "siglip": scorer(folder, "siglip")}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    path = tmp_path_factory.mktemp("pictures")
    return [picture(path / f"{number}.png", SIZES[number % 5], number) for number in range(12)]


def requests(pictures: list[Path]) -> list[ScoreRequest]:
    return [ScoreRequest(str(path), TEXTS[number % 4], str(number)) for number, path in enumerate(pictures)]


def replies(model: Any, asked: list[ScoreRequest]) -> dict[str, Reply]:
    return {reply.key: reply for reply in model.stream(asked)}


class Library:
    """What transformers itself says of one picture and one text at a time."""

    def __init__(self, folder: Path):
        from transformers import AutoModel, AutoProcessor

        self.processor = AutoProcessor.from_pretrained(folder)
        self.model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()

    def cosine(self, image: Image.Image, text: str) -> float:
        inputs = self.processor(
            images=image, text=[text], padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt"
        )
        with torch.inference_mode():
            out = self.model(**inputs)
        return float(torch.nn.functional.cosine_similarity(out.image_embeds, out.text_embeds))

    def embedding(self, image: Image.Image) -> torch.Tensor:
        pixels = self.processor(images=image, return_tensors="pt").pixel_values
        with torch.inference_mode():
            features = self.model.get_image_features(pixel_values=pixels).pooler_output[0]
        return features / features.norm()


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_those_of_the_library_for_each_picture_and_text_alone(
    folder: Path, scorers: dict[str, Any], pictures: list[Path], kind: str
) -> None:
    library = Library(folder / kind)
    found = replies(scorers[kind], requests(pictures))
    different = set()
    for request in requests(pictures):
        image = open_image(request.image)
        expected = [library.cosine(image, text) for text in request.texts]
        assert found[request.key].result.cosines == pytest.approx(expected, abs=2e-5)
        different |= {round(cosine, 4) for cosine in expected}
    assert len(different) > 20


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_are_prepared_as_by_the_processor_with_pillow_and_without_tensors(
    folder: Path, scorers: dict[str, Any], pictures: list[Path], kind: str
) -> None:
    """The library's processor that resizes with Pillow is the one that the models were trained with; it rounds otherwise."""
    from transformers import CLIPImageProcessorPil, SiglipImageProcessorPil

    exact = Library(folder / kind).processor.image_processor
    older = {"clip": CLIPImageProcessorPil, "siglip": SiglipImageProcessorPil}[kind].from_pretrained(folder / kind)
    for request in requests(pictures):
        ours = scorers[kind].prepare([request], [scorers[kind].load(request)]).pixels.numpy()
        image = open_image(request.image)
        assert np.abs(ours - exact(images=image, return_tensors="pt").pixel_values.numpy()).max() < 1e-5
        assert np.abs(ours - older(images=image, return_tensors="np").pixel_values).max() < 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_scores_the_same_alone_and_in_any_batch(scorers: dict[str, Any], pictures: list[Path], kind: str) -> None:
    together = replies(scorers[kind], requests(pictures))
    for request in requests(pictures)[::3]:
        scorers[kind]._texts.clear()
        alone = replies(scorers[kind], [request])[request.key].result
        assert alone.cosines == pytest.approx(together[request.key].result.cosines, abs=2e-6)
        assert alone.aesthetic == pytest.approx(together[request.key].result.aesthetic, abs=2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_texts_are_encoded_once_and_so_many_are_kept(
    folder: Path, pictures: list[Path], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = scorer(folder, kind)
    encoded: list[int] = []
    plain = model._model.get_text_features
    monkeypatch.setattr(
        model._model, "get_text_features", lambda **tokens: (encoded.append(len(tokens["input_ids"])), plain(**tokens))[1]
    )
    for _ in range(3):
        replies(model, [ScoreRequest(str(path), ("a lamp", "a  lamp\n", "lamps", "a lamp"), str(path)) for path in pictures])
    assert sum(encoded) == 2
    monkeypatch.setattr("shardmill.models.score.clip.KEPT_TEXTS", 3)
    asked = [ScoreRequest(str(pictures[0]), (f"lamp {number}", "a lamp"), str(number)) for number in range(40)]
    found = replies(model, asked)
    assert len(model._texts) <= 3 + 2 * 8
    lamp = found["0"].result.cosines[1]
    assert all(reply.result.cosines[1] == pytest.approx(lamp, abs=2e-6) for reply in found.values())


@pytest.mark.parametrize("kind", KINDS)
def test_long_empty_and_odd_texts_do_no_harm(folder: Path, scorers: dict[str, Any], pictures: list[Path], kind: str) -> None:
    word = "a cat and a dog "
    odd = ("", "  \n ", "\ud800", "\x00", word * 40_000, word * 40, "<|highest|> a cat", "猫 " * 50)
    (reply,) = scorers[kind].stream([ScoreRequest(str(pictures[0]), odd, "odd")])
    assert reply.result.cosines[:2] == (0.0, 0.0)
    assert all(-1 <= cosine <= 1 and cosine != 0 for cosine in reply.result.cosines[2:])
    cut = Library(folder / kind).cosine(open_image(str(pictures[0])), (word * 40).strip())
    assert reply.result.cosines[4:6] == pytest.approx((cut, cut), abs=2e-5)


def test_many_texts_of_one_picture_are_all_scored(scorers: dict[str, Any], pictures: list[Path]) -> None:
    texts = tuple(f"a red bicycle {number}" for number in range(600))
    (reply,) = scorers["clip"].stream([ScoreRequest(str(pictures[1]), texts, "many")])
    assert len(reply.result.cosines) == 600
    (some,) = scorers["clip"].stream([ScoreRequest(str(pictures[1]), texts[300:302], "some")])
    assert reply.result.cosines[300:302] == pytest.approx(some.result.cosines, abs=2e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_bad_pictures_and_no_texts_do_not_stop_the_others(
    scorers: dict[str, Any], pictures: list[Path], tmp_path: Path, kind: str
) -> None:
    (tmp_path / "empty.jpg").touch()
    Image.effect_noise((64, 64), 50).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:900])
    Image.new("CMYK", (64, 64), (9, 200, 30, 4)).save(tmp_path / "cmyk.jpg")
    Image.new("RGB", (1, 1), "red").save(tmp_path / "dot.png")
    Image.new("RGB", (3, 3), "red").save(tmp_path / "small.png")
    bad, odd = ["missing.jpg", "empty.jpg", "cut.png"], ["cmyk.jpg", "dot.png", "small.png"]
    asked = [ScoreRequest(str(tmp_path / name), ("a cat",), name) for name in [*bad, *odd]]
    asked += [ScoreRequest(str(pictures[0]), (), "none"), ScoreRequest(str(pictures[0]), ("a cat",), "good")]
    found = replies(scorers[kind], asked)
    assert {key for key, reply in found.items() if reply.finish == "unusable"} == set(bad)
    assert all(found[name].problem == "unreadable image" and found[name].detail for name in bad)
    assert found["none"].result.cosines == ()
    assert all(-1 <= found[name].result.cosines[0] <= 1 for name in [*odd, "good"])
    assert (found["none"].result.aesthetic is None) == (kind == "siglip")


def test_a_line_of_pixels_is_not_enlarged_whole(folder: Path, scorers: dict[str, Any], tmp_path: Path) -> None:
    """64 pixels wide it would be 64 million pixels high; what is looked at is its middle."""
    line = Image.new("RGB", (1, 1_000_000), "blue")
    line.paste((255, 0, 0), (0, 499_000, 1, 501_000))
    line.save(tmp_path / "line.png")
    Image.new("RGB", (64, 64), "red").save(tmp_path / "red.png")
    found = replies(scorers["clip"], [ScoreRequest(str(tmp_path / f"{name}.png"), ("a cat",), name) for name in ("line", "red")])
    assert found["line"].result.cosines == pytest.approx(found["red"].result.cosines, abs=1e-4)
    for height, width in ((900, 90), (91, 905)):  # of a picture that is only somewhat too long the same is seen as ever
        Image.effect_noise((width, height), 60).convert("RGB").resize((width, height)).save(tmp_path / "long.png")
        image = open_image(str(tmp_path / "long.png"))
        (reply,) = scorers["clip"].stream([ScoreRequest(str(tmp_path / "long.png"), ("a cat",), "long")])
        assert reply.result.cosines[0] == pytest.approx(Library(folder / "clip").cosine(image, "a cat"), abs=0.01)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize(("between", "bias"), [((), True), ((), False), ((16, 8, 8, 8, 8, 8), True)])
def test_a_head_scores_the_normalised_embedding(
    folder: Path, pictures: list[Path], tmp_path: Path, between: tuple[int, ...], bias: bool, relu: bool
) -> None:
    state = head_weights(24, *between, bias=bias)
    save_file(state, tmp_path / "head.safetensors")  # there the layers are in the order of the alphabet: 10 before 2
    model = scorer(folder, "clip", aesthetic=str(tmp_path / "head.safetensors"), aesthetic_relu=relu)
    library = Library(folder / "clip")
    for request in requests(pictures)[:4]:
        vector = library.embedding(open_image(request.image))
        for at in range(len(between) + 1):
            vector = state[f"layers.{2 * at}.weight"] @ vector + state.get(f"layers.{2 * at}.bias", torch.zeros(1))
            vector = vector.clamp(min=0) if relu and at < len(between) else vector
        (reply,) = model.stream([request])
        assert reply.result.aesthetic == pytest.approx(float(vector), rel=1e-4, abs=1e-4)
        assert len(reply.result.cosines) == len(request.texts)


def test_a_plain_linear_layer_is_a_head_and_no_head_gives_no_score(folder: Path, pictures: list[Path], tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(24, 1).state_dict(), tmp_path / "linear.pth")
    (with_head,) = scorer(folder, "clip", aesthetic=str(tmp_path / "linear.pth")).stream([ScoreRequest(str(pictures[0]), ())])
    (without,) = scorer(folder, "clip").stream([ScoreRequest(str(pictures[0]), ())])
    assert isinstance(with_head.result.aesthetic, float)
    assert without.result == Scores((), None)


class Command:
    """What a pickle may run when it is loaded."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_heads_that_do_not_fit_are_told_and_nothing_in_them_is_run(folder: Path, tmp_path: Path) -> None:
    def load(content: Any) -> None:
        torch.save(content, tmp_path / "head.pth")
        scorer(folder, "clip", aesthetic=str(tmp_path / "head.pth"))

    with pytest.raises(UserError, match="not a file of weights"):
        load({"layers.0.weight": Command(tmp_path / "ran")})
    assert not (tmp_path / "ran").exists()
    with pytest.raises(UserError, match="holds more than tensors"):
        load([torch.zeros(1, 24)])
    with pytest.raises(UserError, match="for another model"):
        load(head_weights(768, 16))
    with pytest.raises(UserError, match="end in one number"):
        load({"weight": torch.zeros(2, 24)})
    with pytest.raises(UserError, match="end in one number"):
        load({})
    with pytest.raises(UserError, match=r"more than linear layers: norm\.running_mean"):
        load({**head_weights(24), "norm.running_mean": torch.zeros(24)})
    with pytest.raises(UserError, match="another width"):
        load({"weight": torch.zeros(1, 24), "bias": torch.zeros(3)})
    (tmp_path / "head.pth").write_bytes(b"no weights")
    with pytest.raises(UserError, match="not a file of weights"):
        scorer(folder, "clip", aesthetic=str(tmp_path / "head.pth"))
    with pytest.raises(UserError, match="no aesthetic head"):
        scorer(folder, "clip", aesthetic=str(tmp_path / "none.pth"))


def test_the_weights_of_a_head_are_in_the_fingerprint_and_its_place_is_not(folder: Path, tmp_path: Path) -> None:
    def identity(**more: Any) -> dict[str, str]:
        return model_identity("score", {"kind": "clip", "model": str(folder / "clip"), **more})

    torch.save(head_weights(24, seed=1), tmp_path / "one.pth")
    (tmp_path / "copy.pth").write_bytes((tmp_path / "one.pth").read_bytes())
    torch.save(head_weights(24, seed=2), tmp_path / "two.pth")
    one, copy, two = (identity(aesthetic=str(tmp_path / f"{name}.pth")) for name in ("one", "copy", "two"))
    assert one == copy != two
    assert "aesthetic" not in identity()
    assert identity(threads=3, max_batch_size=2, device="cpu") == identity()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("dtype", "off"), [("bfloat16", 0.05), ("float16", 0.005)])
def test_half_precision_moves_scores_little(
    folder: Path, scorers: dict[str, Any], pictures: list[Path], kind: str, dtype: str, off: float
) -> None:
    exact = replies(scorers[kind], requests(pictures))
    half = replies(scorer(folder, kind, dtype=dtype), requests(pictures))
    for key, reply in half.items():
        assert reply.result.cosines == pytest.approx(exact[key].result.cosines, abs=off)


def test_pictures_are_read_no_further_ahead_than_the_window(scorers: dict[str, Any], pictures: list[Path]) -> None:
    taken = 0

    def source() -> Iterator[ScoreRequest]:
        nonlocal taken
        for taken in range(1, 201):
            yield ScoreRequest(str(pictures[taken % 12]), ("a cat",), str(taken))

    stream = scorers["clip"].stream(source())
    seen = [next(stream).key]
    assert taken <= 6 * 8
    seen += [reply.key for reply in stream]
    assert sorted(map(int, seen)) == [*range(1, 201)]


def test_weights_that_are_no_numbers_cost_rows_and_not_more(folder: Path, pictures: list[Path]) -> None:
    model = scorer(folder, "clip")
    model._encode(model._tokens([["a cat"]]))
    model._texts["a cat"] = model._texts["a cat"] * float("nan")
    found = replies(
        model, [ScoreRequest(str(pictures[0]), ("a cat",), "bad"), ScoreRequest(str(pictures[1]), ("a dog",), "good")]
    )
    assert (found["bad"].finish, found["bad"].problem) == ("unusable", "scores are not finite")
    assert found["good"].finish == "stop"


def test_what_cannot_be_loaded_is_told_in_a_line(folder: Path, tmp_path: Path) -> None:
    build_owl(tmp_path / "owl")
    with pytest.raises(UserError, match="no model in the folder"):
        open_model("score", {"kind": "clip", "model": str(tmp_path)})
    with pytest.raises(UserError, match="not a CLIP or SigLIP model but of the family 'owlvit'"):
        open_model("score", {"kind": "clip", "model": str(tmp_path / "owl")})
    with pytest.raises(UserError, match="max_batch_sise"):
        scorer(folder, "clip", max_batch_sise=4)
    with pytest.raises(UserError, match="device 'gpu'"):
        scorer(folder, "clip", device="gpu")


def test_a_closed_model_lets_go_of_its_memory_and_threads(folder: Path, pictures: list[Path]) -> None:
    model = scorer(folder, "clip")
    assert len(replies(model, requests(pictures))) == 12
    model.close()
    assert not hasattr(model, "_model") and not model._texts

"""Image generation with small random pipelines: prompts as the pipeline reads them, each image as if generated alone."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from PIL import Image

from models.tiny_diffusion import build_sd1, build_sd3, build_sdxl
from shardmill.models.contract import GeneratedImage, GenerateRequest, Reply
from shardmill.models.generate.diffusers import DiffusersGenerator
from shardmill.models.generate.embeddings import PromptTooLong, WeightedPrompts
from shardmill.models.generate.pipeline_model import WINDOW
from shardmill.models.generate.store import image_problem
from shardmill.models.registry import open_model
from shardmill.util.errors import ModelDied, UserError
from shardmill.util.signals import stopping_when

FAMILIES = ["sd3", "sd3-without-t5", "sdxl"]
SMALL = {"width": 64, "height": 64, "steps": 2, "guidance": 30.0, "max_batch_size": 4, "format": "png"}
RAGGED = [
    "a boat",
    "a (red tram:3) in the rain, no (people:0.6)",
    "",
    "red " * 40,
    "five dogs and a (cat:1.2) " * 12,
    "one lamp, two lamps",
]
NEGATIVE = ["", "blur", "(ugly:3)", "grey sky " * 15, "", "(fog:0.7)"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("generators")
    return {
        "sd3": build_sd3(base / "sd3"),
        "sd3-without-t5": build_sd3(base / "sd3-without-t5", t5=False),
        "sdxl": build_sdxl(base / "sdxl"),
        "sd1": build_sd1(base / "sd1"),
    }


@pytest.fixture(scope="module")
def pipes(folders: dict[str, Path]) -> dict[str, Any]:
    """The pipelines as diffusers loads them, to compare with."""
    nothing = {"sd3-without-t5": {"text_encoder_3": None, "tokenizer_3": None}}
    found = {}
    for name, folder in folders.items():
        found[name] = DiffusionPipeline.from_pretrained(folder, dtype=torch.float32, **nothing.get(name, {}))
        found[name].set_progress_bar_config(disable=True)
    return found


@pytest.fixture(scope="module")
def generators(folders: dict[str, Path]) -> dict[str, DiffusersGenerator]:
    return {name: DiffusersGenerator(model=str(folder), **SMALL) for name, folder in folders.items()}


@pytest.fixture
def generator(folders: dict[str, Path]) -> DiffusersGenerator:
    """A generator that a test may change."""
    return DiffusersGenerator(model=str(folders["sdxl"]), **SMALL)


def encode(pipe: Any, *pairs: tuple[str, str]) -> dict[str, Any]:
    prompts = WeightedPrompts(pipe)
    return prompts.encode([prompts.prepare(*pair) for pair in pairs])


@torch.inference_mode()
def own_encoding(pipe: Any, prompts: list[str], negatives: list[str] | None = None, length: int = 256) -> dict[str, Any]:
    """What the pipeline itself makes of plain prompts."""
    options: dict[str, Any] = {"negative_prompt": negatives}
    if type(pipe).__name__ == "StableDiffusion3Pipeline":
        options |= {"prompt_3": None, "max_sequence_length": length}
    found = pipe.encode_prompt(prompt=prompts, prompt_2=None, **options)
    names = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
    return dict(zip(names, found, strict=True))


def same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    assert first.keys() == second.keys()
    return all(first[name].shape == second[name].shape and torch.allclose(first[name], second[name], atol=1e-5) for name in first)


def ask(folder: Path, prompts: list[str], negatives: list[str] | None = None, seed: int = 0) -> list[GenerateRequest]:
    pairs = zip(prompts, negatives or [""] * len(prompts), strict=True)
    return [GenerateRequest(*pair, str(folder), str(place), seed + place) for place, pair in enumerate(pairs)]


def generate(generator: DiffusersGenerator, requests: list[GenerateRequest]) -> dict[str, Reply]:
    found = {reply.key: reply for reply in generator.stream(requests)}
    assert found.keys() == {request.key for request in requests}
    return found


def pixels(folder: Path, reply: Reply) -> Any:
    assert isinstance(reply.result, GeneratedImage), reply
    with Image.open(folder / reply.result.file) as image:
        assert image.size == (reply.result.width, reply.result.height)
        return np.asarray(image).astype(int)


def count_calls(generator: DiffusersGenerator, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the batches that the pipeline is asked to paint from now on."""
    sizes: list[int] = []
    run = generator._run_pipeline

    def counted(batch: Any) -> Any:
        sizes.append(batch.size)
        return run(batch)

    monkeypatch.setattr(generator, "_run_pipeline", counted)
    return sizes


# Prompts


@pytest.mark.parametrize("family", FAMILIES)
def test_without_weights_a_prompt_is_encoded_as_the_pipeline_does(pipes: dict[str, Any], family: str) -> None:
    prompts = ["a boat", "Red  TRAM, café (old) – 3 o'clock", "x", "red tram " * 20]
    negatives = ["blur", "red", "no\ttram", "grey " * 10]
    ours = encode(pipes[family], *zip(prompts, negatives, strict=True))
    assert same(ours, own_encoding(pipes[family], prompts, negatives))


@pytest.mark.parametrize("family", FAMILIES)
def test_an_empty_negative_is_what_the_pipeline_takes_for_none(pipes: dict[str, Any], family: str) -> None:
    ours = encode(pipes[family], ("a boat", ""), ("(two:1) boats", "  "))
    assert same(ours, own_encoding(pipes[family], ["a boat", "two boats"], None))
    assert (ours["negative_prompt_embeds"].abs().sum() == 0) == (family == "sdxl")


def test_an_empty_negative_beside_others_is_still_zeros(pipes: dict[str, Any]) -> None:
    ours = encode(pipes["sdxl"], ("a", "fog"), ("b", ""), ("c", "rain"))
    assert same(
        {"n": ours["negative_prompt_embeds"][::2]},
        {"n": encode(pipes["sdxl"], ("a", "fog"), ("a", "rain"))["negative_prompt_embeds"]},
    )
    assert ours["negative_prompt_embeds"][1].abs().sum() == ours["negative_pooled_prompt_embeds"][1].abs().sum() == 0


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("where", [0, 1])
def test_a_weight_multiplies_the_vectors_of_its_words_only(pipes: dict[str, Any], family: str, where: int) -> None:
    name = ("prompt_embeds", "negative_prompt_embeds")[where]
    plain, weighted = (
        encode(pipes[family], (text, "rain") if where == 0 else ("rain", text))
        for text in ("a red tram now", "a red (tram:1.5) now")
    )
    factor = torch.ones(plain[name].shape[1], 1)
    factor[3] = 1.5
    if family == "sd3":
        factor[77 + 6 : 77 + 11] = 1.5
    assert torch.allclose(weighted[name][0], plain[name][0] * factor, atol=1e-6)
    del plain[name], weighted[name]
    assert all(torch.equal(plain[other], weighted[other]) for other in plain)


def test_words_are_not_torn_where_a_weight_begins(pipes: dict[str, Any]) -> None:
    text = WeightedPrompts(pipes["sdxl"]).prepare("a (t:2)(ram:1) red(tram:3)", "").prompt.clip[0]
    whole = pipes["sdxl"].tokenizer("a tram redtram", add_special_tokens=False)
    assert list(text.ids) == whole.input_ids
    assert text.weights[:2] == (1.0, 1.25), "one of the four letters weighs 2"
    assert text.weights[2] == 1.0 and text.weights[-1] == 3.0


@pytest.mark.parametrize("name", ["tokenizer", "tokenizer_3"])
def test_a_tokenizer_without_offsets_gives_the_same_tokens(pipes: dict[str, Any], name: str, monkeypatch: Any) -> None:
    prompts = WeightedPrompts(pipes["sd3"])
    prompt = "a  (red, Tram:1.5)\n(now:0.5) café"
    text = prompts.prepare(prompt, "").prompt
    monkeypatch.setattr(type(getattr(pipes["sd3"], name)), "is_fast", property(lambda _: False))
    assert prompts.prepare(prompt, "").prompt == text


@pytest.mark.parametrize("family", FAMILIES)
def test_long_prompts_go_through_clip_in_chunks(pipes: dict[str, Any], family: str) -> None:
    parts = ["apple " * 15, "lemon " * 15, "onion " * 10]
    ours = encode(pipes[family], ("".join(parts), "fog"))
    theirs = own_encoding(pipes[family], [*parts, "fog", "zzz"], ["zzz"] * 5)
    chunks = ours["prompt_embeds"][0, : 3 * 77].split(77)
    for chunk, expected in zip(chunks, theirs["prompt_embeds"], strict=False):
        assert torch.allclose(chunk, expected[:77], atol=1e-5)
    assert torch.allclose(ours["pooled_prompt_embeds"][0], theirs["pooled_prompt_embeds"][0], atol=1e-5)
    negative = ours["negative_prompt_embeds"][0, : 3 * 77].split(77)
    assert torch.allclose(negative[0], theirs["prompt_embeds"][3][:77], atol=1e-5)
    assert torch.equal(negative[1], negative[2]) and not torch.allclose(negative[0], negative[1], atol=1e-2)
    assert ours["prompt_embeds"].shape == ours["negative_prompt_embeds"].shape
    assert ours["prompt_embeds"].shape[1] == 3 * 77 + (0 if family == "sdxl" else 256)


def test_a_weight_far_into_a_long_prompt_finds_its_chunk(pipes: dict[str, Any]) -> None:
    plain, weighted = (encode(pipes["sdxl"], ("apple " * 20 + word, ""))["prompt_embeds"][0] for word in ("tram", "(tram:2)"))
    changed = (plain != weighted).any(dim=1).nonzero().flatten().tolist()
    assert changed == [77 + 1 + 25]


def test_t5_reads_512_tokens_where_256_are_too_few(pipes: dict[str, Any]) -> None:
    for last, length in (("ab", 256), ("abc", 512)):
        prompt = "lemon " * 42 + last  # 6 tokens each, and the end
        ours = encode(pipes["sd3"], (prompt, "fog"))
        theirs = own_encoding(pipes["sd3"], [prompt], ["fog"], length)
        for name in ("prompt_embeds", "negative_prompt_embeds"):
            assert torch.allclose(ours[name][0, -length:], theirs[name][0, -length:], atol=1e-5)
            assert ours[name].shape[1] == length + 77 * 3


@pytest.mark.parametrize(
    ("family", "prompt"), [("sd3", "lemon " * 86), ("sdxl", "lemon " * 121), ("sd3", "(" * 1_000_000), ("sd1", " " * 1_000_000)]
)
def test_what_is_longer_is_refused(pipes: dict[str, Any], generators: dict[str, Any], family: str, prompt: str) -> None:
    for pair in ((prompt, ""), ("a", prompt + "a")):
        with pytest.raises(PromptTooLong):
            generators[family]._prompts.prepare(*pair)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("long", ["", "apple " * 18])
def test_many_prompts_are_encoded_as_each_alone(pipes: dict[str, Any], family: str, long: str) -> None:
    pairs = [("a boat", "fog"), ("(tram:1.3) red", ""), ("a boat", "(fog:0.5)"), ("", "fog"), ("lemon " * 10, "red")]
    pairs = [(prompt + long, negative) for prompt, negative in pairs]
    together = encode(pipes[family], *pairs)
    for row, pair in enumerate(pairs):
        assert same({name: values[row : row + 1] for name, values in together.items()}, encode(pipes[family], pair))


# Pictures


@pytest.mark.parametrize("family", FAMILIES)
def test_a_picture_does_not_depend_on_its_batch(
    generators: dict[str, DiffusersGenerator], pipes: dict[str, Any], family: str, tmp_path: Path
) -> None:
    requests = ask(tmp_path / "together", RAGGED, NEGATIVE)
    together = generate(generators[family], requests)
    for request, alone in zip(requests, ask(tmp_path / "alone", RAGGED, NEGATIVE), strict=True):
        ours = pixels(tmp_path / "together", together[request.key])
        reply = next(iter(generators[family].stream([alone])))
        assert np.abs(ours - pixels(tmp_path / "alone", reply)).max() <= 2
        plainly = pipes[family](
            **encode(pipes[family], (request.prompt, request.negative)),
            generator=torch.Generator("cpu").manual_seed(request.seed),
            height=64,
            width=64,
            num_inference_steps=2,
            guidance_scale=30.0,
        ).images[0]
        assert np.abs(ours - np.asarray(plainly).astype(int)).max() <= 2


@pytest.mark.parametrize("family", FAMILIES)
def test_prompt_weights_negative_and_seed_all_change_the_picture(
    generators: dict[str, DiffusersGenerator], family: str, tmp_path: Path
) -> None:
    changed = [("a tram", "fog", 0), ("a (tram:1.5)", "fog", 0), ("a tram", "(fog:1.5)", 0), ("a tram", "fog", 1)]
    requests = [
        GenerateRequest(prompt, negative, str(tmp_path), str(at), seed) for at, (prompt, negative, seed) in enumerate(changed)
    ]
    found = generate(generators[family], requests)
    assert len({pixels(tmp_path, reply).tobytes() for reply in found.values()}) == len(changed)


def test_other_pipelines_get_the_words_without_weights(
    generators: dict[str, DiffusersGenerator], pipes: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "shardmill"):
        found = generate(generators["sd1"], ask(tmp_path, ["a (tram:1.5)", "(b:2)"], ["(fog:2)", ""]))
    assert len([record for record in caplog.records if "weigh" in record.message]) == 1
    plainly = pipes["sd1"](
        "a tram",
        negative_prompt="fog",
        generator=torch.Generator("cpu").manual_seed(0),
        height=64,
        width=64,
        num_inference_steps=2,
        guidance_scale=30.0,
    ).images[0]
    assert np.abs(pixels(tmp_path, found["0"]) - np.asarray(plainly).astype(int)).max() <= 2


def test_the_negative_of_the_settings_comes_after_that_of_the_request(folders: dict[str, Path], tmp_path: Path) -> None:
    generator = DiffusersGenerator(model=str(folders["sdxl"]), **SMALL)
    suffixed = DiffusersGenerator(model=str(folders["sdxl"]), negative="rain", **SMALL)
    expected = generate(generator, ask(tmp_path / "a", ["a", "a"], ["fog, rain", "rain"]))
    found = generate(suffixed, ask(tmp_path / "b", ["a", "a"], ["fog", ""]))
    for key in found:
        assert np.array_equal(pixels(tmp_path / "b", found[key]), pixels(tmp_path / "a", expected[key]))


def test_jpegs_are_written_as_asked(folders: dict[str, Path], tmp_path: Path) -> None:
    generator = open_model(
        "generate", {"kind": "diffusers", "model": str(folders["sdxl"]), **SMALL, "format": "jpg", "width": 48}
    )
    [reply] = generator.stream(ask(tmp_path, ["a boat"]))
    assert isinstance(reply.result, GeneratedImage) and reply.usage.seconds > 0
    name = Path(reply.result.file)
    assert (name.suffix, name.parent.name, len(name.stem)) == (".jpg", name.stem[:2], 64)
    with Image.open(tmp_path / name) as image:
        assert (image.format, image.size, (reply.result.width, reply.result.height)) == ("JPEG", (48, 64), (48, 64))


# Files


def test_what_was_generated_is_not_generated_again(generator: DiffusersGenerator, tmp_path: Path, monkeypatch: Any) -> None:
    sizes = count_calls(generator, monkeypatch)
    first = generate(generator, ask(tmp_path, ["a", "b", "c"]))
    assert sizes == [3]
    again = generate(generator, ask(tmp_path, ["a", "b", "c", "d"]))
    assert sizes == [3, 1]
    assert {key: again[key].result for key in first} == {key: reply.result for key, reply in first.items()}


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"\0" * len(data)])
def test_a_corrupt_file_is_generated_again(generator: DiffusersGenerator, tmp_path: Path, monkeypatch: Any, damage: Any) -> None:
    sizes = count_calls(generator, monkeypatch)
    first = generate(generator, ask(tmp_path, ["a", "b"]))
    path = tmp_path / first["1"].result.file
    painted = pixels(tmp_path, first["1"])
    path.write_bytes(damage(path.read_bytes()))
    assert generate(generator, ask(tmp_path, ["a", "b"]))["1"].result == first["1"].result
    assert sizes == [2, 1]
    assert np.abs(pixels(tmp_path, first["1"]) - painted).max() <= 2
    assert not list(tmp_path.rglob("*.tmp"))


def test_what_shapes_a_picture_names_its_file(folders: dict[str, Path], tmp_path: Path) -> None:
    names = set()
    for change in ({}, {"steps": 1}, {"guidance": 2.0}, {"width": 80}, {"negative": "fog"}, {"format": "jpg"}):
        generator = DiffusersGenerator(model=str(folders["sdxl"]), **{**SMALL, **change})
        [reply] = generator.stream(ask(tmp_path, ["a"]))
        names.add(Path(reply.result.file).stem)
    assert len(names) == 6
    [reply] = DiffusersGenerator(model=str(folders["sdxl"]), **{**SMALL, "max_batch_size": 1}).stream(ask(tmp_path, ["a"]))
    assert Path(reply.result.file).stem in names, "how many are generated at a time changes nothing"


def test_pictures_without_anything_to_see_are_errors(generator: DiffusersGenerator, tmp_path: Path, monkeypatch: Any) -> None:
    def images(**given: Any) -> Any:
        noise = Image.effect_noise((64, 64), 50).convert("RGB")
        shown = [Image.new("RGB", (64, 64), colour) for colour in ("black", (1, 2, 3), "white", "olive")] + [noise, noise]
        return SimpleNamespace(images=shown, nsfw_content_detected=[False] * 5 + [True])

    monkeypatch.setattr(generator, "_pipe", images)
    monkeypatch.setattr(generator, "_batch_size", 6)
    found = generate(generator, ask(tmp_path, list("abcdef")))
    assert [found[str(key)].problem for key in range(6)] == [
        *("black image", "black image", "blank image", "blank image", "", "flagged as unsafe")
    ]
    assert [found[str(key)].finish for key in range(6)] == ["error"] * 4 + ["stop", "error"]
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


def test_a_dark_picture_with_something_in_it_is_no_fault() -> None:
    night = Image.new("RGB", (64, 64))
    night.paste((200, 200, 160), (30, 30, 36, 36))
    assert image_problem(night) is None


# The stream


def test_a_huge_prompt_is_unusable_and_the_rest_goes_on(generators: dict[str, DiffusersGenerator], tmp_path: Path) -> None:
    found = generate(generators["sd3"], ask(tmp_path, ["a", "huge " * 200_000, "\ud800\0", "b" * 600, "c"]))
    assert [found[str(key)].finish for key in range(5)] == ["stop", "unusable", "stop", "unusable", "stop"]
    assert {found[key].problem for key in "13"} == {"prompt too long"}


def test_requests_are_taken_lazily_and_in_the_callers_thread(generator: DiffusersGenerator, tmp_path: Path) -> None:
    taken: list[int] = []
    threads = set()

    def endless() -> Iterator[GenerateRequest]:
        while True:
            threads.add(threading.get_ident())
            taken.append(len(taken))
            yield GenerateRequest("a", "", str(tmp_path), str(len(taken)), len(taken))

    replies = generator.stream(endless())
    assert not taken
    for count in range(1, 9):
        next(replies)
        assert len(taken) - count < (WINDOW + 3) * 4
    replies.close()
    before = len(taken)
    assert threads == {threading.get_ident()} and len(taken) == before
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith(("encode-prompts", "write-pictures"))]


def test_a_worker_that_is_to_stop_gets_the_images_that_are_generated(generator: DiffusersGenerator, tmp_path: Path) -> None:
    found: list[str] = []
    stop = False
    with stopping_when(lambda: stop):
        for reply in generator.stream(ask(tmp_path, ["a"] * 60)):
            found.append(reply.key)
            stop = True
    assert 4 <= len(found) <= 12


def test_nobody_waits_for_ever_for_others_of_the_same_length(generator: DiffusersGenerator, tmp_path: Path) -> None:
    prompts = ["apple " * 20, *["a"] * 60]
    order = [reply.key for reply in generator.stream(ask(tmp_path, prompts))]
    assert sorted(order, key=int) == [str(key) for key in range(61)]
    assert order[0] == "0"


def test_batches_are_full_where_lengths_alternate(generator: DiffusersGenerator, tmp_path: Path, monkeypatch: Any) -> None:
    sizes = count_calls(generator, monkeypatch)
    generate(generator, ask(tmp_path, ["a", "apple " * 20] * 8))
    assert sizes == [4, 4, 4, 4]


def test_batches_shrink_when_memory_runs_out(
    generator: DiffusersGenerator, generators: dict[str, DiffusersGenerator], tmp_path: Path, monkeypatch: Any
) -> None:
    pipe = generator._pipe
    sizes = []

    def small(**given: Any) -> Any:
        sizes.append(len(given["generator"]))
        if sizes[-1] > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate more")
        if given["generator"][0].initial_seed() == 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate more")
        return pipe(**given)

    small._execution_device = pipe._execution_device  # type: ignore[attr-defined]
    monkeypatch.setattr(generator, "_pipe", small)
    found = generate(generator, ask(tmp_path / "small", list("abcdefgh")))
    assert (found["3"].finish, found["3"].problem) == ("error", "out of memory")
    assert sizes[0] == 4 and generator._batch_size == 1
    expected = generate(generators["sdxl"], ask(tmp_path / "large", list("abcdefgh")))
    for key in "0124567":
        assert np.abs(pixels(tmp_path / "small", found[key]) - pixels(tmp_path / "large", expected[key])).max() <= 2


def test_an_error_of_the_gpu_ends_the_model(generator: DiffusersGenerator, tmp_path: Path, monkeypatch: Any) -> None:
    def broken(**given: Any) -> Any:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(generator, "_pipe", broken)
    with pytest.raises(ModelDied, match="illegal memory access"):
        generate(generator, ask(tmp_path, ["a"]))


def test_a_compiled_model_gets_full_batches_only(folders: dict[str, Path], tmp_path: Path, monkeypatch: Any) -> None:
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compiled.append(type(self).__name__))
    for family, kind in (("sdxl", "UNet2DConditionModel"), ("sd3", "SD3Transformer2DModel")):
        generator = DiffusersGenerator(model=str(folders[family]), compile=True, **SMALL)
        assert compiled.pop() == kind
        sizes = count_calls(generator, monkeypatch)
        found = generate(generator, ask(tmp_path / family, list("abcde")))
        assert sizes == [4, 4] and all(reply.finish == "stop" for reply in found.values())


# Settings


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"widht": 64}, "widht.*did you mean 'width'"),
        ({"width": 65}, "width"),
        ({"dtype": "float3"}, "float3"),
        ({"format": "gif"}, "format"),
        ({"drop_t5": True}, "drop_t5"),
        ({"model": "/nowhere/model"}, "no model in the folder"),
        ({"model": None}, "model"),
    ],
)
def test_wrong_settings_are_told(folders: dict[str, Path], change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        DiffusersGenerator(**{"model": str(folders["sdxl"]), **SMALL, **change})


def test_what_a_pipeline_refuses_is_told(generator: DiffusersGenerator, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(generator._options, "height", 65)
    with pytest.raises(UserError, match="divisible"):
        generate(generator, ask(tmp_path, ["a"]))


def test_a_folder_that_cannot_be_written_is_told(generator: DiffusersGenerator, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot write"):
        generate(generator, ask(tmp_path / "file", ["a"]))


def test_t5_can_be_left_out(folders: dict[str, Path], pipes: dict[str, Any], tmp_path: Path) -> None:
    generator = DiffusersGenerator(model=str(folders["sd3"]), drop_t5=True, **SMALL)
    assert generator._pipe.text_encoder_3 is None
    found = generate(generator, ask(tmp_path, ["a (boat:1.2)", "lemon " * 100]))
    assert all(reply.finish == "stop" for reply in found.values())


def test_identity_is_known_without_loading(folders: dict[str, Path]) -> None:
    settings = {"model": str(folders["sdxl"]), "steps": 5, "max_batch_size": 2}
    identity = DiffusersGenerator.identity(**settings)
    assert identity["steps"] == "5" and "weights" in identity and "max_batch_size" not in identity
    assert DiffusersGenerator.identity(**{**settings, "max_batch_size": 3}) == identity

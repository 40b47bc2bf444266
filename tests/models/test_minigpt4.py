"""MiniGPT-4 with small random parts: says what they say when put together by hand, each row as if alone, each image seen once."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForCausalLM, AutoTokenizer, Blip2ForConditionalGeneration

from models.tiny_minigpt4 import HIDDEN, PIXELS, QUERIES, SEEN, Parts, build_minigpt4, save_projection
from shardmill.models.caption import minigpt4_parts
from shardmill.models.caption.minigpt4 import WINDOW, MiniGpt4Captioner
from shardmill.models.contract import CaptionRequest, Reply, Sampling
from shardmill.models.registry import model_identity, open_model
from shardmill.util.errors import ModelDied, UserError
from shardmill.util.signals import stopping_when

PROMPTS = [
    "Describe this image in detail.",
    "What is in it?",
    "Is there a dog? Answer yes or no, then say where it is and what it does with whom.",
    "Colours?",
    "Write about the background of the picture, and what may lie beyond its left side.",
    "Count the people. " * 6,
    "Weather?",
]
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    return build_minigpt4(tmp_path_factory.mktemp("minigpt4"))


@pytest.fixture(scope="module")
def model(parts: Parts) -> MiniGpt4Captioner:
    return MiniGpt4Captioner(**parts.settings(), max_batch_size=8)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Six blurred pictures of several sizes and shapes."""
    folder = tmp_path_factory.mktemp("images")
    for number, size in enumerate([(90, 60), (56, 56), (40, 200), (300, 200), (3, 3), (64, 1)]):
        noise = np.random.default_rng(number).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(noise).resize(size).save(folder / f"{number}.png")
    return [str(folder / f"{number}.png") for number in range(6)]


def ask(image: str, prompt: str = PROMPTS[0], key: str = "", seed: int = 0, **sampling: Any) -> CaptionRequest:
    return CaptionRequest(image, prompt, Sampling(**{"max_tokens": 16, **sampling}), key, seed)


def all_of(images: list[str], prompts: list[str] = PROMPTS, **sampling: Any) -> list[CaptionRequest]:
    pairs = [(image, prompt) for image in images for prompt in prompts]
    return [ask(image, prompt, str(number), number, **sampling) for number, (image, prompt) in enumerate(pairs)]


def replies(model: MiniGpt4Captioner, *requests: CaptionRequest) -> dict[str, Reply]:
    return {reply.key: reply for reply in model.stream(requests)}


class ByHand:
    """The same parts, put together in the plainest way: one row, nothing padded, kept or batched, every step from the start."""

    def __init__(self, parts: Parts, form: str):
        self.before, self.after = form.split("<ImageHere>")
        self.blip2 = Blip2ForConditionalGeneration.from_pretrained(parts.vision_encoder).eval()
        self.llm = AutoModelForCausalLM.from_pretrained(parts.model).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(parts.model)
        self.layer = torch.load(parts.projection, weights_only=True)["model"]

    @torch.inference_mode()
    def visual_tokens(self, path: str) -> torch.Tensor:
        image = Image.open(path).convert("RGB").resize((PIXELS, PIXELS), Image.Resampling.BICUBIC)
        pixels = (torch.tensor(np.array(image)) / 255 - torch.tensor(CLIP_MEAN)) / torch.tensor(CLIP_STD)
        seen = self.blip2.vision_model(pixels.permute(2, 0, 1)[None].float()).last_hidden_state
        said = self.blip2.qformer(query_embeds=self.blip2.query_tokens, encoder_hidden_states=seen).last_hidden_state
        return said[0] @ self.layer["llama_proj.weight"].T + self.layer["llama_proj.bias"]

    @torch.inference_mode()
    def answer(self, request: CaptionRequest) -> str:
        def embed(text: str) -> torch.Tensor:
            return self.llm.model.embed_tokens(torch.tensor(self.tokenizer.encode(text, add_special_tokens=False)))

        start = self.llm.model.embed_tokens(torch.tensor([self.tokenizer.bos_token_id]))
        after = self.after.replace("{prompt}", request.prompt)
        row = torch.cat([start, embed(self.before), self.visual_tokens(request.image), embed(after)])
        written: list[int] = []
        while len(written) < request.sampling.max_tokens:
            token = int(self.llm(inputs_embeds=row[None]).logits[0, -1].argmax())
            if token == self.tokenizer.eos_token_id:
                break
            written.append(token)
            row = torch.cat([row, self.llm.model.embed_tokens(torch.tensor([token]))])
        return self.tokenizer.decode(written, skip_special_tokens=True).strip()


@pytest.mark.parametrize(
    ("chat", "form"),
    [
        ("vicuna", "###Human: <Img><ImageHere></Img> {prompt} ###Assistant:"),
        ("llama-2", "[INST]<Img><ImageHere></Img> {prompt} [/INST]"),
    ],
)
def test_greedy_text_is_that_of_the_parts_put_together_by_hand(parts: Parts, images: list[str], chat: str, form: str) -> None:
    model = MiniGpt4Captioner(**parts.settings(), chat=chat, max_batch_size=16)
    requests = all_of(images)
    found, by_hand = replies(model, *requests), ByHand(parts, form)
    assert [found[each.key].result for each in requests] == [by_hand.answer(each) for each in requests]
    assert len({reply.result for reply in found.values()}) > 0.9 * len(requests), "image and prompt both shape the text"


@pytest.mark.parametrize("sampling", [{}, {"temperature": 0.9, "top_p": 0.9}])
def test_a_row_has_the_same_answer_alone_and_in_any_batch(
    model: MiniGpt4Captioner, parts: Parts, images: list[str], sampling: dict[str, float]
) -> None:
    requests = all_of(images, **sampling)
    together = replies(model, *requests)
    others = replies(MiniGpt4Captioner(**parts.settings(), max_batch_size=3), *reversed(requests))
    for each in requests:
        assert together[each.key].result == others[each.key].result
        assert together[each.key].result == replies(model, each)[each.key].result


def test_a_seed_decides_a_sampled_answer(model: MiniGpt4Captioner, images: list[str]) -> None:
    found = replies(model, *(ask(images[0], key=str(seed), seed=seed, temperature=1.0) for seed in range(10)))
    assert len({reply.result for reply in found.values()}) == 10


def test_an_image_is_decoded_and_seen_once_for_all_its_prompts(
    parts: Parts, images: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = MiniGpt4Captioner(**parts.settings(), max_batch_size=4)
    seen, opened = [], []
    model._vision_encoder.tower.vision_model.register_forward_pre_hook(
        lambda _, __, kwargs: seen.append(len(kwargs["pixel_values"])), with_kwargs=True
    )
    open_image = minigpt4_parts.open_image
    monkeypatch.setattr(minigpt4_parts, "open_image", lambda path: opened.append(path) or open_image(path))
    assert len(replies(model, *all_of(images[:3]))) == 21
    assert seen == [1, 1, 1]
    assert sorted(opened) == images[:3]


def test_more_images_than_are_kept_are_all_answered(
    model: MiniGpt4Captioner, images: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = all_of(images, PROMPTS[:2])
    whole = replies(model, *requests)
    monkeypatch.setattr(minigpt4_parts, "KEPT", 1)
    scattered = replies(model, *requests[::2], *requests[1::2])
    assert {key: reply.result for key, reply in scattered.items()} == {key: reply.result for key, reply in whole.items()}


def test_pixels_are_dropped_once_seen_and_only_the_newest_visual_tokens_stay(
    images: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(minigpt4_parts, "KEPT", 2)
    encoded = []
    with minigpt4_parts.VisualTokenCache(lambda image: image.size, lambda pixels: encoded.append(pixels) or pixels) as kept:
        for image in images[:3]:
            kept.expect(image)
        for image in (images[0], images[1], images[0], images[2], images[0]):
            kept.tokens(image)
        assert encoded == [(90, 60), (56, 56), (40, 200)], "the one used last is forgotten last"
        assert not kept._decoding and list(kept._kept) == [images[2], images[0]]


def test_a_file_that_changed_between_streams_is_looked_at_again(
    model: MiniGpt4Captioner, images: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "same.png"
    texts = []
    for image in images[:2]:
        shutil.copy(image, path)
        texts.append(replies(model, ask(str(path)))[""].result)
    assert texts == [replies(model, ask(image))[""].result for image in images[:2]]


def test_a_damaged_image_is_rejected_and_the_rest_goes_on(model: MiniGpt4Captioner, images: list[str], tmp_path: Path) -> None:
    cut, missing = tmp_path / "cut.png", tmp_path / "missing.png"
    cut.write_bytes(Path(images[3]).read_bytes()[:200])
    bad = [ask(str(cut), key="cut 1"), ask(str(cut), PROMPTS[1], "cut 2"), ask(str(missing), key="missing")]
    good = all_of(images[:2])
    found = replies(model, *good[:3], *bad, *good[3:])
    assert set(found) == {each.key for each in (*good, *bad)}
    for each in bad:
        reply = found[each.key]
        assert (reply.finish, reply.problem, reply.result) == ("unusable", "unreadable image", "")
        assert Path(each.image).name in reply.detail
    alone = replies(model, *good)
    assert all(found[each.key].result == alone[each.key].result for each in good)
    assert {reply.finish for reply in replies(model, *bad).values()} == {"unusable"}


def test_an_original_checkpoint_is_taken_bit_by_bit_and_nothing_else_of_it(parts: Parts, model: MiniGpt4Captioner) -> None:
    original = torch.load(parts.projection, weights_only=True)["model"]
    assert torch.equal(model._vision_encoder.projection.weight, original["llama_proj.weight"])
    assert torch.equal(model._vision_encoder.projection.bias, original["llama_proj.bias"])
    blip2 = Blip2ForConditionalGeneration.from_pretrained(parts.vision_encoder).state_dict()
    loaded = model._vision_encoder.tower.state_dict()
    assert all(torch.equal(weight, blip2[name]) for name, weight in loaded.items())
    assert {name.partition(".")[0] for name in loaded} == {"vision_model", "qformer", "query_tokens"}


def test_a_projection_on_the_hub_is_named_by_repository_and_file(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(minigpt4_parts, "hf_hub_download", lambda *where: asked.append(where) or parts.projection)
    MiniGpt4Captioner(**replace(parts, projection="someone/minigpt4:stage2/7b.pth").settings())
    assert asked == [("someone/minigpt4", "stage2/7b.pth")]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_in_half_precision_the_q_former_and_the_projection_stay_in_float32(parts: Parts, images: list[str], dtype: str) -> None:
    model = MiniGpt4Captioner(**parts.settings(), dtype=dtype)
    encoder = model._vision_encoder
    assert {weight.dtype for weight in (*encoder.tower.qformer.parameters(), *encoder.projection.parameters())} == {torch.float32}
    assert {weight.dtype for weight in encoder.tower.vision_model.parameters()} == {getattr(torch, dtype)}
    assert {reply.finish for reply in replies(model, *all_of(images)).values()} <= {"stop", "length"}


@pytest.mark.parametrize(
    ("hidden", "seen"), [(HIDDEN + 32, SEEN), (HIDDEN, SEEN + 32)], ids=["other language model", "other vision encoder"]
)
def test_a_projection_that_does_not_fit_is_refused_with_both_shapes(parts: Parts, tmp_path: Path, hidden: int, seen: int) -> None:
    save_projection(tmp_path / "other.pth", hidden, seen)
    with pytest.raises(UserError) as told:
        MiniGpt4Captioner(**replace(parts, projection=str(tmp_path / "other.pth")).settings())
    assert f"({hidden}, {seen})" in str(told.value) and f"({HIDDEN}, {SEEN})" in str(told.value)


def unfit_file(kind: str, path: Path) -> str:
    path = path / "projection.pth"
    weight = torch.zeros(HIDDEN, SEEN)
    if kind == "no pickle":
        path.write_bytes(b"<html>sign in first</html>")
    elif kind != "missing":
        torch.save({"no bias": {"model": {"llama_proj.weight": weight}}, "no model": {"llama_proj.weight": weight}}[kind], path)
    return str(path)


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("missing", "there is no file"),
        ("no pickle", "not a MiniGPT-4 checkpoint"),
        ("no bias", "has no llama_proj.weight and llama_proj.bias"),
        ("no model", "has no llama_proj.weight and llama_proj.bias"),
    ],
)
def test_a_projection_that_is_none_is_refused(parts: Parts, tmp_path: Path, kind: str, fault: str) -> None:
    with pytest.raises(UserError, match=fault):
        MiniGpt4Captioner(**replace(parts, projection=unfit_file(kind, tmp_path)).settings())


def test_a_checkpoint_is_data_and_runs_no_code(parts: Parts, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"model": {}, "config": Bomb()}, tmp_path / "bomb.pth")
    with pytest.raises(UserError, match="not a MiniGPT-4 checkpoint"):
        MiniGpt4Captioner(**replace(parts, projection=str(tmp_path / "bomb.pth")).settings())
    assert not (tmp_path / "ran").exists()


def test_parts_that_cannot_see_or_speak_are_refused(parts: Parts, tmp_path: Path) -> None:
    lacking = tmp_path / "lacking"
    shutil.copytree(parts.vision_encoder, lacking)
    blip2 = Blip2ForConditionalGeneration.from_pretrained(parts.vision_encoder)
    state = {name: value for name, value in blip2.state_dict().items() if not name.startswith("qformer.encoder.layer.1")}
    blip2.save_pretrained(lacking, state_dict=state)
    with pytest.raises(UserError, match=r"lacking has no qformer\.encoder\.layer\.1.* weights are missing"):
        MiniGpt4Captioner(**replace(parts, vision_encoder=str(lacking)).settings())
    larger = tmp_path / "larger"
    shutil.copytree(parts.vision_encoder, larger)
    type(MiniGpt4Captioner(**parts.settings())._processor)(size={"height": 84, "width": 84}).save_pretrained(larger)
    for wrong, fault in [
        ({"vision_encoder": parts.model}, "is a llama model; name a BLIP-2 checkpoint"),
        ({"vision_encoder": str(tmp_path / "nowhere")}, "there is no model in the folder"),
        ({"vision_encoder": str(larger)}, "makes images of 84 x 84 pixels; its tower takes 56 x 56"),
        ({"model": str(tmp_path / "nowhere")}, "there is no model in the folder"),
        ({"dtype": "float7"}, "float7"),
        ({"chat": "chatml"}, "chat"),
        ({"vision_encoders": "x"}, "did you mean 'vision_encoder'"),
    ]:
        with pytest.raises(UserError, match=fault):
            open_model("caption", {"kind": "minigpt4", **parts.settings(), **wrong})


def says_hashes_after(model: MiniGpt4Captioner, steps: int) -> Any:
    """Make the language model write nothing but # from its step `steps` on."""
    hash_id = model._tokenizer.encode("#", add_special_tokens=False)[0]
    done = 0

    def hook(_: Any, __: Any, output: Any) -> Any:
        nonlocal done
        done += 1
        if done > steps:
            output.logits[:, -1, hash_id] = 1e4
        return output

    return model._model.register_forward_hook(hook)


def test_three_hashes_end_what_vicuna_says_and_not_what_llama_2_says(parts: Parts, images: list[str]) -> None:
    for chat in ("vicuna", "llama-2"):
        model = MiniGpt4Captioner(**parts.settings(), chat=chat)
        free = replies(model, ask(images[0], max_tokens=5))[""].result
        hook = says_hashes_after(model, 5)
        reply = replies(model, ask(images[0], max_tokens=30))[""]
        hook.remove()
        if chat == "vicuna":
            assert (reply.result, reply.finish, reply.usage.completion_tokens) == (free, "stop", 8)
        else:
            assert (reply.result, reply.finish, reply.usage.completion_tokens) == (free + 25 * "#", "length", 30)


def test_an_answer_ends_at_its_own_stop_string_and_its_batch_goes_on(model: MiniGpt4Captioner, images: list[str]) -> None:
    long = replies(model, ask(images[1], max_tokens=16))[""].result
    stop = long[len(long) // 2 :][:3]
    found = replies(model, ask(images[1], key="stops", stop=(stop,)), ask(images[1], key="goes on"), ask(images[0], key="other"))
    assert (found["stops"].result, found["stops"].finish) == (long[: long.find(stop)].strip(), "stop")
    assert (found["goes on"].result, found["goes on"].finish) == (long, "length")
    assert found["stops"].usage.completion_tokens < found["goes on"].usage.completion_tokens == 16


def test_the_token_limit_is_each_requests_own(model: MiniGpt4Captioner, images: list[str]) -> None:
    found = replies(model, ask(images[2], key="3", max_tokens=3), ask(images[2], key="12", max_tokens=12))
    for key, reply in found.items():
        assert (reply.finish, reply.usage.completion_tokens) == ("length", int(key))
    assert found["12"].result.startswith(found["3"].result.rstrip("�"))


def test_prompt_tokens_count_text_and_image(model: MiniGpt4Captioner, images: list[str]) -> None:
    usage = replies(model, ask(images[0], "Hi"))[""].usage
    texts = ("###Human: <Img>", "</Img> Hi ###Assistant:")
    assert usage.prompt_tokens == 1 + QUERIES + sum(len(model._tokenizer.encode(text)) for text in texts)


def test_what_does_not_fit_the_context_is_rejected_or_cut(parts: Parts, images: list[str]) -> None:
    model = MiniGpt4Captioner(**parts.settings(), max_model_len=64)
    short, long = ask(images[0], key="short", max_tokens=500), ask(images[0], "word " * 80, "long")
    found = replies(model, short, long)
    assert (found["long"].finish, found["long"].problem) == ("unusable", "prompt too long")
    usage = found["short"].usage
    assert found["short"].finish == "length" and usage.prompt_tokens + usage.completion_tokens == 64


def test_requests_are_taken_by_the_caller_and_no_further_ahead_than_the_window(
    model: MiniGpt4Captioner, images: list[str]
) -> None:
    taken: list[int] = []

    def source() -> Iterator[CaptionRequest]:
        for number in range(200):
            taken.append(threading.get_ident())
            yield ask(images[number % 6], key=str(number), max_tokens=2)

    before = threading.active_count()
    stream = model.stream(source())
    assert not taken
    next(stream)
    assert len(taken) <= WINDOW * 8 and set(taken) == {threading.get_ident()}
    for _ in range(20):
        next(stream)
    assert len(taken) <= 21 + WINDOW * 8
    stream.close()
    assert threading.active_count() == before


def test_a_worker_that_is_to_stop_gets_the_batch_in_progress_and_no_other(model: MiniGpt4Captioner, images: list[str]) -> None:
    found: list[str] = []
    stop = False
    with stopping_when(lambda: stop):
        for reply in model.stream(ask(images[number % 6], key=str(number), max_tokens=2) for number in range(100)):
            found.append(reply.key)
            stop = True
    assert len(found) == 8


def test_a_batch_too_large_for_the_memory_is_halved(parts: Parts, images: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    model = MiniGpt4Captioner(**parts.settings(), max_batch_size=8)
    requests = all_of(images[:3], temperature=0.8)
    plain, generate, sizes = replies(model, *requests), model._model.generate, []

    def small_memory(*, inputs_embeds: torch.Tensor, **rest: Any) -> Any:
        sizes.append(len(inputs_embeds))
        if len(inputs_embeds) > 3:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return generate(inputs_embeds=inputs_embeds, **rest)

    monkeypatch.setattr(model._model, "generate", small_memory)
    found = replies(model, *requests)
    assert {key: reply.result for key, reply in found.items()} == {key: reply.result for key, reply in plain.items()}
    assert sizes[:4] == [8, 4, 2, 2] and max(sizes[7:]) <= 2


def test_when_even_one_row_does_not_fit_it_failed_and_any_other_fault_is_the_models_end(
    parts: Parts, images: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = MiniGpt4Captioner(**parts.settings(), max_batch_size=2)
    fault = "CUDA out of memory"

    def no_memory(**_: Any) -> Any:
        raise RuntimeError(fault)

    monkeypatch.setattr(model._model, "generate", no_memory)
    found = replies(model, ask(images[0], key="a"), ask(images[1], key="b"))
    assert {(reply.finish, reply.problem) for reply in found.values()} == {("error", "out of memory")}
    fault = "CUDA error: device-side assert triggered"
    with pytest.raises(ModelDied, match="device-side assert"):
        replies(model, ask(images[0]))


def test_memory_that_runs_out_while_an_image_is_seen_costs_no_image(
    parts: Parts, images: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = MiniGpt4Captioner(**parts.settings(), max_batch_size=4)
    requests = all_of(images[:2], PROMPTS[:2])
    plain, faults = replies(model, *requests), ["CUDA out of memory"]

    def once(*_: Any) -> None:
        if faults:
            raise RuntimeError(faults.pop())

    model._vision_encoder.tower.vision_model.register_forward_pre_hook(once)
    assert {key: reply.result for key, reply in replies(model, *requests).items()} == {
        key: reply.result for key, reply in plain.items()
    }


def test_identity_is_of_all_that_shapes_the_text_and_of_nothing_else(parts: Parts, tmp_path: Path) -> None:
    copy = Parts(*(str(tmp_path / name) for name in ("llm", "vision_encoder", "projection.pth")))
    shutil.copytree(parts.model, copy.model)
    shutil.copytree(parts.vision_encoder, copy.vision_encoder)
    shutil.copy(parts.projection, copy.projection)

    def identity(**more: Any) -> tuple[tuple[str, str], ...]:
        return tuple(sorted(model_identity("caption", {"kind": "minigpt4", **copy.settings(), **more}).items()))

    seen = [identity(), identity(chat="llama-2"), identity(dtype="float16"), identity(max_model_len=100)]
    assert identity(device="cpu", max_batch_size=2) == seen[0]
    for path in (Path(copy.model) / "config.json", Path(copy.vision_encoder) / "config.json"):
        path.write_text(path.read_text() + "\n")
        seen.append(identity())
    save_projection(Path(copy.projection), HIDDEN, SEEN, seed=1)
    seen.append(identity())
    assert len(set(seen)) == 7


def test_closing_frees_the_parts(parts: Parts, images: list[str]) -> None:
    model = MiniGpt4Captioner(**parts.settings(), device="cpu")
    assert not model.fills_gpu
    replies(model, ask(images[0]))
    model.close()
    assert not hasattr(model, "_model") and not hasattr(model, "_vision_encoder")

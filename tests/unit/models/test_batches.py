"""The batch loop of the image models: every request answered once, whatever a batch does to the model."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from shardmill.models.batches import Batches, BatchSize
from shardmill.models.contract import DetectRequest, Reply
from shardmill.models.images import UnreadableImage
from shardmill.models.prefetch import ImagePrefetcher
from shardmill.util.errors import ModelDied
from shardmill.util.signals import stopping_when


@dataclass
class Loaded:
    name: str
    width: int = 10
    height: int = 10


@dataclass
class Model:
    """Adds up what it is given. Fails as it is told to."""

    fits: int = 1000
    refused: set[str] = field(default_factory=set)
    dies_at: str = ""
    seen: list[int] = field(default_factory=list)
    groups: int = 1
    threads: set[str] = field(default_factory=set)

    def load(self, request: DetectRequest) -> Loaded:
        self.threads.add(threading.current_thread().name)
        if request.image == "missing":
            raise UnreadableImage("no such file: missing")
        return Loaded(request.image)

    def group(self, request: DetectRequest, loaded: Loaded) -> Hashable:
        return int(request.key) % self.groups

    def prepare(self, requests: Sequence[DetectRequest], loaded: Sequence[Loaded]) -> list[str]:
        if refused := self.refused.intersection(each.name for each in loaded):
            raise ValueError(f"no model takes {min(refused)}")
        return [each.name for each in loaded]

    def run(self, requests: Sequence[DetectRequest], prepared: list[str]) -> list[str]:
        assert len({self.group(request, Loaded("")) for request in requests}) == 1
        if len(prepared) > self.fits:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        if self.dies_at in prepared:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        self.seen.append(len(prepared))
        return prepared

    def replies(self, requests: Sequence[DetectRequest], outcome: list[str], seconds: float) -> list[Reply]:
        return [Reply(request.key, name) for request, name in zip(requests, outcome, strict=True)]


def ask(count: int, **named: str) -> list[DetectRequest]:
    return [DetectRequest(named.get(f"at{number}", f"image{number}"), ("dog",), str(number)) for number in range(count)]


def answers(model: Model, requests: list[DetectRequest], most: int = 64) -> dict[str, Reply]:
    batches: Batches[DetectRequest] = Batches(model, BatchSize(most), "the model")
    found = list(batches.stream(requests))
    batches.close()
    assert sorted(reply.key for reply in found) == sorted(request.key for request in requests)
    return {reply.key: reply for reply in found}


def test_batches_grow_while_all_goes_well() -> None:
    model = Model()
    assert all(reply.result == f"image{key}" for key, reply in answers(model, ask(500)).items())
    assert model.seen[0] == 8 and max(model.seen) == 64 and sum(model.seen) == 500
    assert all(name.startswith("read-images") for name in model.threads)


def test_a_batch_that_does_not_fit_is_halved_and_later_ones_stay_small() -> None:
    model = Model(fits=20)
    assert all(reply.finish == "stop" for reply in answers(model, ask(400)).values())
    assert max(model.seen) <= 20 and sum(model.seen) == 400
    assert min(model.seen[-5:-1]) >= 8


def test_an_image_that_alone_does_not_fit_is_told() -> None:
    found = answers(Model(fits=0), ask(5))
    assert {reply.problem for reply in found.values()} == {"out of memory"}


def test_an_image_that_the_model_refuses_costs_its_own_row_and_no_memory_is_thought_to_lack() -> None:
    model = Model(refused={"image7", "image90"})
    found = answers(model, ask(600))
    assert {key for key, reply in found.items() if reply.finish == "unusable"} == {"7", "90"}
    assert found["90"].detail == "no model takes image90"
    assert max(model.seen) == 64


def test_unreadable_images_do_not_hold_up_the_others() -> None:
    found = answers(Model(), ask(40, at0="missing", at17="missing", at39="missing"))
    assert {key for key, reply in found.items() if reply.problem == "unreadable image"} == {"0", "17", "39"}
    assert len(answers(Model(), ask(3, at0="missing", at1="missing", at2="missing"))) == 3
    assert answers(Model(), []) == {}


def test_only_requests_of_one_group_share_a_batch_and_none_waits_for_ever() -> None:
    model = Model(groups=7)
    assert len(answers(model, ask(300))) == 300
    assert max(model.seen) > 1


def test_a_dead_device_ends_the_worker_at_once() -> None:
    with pytest.raises(ModelDied, match="illegal memory access"):
        answers(Model(dies_at="image30"), ask(100))


def test_a_worker_that_is_to_stop_gets_what_was_made_and_no_more_is() -> None:
    model = Model()
    batches: Batches[DetectRequest] = Batches(model, BatchSize(8), "the model")
    asked = False
    with stopping_when(lambda: asked):
        found = []
        for reply in batches.stream(ask(500)):
            found.append(reply.key)
            asked = len(found) >= 3
    batches.close()
    assert len(found) == sum(model.seen) < 50


def test_requests_are_taken_in_the_callers_thread_and_no_further_than_the_window() -> None:
    taken: list[str] = []

    def source() -> Iterator[DetectRequest]:
        for request in ask(1000):
            assert threading.current_thread() is threading.main_thread()
            taken.append(request.key)
            yield request

    batches: Batches[DetectRequest] = Batches(Model(), BatchSize(8), "the model")
    stream = batches.stream(source())
    next(stream)
    assert len(taken) <= 3 * 8 + 3 * 8
    stream.close()
    assert len(list(batches.stream(ask(20)))) == 20  # another stream after one that was left
    batches.close()


def test_large_pictures_are_read_less_far_ahead() -> None:
    taken: list[str] = []

    class Large(Model):
        def load(self, request: DetectRequest) -> Loaded:
            return Loaded(request.image, 20_000, 10_000)

    def source() -> Iterator[DetectRequest]:
        for request in ask(200):
            taken.append(request.key)
            yield request

    batches: Batches[DetectRequest] = Batches(Large(), BatchSize(64), "the model")
    ahead = [len(taken) - place for place, _ in enumerate(batches.stream(source()))]
    assert len(ahead) == 200 and max(ahead[-100:-20]) < 64
    batches.close()


def test_an_image_is_read_once_for_requests_in_a_row() -> None:
    read: list[str] = []

    def read_image(image: str) -> Any:
        read.append(image)
        if image == "missing":
            raise UnreadableImage(image)
        return Loaded(image)

    images: ImagePrefetcher[Any] = ImagePrefetcher(read_image, max_kept=8)
    names = [f"image{number // 5}" for number in range(300)]
    requests = [DetectRequest(name, (), str(place)) for place, name in enumerate(names)]
    for request in images.prefetch_for(requests):  # type: ignore[arg-type]
        assert images.get(request.image).name == request.image
    assert sorted(read) == sorted(set(names))
    with pytest.raises(UnreadableImage):
        images.get("missing")
    images.close()

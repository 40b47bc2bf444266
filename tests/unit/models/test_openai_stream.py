"""Requests to an event loop in another thread, and replies back."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from typing import Any

import pytest

from shardmill.models.text.openai_replies import ReplyStream, ResponseFormats


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


async def double(number: int) -> int:
    await asyncio.sleep(0.001 * (number % 3))
    return 2 * number


def test_every_request_gets_one_reply(loop: asyncio.AbstractEventLoop) -> None:
    assert sorted(ReplyStream(loop, double, 7).replies(range(1, 200))) == list(range(2, 400, 2))
    assert list(ReplyStream(loop, double, 7).replies([])) == []


def test_the_loop_goes_on_while_the_caller_is_busy_with_a_reply(loop: asyncio.AbstractEventLoop) -> None:
    begun: list[int] = []
    places = asyncio.Semaphore(1)

    async def answer(number: int) -> int:
        async with places:
            begun.append(number)
            await asyncio.sleep(0.01)
        return number

    replies = ReplyStream(loop, answer, 2).replies(range(10))
    next(replies)
    time.sleep(0.2)
    assert begun == [0, 1], "the second was at hand when the first was answered, and no more than that was taken"
    replies.close()


def test_an_error_is_raised_once_and_the_others_like_it_are_not_complained_of(
    loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(number: int) -> int:
        raise ValueError("no")

    with caplog.at_level(logging.ERROR), pytest.raises(ValueError, match="no"):
        list(ReplyStream(loop, fail, 8).replies(range(100)))
    time.sleep(0.05)
    assert caplog.text == ""


def test_what_is_left_under_way_is_cancelled(loop: asyncio.AbstractEventLoop) -> None:
    ended = threading.Event()

    async def answer(number: int) -> int:
        try:
            await asyncio.sleep(60 * number)
        finally:
            if number:
                ended.set()
        return number

    replies = ReplyStream(loop, answer, 2).replies(range(2))
    assert next(replies) == 0
    replies.close()
    assert ended.wait(5)


def test_a_loop_that_drops_its_tasks_ends_the_stream(loop: asyncio.AbstractEventLoop) -> None:
    async def answer(number: int) -> int:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(60)
        return number

    with pytest.raises(CancelledError):
        list(ReplyStream(loop, answer, 2).replies(range(2)))


def test_the_form_of_an_answer_is_made_once_for_a_schema_and_never_mistaken_for_another() -> None:
    formats = ResponseFormats()
    kept: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    assert formats.of("json_schema", kept) is formats.of("json_schema", kept)
    assert formats.of("json_object", kept) == {"response_format": {"type": "json_object"}}
    assert formats.of("none", kept) == formats.of("json_schema", None) == {}
    for number in range(1000):
        schema = {"type": "object", "properties": {f"p{number}": {"type": "string"}}, "required": [f"p{number}"]}
        sent = formats.of("json_schema", schema)["response_format"]["json_schema"]["schema"]
        assert list(sent["properties"]) == [f"p{number}"]


def test_only_servers_known_to_be_vllms_are_told_how_answers_are_spaced() -> None:
    schema: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    sent = [ResponseFormats(of_vllm=known).of("json_schema", schema)["response_format"] for known in (True, False)]
    assert ["x-guidance" in each["json_schema"]["schema"] for each in sent] == [True, False]

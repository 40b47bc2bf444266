"""What a stage may do besides asking once: ask more, ask shorter, and go on from answers that it has."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
import pytest

from conftest import write_captions
from shardmill.core.plan_changes import redo
from shardmill.core.planning import NewRun, start_run
from shardmill.core.shard_runner import run_shard
from shardmill.core.stage import Answer, FollowUp, Row
from shardmill.models import registry
from shardmill.models.contract import CaptionRequest, Model, Reply, Usage
from shardmill.recaption.perspectives import perspectives
from shardmill.store.cells import parse_json_cell
from shardmill.store.run_folder import RunFolder
from shardmill.util.errors import Stopped, UserError

ROWS = 24


class Talker(Model):
    """A captioner that says what it was asked about which image, or what `says` says."""

    says: ClassVar[Callable[[CaptionRequest], Reply]]
    asked: ClassVar[Counter[tuple[str, str]]]

    @classmethod
    def identity(cls) -> dict[str, str]:
        return {"version": "1"}

    def stream(self, requests: Iterable[CaptionRequest]) -> Iterator[Reply]:
        for request in requests:
            type(self).asked[Path(request.image).name, request.prompt] += 1
            yield type(self).says(request)


def plainly(request: CaptionRequest) -> Reply:
    word = sum(map(ord, request.prompt)) % 997
    return Reply(request.key, f"Number {word} of {Path(request.image).stem}.", usage=Usage(10, 0, 5))


@pytest.fixture
def talker(monkeypatch: pytest.MonkeyPatch) -> type[Talker]:
    Talker.says, Talker.asked = staticmethod(plainly), Counter()  # type: ignore[assignment]
    monkeypatch.setitem(registry.MODELS, ("caption", "talker"), "test_asking:Talker")
    monkeypatch.setitem(sys.modules, "test_asking", sys.modules[__name__])
    return Talker


def make_run(tmp_path: Path, *settings: str, shards: int = 2) -> RunFolder:
    table = write_captions(tmp_path / "images.csv", ["x"] * ROWS)
    plain = ["caption_images.model=talker", "merge_captions.texts=[detail]"]
    new = NewRun(input=table, pipeline="recaption", num_shards=shards, settings=[*plain, *settings])
    return start_run(tmp_path / "run", new)


def do(run: RunFolder, *stages: str) -> None:
    for stage in stages:
        for shard in range(run.num_shards):
            run_shard(run, stage, shard)


def said(run: RunFolder, column: str = "captions", stage: str = "caption_images") -> dict[int, dict[str, Any]]:
    """{row_id: {perspective: caption}}"""
    frames = [run.read_part(stage, shard)[0] for shard in range(run.num_shards)]
    rows = pl.concat(frames).select("row_id", column).iter_rows()
    return {row_id: {each["perspective"]: each for each in parse_json_cell(cell)} for row_id, cell in rows}


def prompt(name: str) -> str:
    return perspectives()[name].prompt


def test_a_perspective_that_is_added_later_is_the_only_one_asked(tmp_path: Path, talker: type[Talker]) -> None:
    run = make_run(tmp_path, "caption_images.perspectives=[detail, noun]")
    do(run, *run.stages)
    before = said(run)
    talker.asked.clear()
    run = redo(run, "caption_images", ["caption_images.perspectives=[style, noun, detail]"])
    do(run, *run.stages)
    assert {prompt for _, prompt in talker.asked} == {prompt("style")} and talker.asked.total() == ROWS
    after = said(run)
    assert [list(row) for row in after.values()] == [["style", "noun", "detail"]] * ROWS
    assert {key: {name: row[name] for name in ("detail", "noun")} for key, row in after.items()} == before
    assert len(said(run, "checked", "check_captions")[0]) == 3
    assert run.manifest("caption_images", 0).usage["requests"] == ROWS / 2  # type: ignore[union-attr]


def test_what_an_interrupted_shard_has_answered_is_kept_too(tmp_path: Path, talker: type[Talker]) -> None:
    run = make_run(tmp_path, "caption_images.perspectives=[detail]", shards=1)
    with pytest.raises(Stopped):
        run_shard(run, "caption_images", 0, should_stop=lambda: talker.asked.total() >= 10)
    done = {image for image, _ in talker.asked}
    talker.asked.clear()
    run = redo(run, "caption_images", ["caption_images.perspectives=[detail, noun]"])
    do(run, "caption_images")
    again = {image for image, asked in talker.asked if asked == prompt("detail")}
    assert 0 < len(again) <= ROWS - len(done) + 1
    assert talker.asked.total() == ROWS + len(again)


def test_a_perspective_can_be_left_out_later_without_asking_anything(tmp_path: Path, talker: type[Talker]) -> None:
    run = make_run(tmp_path, "caption_images.perspectives=[detail, noun]")
    do(run, "caption_images")
    talker.asked.clear()
    run = redo(run, "caption_images", ["caption_images.perspectives=[detail]"])
    do(run, "caption_images")
    assert talker.asked.total() == 0
    assert list(said(run)[3]) == ["detail"]


@pytest.mark.parametrize("change", ["caption_images.temperature=0.5", "caption_images.script=any"])
def test_whatever_else_changes_has_all_asked_again(tmp_path: Path, talker: type[Talker], change: str) -> None:
    run = make_run(tmp_path, "caption_images.perspectives=[detail]")
    do(run, "caption_images")
    run = redo(run, "caption_images", [change, "caption_images.perspectives=[detail, noun]"])
    do(run, "caption_images")
    assert talker.asked.total() == 3 * ROWS


def test_a_perspective_with_another_prompt_is_asked_again(tmp_path: Path, talker: type[Talker]) -> None:
    run = make_run(tmp_path, "caption_images.perspectives=[detail, noun]")
    do(run, "caption_images")
    talker.asked.clear()
    own = tmp_path / "own.yaml"
    own.write_text("- {name: noun, prompt: Name the things., max_tokens: 30}\n")
    run = redo(run, "caption_images", [f"caption_images.perspectives_file={own}"])
    do(run, "caption_images")
    assert {asked for _, asked in talker.asked} == {"Name the things."} and talker.asked.total() == ROWS


def test_a_perspective_that_is_not_in_the_file_either_is_told_with_the_file(tmp_path: Path, talker: type[Talker]) -> None:
    run = make_run(tmp_path, "caption_images.perspectives=[detail, noun]")
    own = tmp_path / "own.yaml"
    own.write_text("- {name: tone, prompt: Name the tone., max_tokens: 30}\n")
    settings = [f"caption_images.perspectives_file={own}", "caption_images.perspectives=[detail, toen]"]
    with pytest.raises(UserError, match=f"'toen', nor is it in the perspectives_file {own}; did you mean 'tone'"):
        redo(run, "caption_images", settings)


def test_what_was_not_answered_is_asked_again_when_a_perspective_is_added(tmp_path: Path, talker: type[Talker]) -> None:
    def refuses(request: CaptionRequest) -> Reply:
        return Reply(request.key, "I'm sorry, I cannot help.") if request.prompt == prompt("noun") else plainly(request)

    talker.says = staticmethod(refuses)  # type: ignore[assignment]
    run = make_run(tmp_path, "caption_images.perspectives=[detail, noun]")
    do(run, "caption_images")
    assert said(run)[0]["noun"]["problem"] == "refusal" and said(run)[0]["noun"]["text"] is None
    assert said(run)[0]["noun"]["raw"] == "I'm sorry, I cannot help."
    assert talker.asked["0.png", prompt("noun")] == 3, "it is asked three times at first"
    talker.says = staticmethod(plainly)  # type: ignore[assignment]
    run = redo(run, "caption_images", ["caption_images.perspectives=[detail, noun, style]"])
    do(run, "caption_images")
    assert said(run)[0]["noun"]["text"]


def test_an_answer_that_is_cut_is_asked_again_for_fewer_words(tmp_path: Path, talker: type[Talker]) -> None:
    def chatty(request: CaptionRequest) -> Reply:
        if "words" in request.prompt:
            return Reply(request.key, "A short one.")
        return Reply(request.key, "A long one. And then it goes on and on and", "length", usage=Usage(9, 0, 120))

    talker.says = staticmethod(chatty)  # type: ignore[assignment]
    run = make_run(tmp_path, "caption_images.perspectives=[detail]")
    do(run, "caption_images")
    entry = said(run)[0]["detail"]
    assert (entry["text"], entry["finish"], entry["attempts"]) == ("A short one.", "stop", 2)
    assert talker.asked["0.png", perspectives()["detail"].shorter] == 1


def test_of_an_answer_that_is_cut_however_often_the_whole_sentences_are_used(tmp_path: Path, talker: type[Talker]) -> None:
    def endless(request: CaptionRequest) -> Reply:
        text = "dog, cat, hors" if "nouns" in request.prompt else "A long one. And then it goes"
        return Reply(request.key, "Just a dog" if "three to six" in request.prompt else text, "length")

    talker.says = staticmethod(endless)  # type: ignore[assignment]
    run = make_run(tmp_path, "caption_images.perspectives=[detail, noun, brief]")
    do(run, "caption_images")
    entries = said(run)[5]
    assert (entries["detail"]["text"], entries["detail"]["finish"]) == ("A long one.", "length")
    assert entries["noun"]["text"] == "dog, cat"
    assert (entries["brief"]["text"], entries["brief"]["problem"]) == (None, "cut by the token limit")


def test_an_image_that_cannot_be_read_is_rejected_and_asked_about_once(tmp_path: Path, talker: type[Talker]) -> None:
    def blind(request: CaptionRequest) -> Reply:
        if request.image.endswith("/3.png"):
            return Reply(request.key, None, "unusable", "unreadable image", "no such file")
        return plainly(request)

    talker.says = staticmethod(blind)  # type: ignore[assignment]
    run = make_run(tmp_path)
    do(run, "caption_images")
    assert set(range(ROWS)) - said(run).keys() == {3}
    assert {times for (image, _), times in talker.asked.items() if image == "3.png"} == {1}


def test_a_stage_may_ask_more_after_its_first_answers(
    tmp_path: Path, talker: type[Talker], monkeypatch: pytest.MonkeyPatch
) -> None:
    from shardmill.recaption.caption_images import CaptionImages

    plain = CaptionImages.accept

    def asks_twice_more(self: CaptionImages, row: Row, answers: list[Answer]) -> Any:
        if len(answers) < 3:
            return FollowUp([self.caption_call(row["image"], f"After {answers[-1].value}", answers[-1].call.request.sampling)])  # type: ignore[union-attr]
        made: Any = plain(self, row, answers[:1])
        made["captions"][0]["last"] = answers[-1].value
        return made

    monkeypatch.setattr(CaptionImages, "accept", asks_twice_more)
    run = make_run(tmp_path, "caption_images.perspectives=[detail]")
    do(run, "caption_images")
    assert talker.asked.total() == 3 * ROWS
    first = said(run)[9]["detail"]
    chain = [asked for image, asked in talker.asked if image == "9.png"]
    assert chain[0] == prompt("detail") and chain[1] == f"After {first['text']}" and len(set(chain)) == 3
    other = make_run(tmp_path.joinpath("other").mkdir() or tmp_path / "other", "caption_images.perspectives=[detail]", shards=5)
    do(other, "caption_images")
    assert said(other) == said(run)


def test_a_stage_that_asks_for_ever_or_for_nothing_is_a_fault_of_the_stage(
    tmp_path: Path, talker: type[Talker], monkeypatch: pytest.MonkeyPatch
) -> None:
    from shardmill.recaption.caption_images import CaptionImages

    monkeypatch.setattr(CaptionImages, "accept", lambda self, row, answers: FollowUp([]))
    run = make_run(tmp_path, shards=1)
    with pytest.raises(UserError, match=r"failed on each of the first 20 rows.*further calls"):
        do(run, "caption_images")


def test_two_captioners_stand_in_one_run_told_apart_by_their_labels(tmp_path: Path, talker: type[Talker]) -> None:
    pipeline = tmp_path / "two.yaml"
    pipeline.write_text(
        "pipeline: recaption\nstages:\n"
        "  - {stage: caption_images-one, model: talker, options: {perspectives: [detail, noun]}}\n"
        "  - {stage: caption_images-two, model: talker, options: {perspectives: [detail]}}\n"
        "  - {stage: check_captions, options: {captioners: [one, two], near_duplicate: 1}}\n"
        "  - {stage: merge_captions, options: {texts: [two/detail, noun, detail]}}\n"
    )
    table = write_captions(tmp_path / "images.csv", ["x"] * ROWS)
    run = start_run(tmp_path / "run", NewRun(input=table, pipeline=str(pipeline), num_shards=2))
    do(run, *run.stages)
    assert run.stages == ["caption_images-one", "caption_images-two", "check_captions", "merge_captions"]
    assert list(said(run, "captions_one", "check_captions")[0]) == ["detail", "noun"]
    texts = parse_json_cell(run.read_part("merge_captions", 0)[0]["texts"][0])
    assert len(texts) == 3
    talker.asked.clear()
    grown = redo(run, "caption_images-two", ["caption_images-two.perspectives=[detail, style]"])
    do(grown, *grown.stages)
    assert talker.asked.total() == ROWS


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["merge_captions.texts=[detail, nuon]"], "no captioner is asked for; did you mean 'noun'"),
        (["caption_images.perspectives=[detail]", "merge_captions.texts=[noun]"], "'noun', which no captioner is asked for"),
        (["merge_captions.texts=[qwen/detail]"], "'qwen/detail', which no captioner is asked for"),
        (["check_captions.captioners=[qwen]"], "reads the column 'captions_qwen'"),
        (["caption_images.perspectives=[detail, nuon]"], "no bundled perspective 'nuon', .*did you mean 'noun'"),
        (["caption_images.perspectives=[mood]"], "'mood', write it into a YAML file, set as perspectives_file; known: "),
        (["caption_images.perspectives_file=/nowhere.yaml"], "perspectives /nowhere.yaml: No such file"),
    ],
)
def test_what_does_not_fit_together_is_told_before_anything_is_asked(
    tmp_path: Path, talker: type[Talker], settings: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        make_run(tmp_path, *settings)


def test_a_run_without_original_captions_is_told_to_leave_them_out(tmp_path: Path, talker: type[Talker]) -> None:
    table = tmp_path / "images.csv"
    table.write_text("image\na.png\n")
    with pytest.raises(UserError, match=r"merge_captions.texts=\[detail, noun, background, main, style\]"):
        start_run(tmp_path / "run", NewRun(input=table, pipeline="recaption"))
    new = NewRun(input=table, pipeline="recaption", settings=["merge_captions.texts=[detail, noun]"])
    assert start_run(tmp_path / "run", new).num_shards == 1


def test_a_label_is_letters_digits_and_underscores(tmp_path: Path) -> None:
    pipeline = tmp_path / "odd.yaml"
    pipeline.write_text("pipeline: recaption\nstages:\n  - {stage: caption_images-../up, model: scene}\n")
    with pytest.raises(UserError, match="must be lower-case letters"):
        start_run(tmp_path / "run", NewRun(input=write_captions(tmp_path / "i.csv", ["x"]), pipeline=str(pipeline)))

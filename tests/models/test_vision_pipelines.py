"""The image steps of the pipelines with real code and small random models: every row accounted for, stopped and gone on with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from PIL import Image

from models.tiny_detectors import build_grounding_dino, build_groundingdino_py, build_owl
from models.tiny_diffusion import build_sd3, build_sdxl
from models.tiny_minigpt4 import build_minigpt4
from models.tiny_vlm import BUILDERS
from shardmill.core.planning import NewRun, start_run
from shardmill.core.shard_runner import run_shard
from shardmill.recaption.build import build
from shardmill.store.run_folder import RunFolder
from shardmill.store.verify import check_stage
from shardmill.util.errors import Stopped

SAMPLES = Path(__file__).parents[2] / "data" / "samples"
ROWS = 30
SMALL = {"short_side": 96, "long_side": 160}
FEW = {"max_batch_size": 4}
"""Batches so small that a shard has several, and can be stopped between them."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


def detector(folder: Path, kind: str) -> dict[str, Any]:
    """A detector of a kind, built if need be, as it stands in a model file."""
    path = folder / kind
    if kind in ("owlvit", "owlv2"):
        model = path if path.exists() else build_owl(path, 2 if kind == "owlv2" else 1)
        return {"kind": kind, "model": str(model), **FEW}
    if kind == "grounding-dino":
        return {"kind": kind, "model": str(path if path.exists() else build_grounding_dino(path)), **SMALL, **FEW}
    base = path if path.exists() else build_groundingdino_py(path)
    return {"kind": kind, "model": str(base / "weights.pth"), "config": str(base / "config.py"), **SMALL, **FEW}


MIDDLE = {"owlvit": 0.4, "owlv2": 0.58, "grounding-dino": 0.67, "groundingdino": 0.518}
"""A score in the middle of those that each random detector gives."""


def contents(run: RunFolder, stage: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(run.folder(stage).glob("*.csv"))}


def stopping_after(calls: int) -> Callable[[], bool]:
    """A signal that comes when it has been looked for so many times."""
    left = iter(range(calls))
    return lambda: next(left, None) is None


def do(run: RunFolder, stage: str, stop_after: int | None = None) -> None:
    """A stage on all shards, stopped once in the first if so asked."""
    if stop_after is not None:
        with pytest.raises(Stopped):
            run_shard(run, stage, 0, should_stop=stopping_after(stop_after))
        assert not run.is_complete(stage, 0) and run.files(stage, 0).journals()
    for shard in range(run.num_shards):
        run_shard(run, stage, shard)
    check = check_stage(run, stage)
    assert not check.problems and not check.missing
    assert not list(run.folder(stage).glob("*.journal")) and not list(run.folder(stage).glob("*.tmp"))


@pytest.mark.parametrize("kind", ["owlvit", "owlv2", "grounding-dino", "groundingdino"])
def test_negbench_checks_its_images_with_each_detector(folder: Path, tmp_path: Path, kind: str) -> None:
    table = pl.read_csv(SAMPLES / "captions.csv").with_row_index()
    bad = table.filter(pl.col(table.columns[1]).str.contains("900"))
    assert bad.height == 4
    pl.concat([table.head(ROWS), bad]).drop("index").write_csv(tmp_path / "captions.csv")
    file = tmp_path / "detector.yaml"
    thresholds = {"present_above": MIDDLE[kind], "absent_below": MIDDLE[kind] + 0.02}
    file.write_text(json.dumps({"role": "detect", "thresholds": thresholds, **detector(folder, kind)}))

    def start(name: str) -> RunFolder:
        new = NewRun(input=tmp_path / "captions.csv", image_root=SAMPLES, num_shards=2, models=[str(file)])
        run = start_run(tmp_path / name, new)
        assert run.stage("filter_objects").options["present_above"] == MIDDLE[kind]
        do(run, "extract_objects")
        do(run, "propose_negatives")
        do(run, "draw_questions")
        return run

    calm, stopped = start("calm"), start("stopped")
    do(calm, "filter_objects")
    do(stopped, "filter_objects", stop_after=20)
    assert_near(calm, stopped)
    manifests = [calm.manifest("filter_objects", shard) for shard in range(2)]
    reasons = {reason for manifest in manifests if manifest for reason in manifest.reasons}
    assert "unreadable image" in reasons
    rows = [row for shard in range(2) for row in calm.read_part("filter_objects", shard)[0].iter_rows(named=True)]
    scores = [
        (found["score"], name in json.loads(row["seen_objects"]), name in json.loads(row["objects"]))
        for row in rows
        for name, found in json.loads(row["detections"]).items()
    ]
    assert all(seen == (score >= MIDDLE[kind]) for score, seen, positive in scores if positive)
    assert {seen for _, seen, positive in scores if positive} == {True, False}


def assert_near(one: RunFolder, other: RunFolder) -> None:
    """The same rows; scores of batches of another size may differ in their last digit."""
    for shard in range(one.num_shards):
        ours, theirs = (run.read_part("filter_objects", shard)[0] for run in (one, other))
        assert ours.drop("detections").equals(theirs.drop("detections"))
        for mine, yours in zip(ours["detections"], theirs["detections"], strict=True):
            found, again = json.loads(mine), json.loads(yours)
            assert found.keys() == again.keys()
            assert all(found[name]["score"] == pytest.approx(again[name]["score"], abs=2e-4) for name in found)


@pytest.mark.parametrize("build", [build_sd3, build_sdxl])
def test_images_are_generated_and_detected_again(folder: Path, tmp_path: Path, build: Callable[[Path], Any]) -> None:
    generator = tmp_path / "generator"
    build(generator)
    model = {"kind": "diffusers", "model": str(generator), "width": 64, "height": 64, "steps": 2, "max_batch_size": 2}
    rows = [
        (f"a dog and cat {number}", f"a (dog:1.{number % 4}) and a cat {number}", "(car:1.2)", '["dog","cat"]', '["car"]')
        for number in range(8)
    ]
    rows.append(("too long", "dog " * 4000, "", '["dog"]', "[]"))
    source = tmp_path / "scenes.csv"
    pl.DataFrame(rows, ["caption", "prompt", "prompt_neg", "present", "absent"], orient="row").write_csv(source)

    def start(name: str) -> RunFolder:
        settings = [
            f"generate_images.model={json.dumps(model)}",
            f"ground_objects.model={json.dumps(detector(folder, 'owlvit'))}",
        ]
        lists = ["present", "absent"]
        pipeline = tmp_path / "pictures.yaml"
        pipeline.write_text("{pipeline: antidote, stages: [{stage: generate_images}, {stage: ground_objects}]}")
        return start_run(
            tmp_path / name, NewRun(input=source, pipeline=str(pipeline), list_columns=lists, settings=settings, num_shards=2)
        )

    run = start("run")
    do(run, "generate_images", stop_after=6)
    do(run, "ground_objects")
    made = [row for shard in range(2) for row in run.read_part("ground_objects", shard)[0].iter_rows(named=True)]
    assert len(made) == 8 and len({row["generated_image"] for row in made}) == 8
    assert sorted(path.suffix for path in (run.path / "generate_images" / "images").rglob("*.*")) == [".jpg"] * 8
    for row in made:
        with Image.open(run.path / row["generated_image"]) as picture:
            assert picture.size == (64, 64) == (row["generated_width"], row["generated_height"])
        assert json.loads(row["detections"]).keys() == {"dog", "cat", "car"}
    reasons = {reason for shard in range(2) for reason in (run.manifest("generate_images", shard).reasons or {})}  # type: ignore[union-attr]
    assert reasons == {"prompt too long"}


def captioner(folder: Path, kind: str) -> dict[str, Any]:
    """A captioner of a family, built if need be."""
    path = folder / kind
    if kind == "minigpt4":
        return {**build_minigpt4(path).settings(), "kind": kind, **FEW}
    BUILDERS[kind](path)
    return {"kind": "transformers", "model": str(path), **FEW}


@pytest.mark.parametrize("kind", ["internvl", "qwen2vl", "llava", "minigpt4"])
def test_images_are_described_by_each_family_of_captioners(folder: Path, tmp_path: Path, kind: str) -> None:
    names = ["0001", "0002", "0003", "9001", "0004", "9003"]
    pl.DataFrame({"caption": ["x"] * 6, "image": [f"images/{name}.png" for name in names]}).write_csv(tmp_path / "images.csv")
    settings = [
        f"caption_images.model={json.dumps(captioner(folder, kind))}",
        "caption_images.perspectives=[sentence, noun, main]",
        "caption_images.attempts=2",
        "caption_images.script=any",
        "check_captions.script=any",
        "merge_captions.texts=[original, sentence, noun, main]",
        "merge_captions.missing=pad",
    ]

    def start(name: str) -> RunFolder:
        new = NewRun(input=tmp_path / "images.csv", pipeline="recaption", image_root=SAMPLES, num_shards=2, settings=settings)
        return start_run(tmp_path / name, new)

    calm, stopped = start("calm"), start("stopped")
    do(calm, "caption_images")
    do(stopped, "caption_images", stop_after=5)
    assert contents(calm, "caption_images") == contents(stopped, "caption_images")
    manifests = [manifest for shard in range(2) if (manifest := calm.manifest("caption_images", shard))]
    assert sum(each.rows_in for each in manifests) == 6
    rows = [row for shard in range(2) for row in calm.read_part("caption_images", shard)[0].iter_rows(named=True)]
    rejected = sum(each.rejected for each in manifests)
    assert len({row["row_id"] for row in rows}) + rejected == 6 and rejected >= 2
    captions = [caption for row in rows for caption in json.loads(row["captions"])]
    assert {caption.get("problem") for caption in captions} <= {
        None,
        "cut by the token limit",
        "empty caption",
        "repetition loop",
    }
    assert all(bool(caption["text"]) == ("problem" not in caption) for caption in captions)
    assert sum(caption["tokens"] for caption in captions) > 0 and sum(each.usage["prompt_tokens"] for each in manifests) > 0
    do(calm, "check_captions")
    do(calm, "merge_captions")
    build(calm)
    lines = [json.loads(line) for line in (calm.path / "datasets" / "multicaption.jsonl").read_text().splitlines()]
    assert all(len(line["caption"]) == 4 and all(line["caption"]) for line in lines)

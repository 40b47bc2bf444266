"""An epoch of each export through the data code of the trainer that it is for, from another folder than the data's."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from exported import antidote, export, json_lines, negbench, parts, recaption
from models.reader_packages import importable, llamafactory_reader, swift_preprocessor
from models.tiny_vlm import build_llava
from shardmill.launch.finish import build_datasets

SIZE = (320, 240)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A trainer that is started in a folder of its own."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with importable():
        import datasets
        import transformers.image_processing_backends as backends

        monkeypatch.setattr(backends, "load_image_as_tensor", tensor)  # that of torchvision is compiled for CUDA here

        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
        yield


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from transformers import AutoProcessor

    folder = tmp_path_factory.mktemp("llava")
    build_llava(folder)
    return AutoProcessor.from_pretrained(folder)


def loaded(path: Path) -> Any:
    import datasets

    return datasets.load_dataset("json", data_files=str(path), split="train")


def tensor(image: Image.Image | str) -> torch.Tensor:
    opened = Image.open(image) if isinstance(image, str) else image
    assert opened.size == SIZE
    return torch.from_numpy(np.array(opened.convert("RGB"))).permute(2, 0, 1)


@pytest.mark.parametrize(("name", "separator"), [("negcap.tsv", "\t"), ("negfull.tsv", "\t"), ("captions.csv", ",")])
def test_open_clip_trains_an_epoch_on_negated_captions(tmp_path: Path, name: str, separator: str) -> None:
    import open_clip
    from open_clip_train.data import get_csv_dataset

    if separator == ",":
        folder = export(negbench(), "csv", tmp_path / "out").path
    else:
        folder = tmp_path / "datasets"
        build_datasets(negbench(), folder)
    arguments = SimpleNamespace(
        train_data=str(folder / name), csv_img_key="filepath", csv_caption_key="title", csv_separator=separator,
        distributed=False, batch_size=4, workers=0,
    )  # fmt: skip
    data = get_csv_dataset(arguments, tensor, is_train=True, tokenizer=open_clip.tokenizer.SimpleTokenizer())
    batches = list(data.dataloader)
    assert len(batches) == data.dataloader.num_batches > 5
    assert all(images.shape == (4, 3, 240, 320) and texts.shape[0] == 4 for images, texts in batches)


@pytest.mark.parametrize("every_text", [False, True])
def test_open_clip_knows_the_number_of_samples_of_tars_and_reads_them(tmp_path: Path, every_text: bool) -> None:
    import open_clip
    from open_clip_train.data import get_dataset_size, get_wds_dataset

    done = export(negbench(), "webdataset", tmp_path / "out", every_text=every_text, max_size=100_000)
    tars = sorted(done.path.glob("*.tar"))
    shards = f"{done.path}/captions-{{000000..{len(tars) - 1:06d}}}.tar"
    rows = sum(entry["rows"] for entry in done.record["files"].values() if entry["rows"])
    assert get_dataset_size(shards) == (rows, len(tars))
    arguments = SimpleNamespace(
        train_data=shards, train_num_samples=None, train_data_upsampling_factors=None, dataset_resampled=False, seed=0,
        batch_size=4, workers=0, world_size=1,
    )  # fmt: skip
    data = get_wds_dataset(arguments, tensor, is_train=True, tokenizer=open_clip.tokenizer.SimpleTokenizer())
    images = [image for batch, _ in data.dataloader for image in batch]
    assert len(images) == data.dataloader.num_samples == 4 * math.ceil(rows / 4)  # it begins again to fill the last batch


def test_trl_collates_preference_pairs_with_their_images(tmp_path: Path, processor: Any) -> None:
    from trl.trainer.dpo_trainer import DataCollatorForVisionPreference

    rows = loaded(export(antidote(), "dpo", tmp_path / "out").path / "pairs.trl.jsonl")
    collate = DataCollatorForVisionPreference(processor)
    seen = 0
    for start in range(0, len(rows), 8):
        examples = [rows[number] for number in range(start, min(start + 8, len(rows)))]
        batch = collate(examples)
        assert batch["pixel_values"].shape[0] == 2 * len(examples) == batch["input_ids"].shape[0]
        seen += len(examples)
    assert seen == parts(antidote(), "pair_preferences").height


def test_trl_collates_pairs_whose_images_are_inside_the_file(tmp_path: Path, processor: Any) -> None:
    from datasets import load_dataset
    from trl.trainer.dpo_trainer import DataCollatorForVisionPreference

    folder = export(antidote(), "dpo-parquet", tmp_path / "out").path
    rows = load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))
    batch = DataCollatorForVisionPreference(processor)([rows[number] for number in range(8)])
    assert batch["pixel_values"].shape[0] == 16 == batch["input_ids"].shape[0]
    assert len(rows) == parts(antidote(), "pair_preferences").height


def test_swift_keeps_the_rejected_answer_of_each_pair(tmp_path: Path) -> None:
    path = export(antidote(), "dpo", tmp_path / "out", form="swift").path / "pairs.swift.jsonl"
    rows = swift_preprocessor()(loaded(path), strict=True, enable_auto_mapping=True, load_from_cache_file=False)
    written = json_lines(path)
    assert len(rows) == len(written) > 10
    for row, line in zip(rows, written, strict=True):
        assert row["messages"][-1]["content"] == line["response"]
        assert row["rejected_response"] == line["rejected_response"]
        assert opened(row["images"][0]["path"])


def test_swift_reads_conversations(tmp_path: Path) -> None:
    path = export(recaption(), "llava", tmp_path / "out").path / "texts.json"
    rows = swift_preprocessor()(loaded(path), strict=True, enable_auto_mapping=True, load_from_cache_file=False)
    written = json.loads(path.read_text(encoding="utf-8"))
    assert len(rows) == len(written) > 10
    for row, entry in zip(rows, written, strict=True):
        assert [message["content"] for message in row["messages"]] == [turn["value"] for turn in entry["conversations"]]
        assert [message["role"] for message in row["messages"]] == ["user", "assistant"] * (len(row["messages"]) // 2)
        assert opened(row["images"][0]["path"])


@pytest.mark.parametrize("images", ["copy", "reference"])
@pytest.mark.parametrize("format", ["llava", "dpo"])
def test_llamafactory_finds_file_columns_and_images_by_dataset_info(tmp_path: Path, format: str, images: Any) -> None:
    form = {"form": "llamafactory"} if format == "dpo" else {}
    folder = export(antidote(), format, tmp_path / "out", images=images, what=["pairs"], **form).path
    get_dataset_list, align_dataset = llamafactory_reader()
    (attributes,) = get_dataset_list(["pairs"], str(folder))
    data = SimpleNamespace(
        media_dir=str(folder), streaming=False, preprocessing_num_workers=None, overwrite_cache=True
    )  # fmt: skip
    rows = align_dataset(loaded(folder / attributes.dataset_name), attributes, data, SimpleNamespace(local_process_index=0))
    assert attributes.ranking is (format == "dpo")
    assert len(rows) == parts(antidote(), "pair_preferences").height
    for row in rows:
        assert [message["role"] for message in row["_prompt"]] == ["user"]
        assert row["_prompt"][0]["content"].count("<image>") == len(row["_images"]) == 1
        assert len(row["_response"]) == (2 if format == "dpo" else 1)
        assert opened(row["_images"][0])


@pytest.mark.parametrize("make", [negbench, recaption])
def test_axolotl_collates_conversations_with_their_images(
    tmp_path: Path, processor: Any, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from axolotl.processing_strategies import ProcessingStrategy
    from axolotl.utils.collators.mm_chat import MultiModalChatDataCollator

    folder = export(make(), "axolotl", tmp_path / "out", images="copy").path
    monkeypatch.chdir(folder)
    (described,) = yaml.safe_load((folder / "axolotl.yaml").read_text(encoding="utf-8"))["datasets"]
    rows = loaded(Path(described["path"]))
    collate = MultiModalChatDataCollator(processor.tokenizer, ProcessingStrategy(processor))
    for row in rows:
        batch = collate([row])
        assert batch["pixel_values"].shape[0] == 1
        assert (batch["input_ids"] == batch["labels"]).any()
    assert len(rows) > 10


def opened(path: str) -> bool:
    with Image.open(path) as image:
        return image.size == SIZE

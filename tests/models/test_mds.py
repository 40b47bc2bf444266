"""The real reader of MDS, `streaming.StreamingDataset`, goes through an epoch of an export."""

from __future__ import annotations

from pathlib import Path

from exported import export, negbench, parts
from models.reader_packages import importable


def test_streaming_dataset_iterates_an_epoch_of_every_row_with_its_image(tmp_path: Path) -> None:
    done = export(negbench(), "mds", tmp_path / "out", max_size=40_000)
    assert len(list(done.path.glob("*.mds"))) > 1
    with importable():
        from streaming import StreamingDataset

        samples = list(StreamingDataset(local=str(done.path), shuffle=False, batch_size=1))
    rows = parts(negbench(), "caption_negated")
    assert [sample["row_id"] for sample in samples] == rows["row_id"].to_list()
    assert all(sample["image"].convert("RGB").size == (320, 240) for sample in samples)
    assert [sample["caption"] for sample in samples] == rows["caption"].to_list()
    assert all(isinstance(sample["negative_captions"], list) for sample in samples)

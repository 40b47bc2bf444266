"""The code of Label Studio and FiftyOne itself reads what is exported for them, where they are installed.

Neither can share an environment with vLLM: install `label-studio-sdk` or `fiftyone`, and Shardmill, into one of their own.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from exported import export, negbench, parts
from shardmill.audit.label_studio import INTERFACE, write_tasks
from shardmill.audit.sample import draw_sample


def test_label_studio_finds_no_fault_in_tasks_and_predictions(tmp_path: Path) -> None:
    label_interface = pytest.importorskip("label_studio_sdk.label_interface")
    folder = export(negbench(), "label-studio", tmp_path / "out").path
    sample, rows = draw_sample(negbench(), 12)
    of_audit = write_tasks(sample, rows, tmp_path)
    for tasks, view in ((folder / "captions.tasks.json", folder / INTERFACE), (of_audit, tmp_path / INTERFACE)):
        interface = label_interface.LabelInterface(view.read_text(encoding="utf-8"))
        for task in json.loads(tasks.read_text(encoding="utf-8")):
            assert interface.validate_task({"data": task["data"]})
            assert [interface.validate_prediction(each, return_errors=True) for each in task["predictions"]] in ([], [[]])


def test_fiftyone_iterates_every_sample_with_its_boxes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIFTYONE_DISABLE_SERVICES", "1")
    monkeypatch.setenv("FIFTYONE_DATABASE_URI", "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=100")
    importers = pytest.importorskip("fiftyone.utils.data.importers")
    folder = export(negbench(), "fiftyone", tmp_path / "out", images="copy").path
    with importers.LegacyFiftyOneDatasetImporter(dataset_dir=str(folder)) as importer:
        samples = list(importer)
    rows = parts(negbench(), "caption_negated")
    assert [sample["row_id"] for sample in samples] == rows["row_id"].to_list()
    assert all(Path(sample.filepath).is_file() for sample in samples)
    boxes = [len(sample["objects"].detections) for sample in samples]
    assert boxes == [
        sum(len(json.loads(detections)[name]["boxes"]) for name in json.loads(names))
        for detections, names in rows.select("detections", "positive_objects").iter_rows()
    ]

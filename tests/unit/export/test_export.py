"""What all exports have in common: only sound parts, only what there is, a record of it, no trace of an attempt that failed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pandas as pd
import polars as pl
import pytest
from click.testing import CliRunner

from exported import SAMPLES, antidote, anyedit, export, finish, negbench, parts, recaption, sample_rows, selected, write_table
from shardmill.cli.main import cli
from shardmill.core.planning import NewRun, start_run
from shardmill.core.registry import resolve
from shardmill.export.formats import BUILT_IN, choose_tables
from shardmill.export.make import export as make_export
from shardmill.export.options import ExportOptions, size_of
from shardmill.export.tables import export_tables
from shardmill.store.run_folder import RunFolder
from shardmill.util.errors import NoRows, UserError

EXPECTED = {
    "negbench": {
        "captions": "csv tsv jsonl webdataset table parquet hf coco coco-captions label-studio fiftyone mds",
        "questions": "webdataset table parquet hf llava axolotl coco label-studio fiftyone mds",
        "full": "csv tsv webdataset table parquet hf coco coco-captions label-studio fiftyone mds",
    },
    "antidote": {
        "pairs": "webdataset table parquet hf llava axolotl dpo dpo-parquet label-studio fiftyone mds",
        "pictures": "csv tsv webdataset table parquet hf coco coco-captions label-studio fiftyone mds",
        "queries": "webdataset table parquet hf coco label-studio fiftyone mds",
    },
    "recaption": {
        "texts": "csv tsv jsonl webdataset table parquet hf llava axolotl coco-captions label-studio fiftyone mds",
        "captions": "csv tsv webdataset table parquet hf llava axolotl coco-captions label-studio fiftyone mds",
    },
    "anyedit": {
        "instructions": "webdataset table parquet hf label-studio fiftyone mds",
        "captions": "csv tsv webdataset table parquet hf coco coco-captions label-studio fiftyone mds",
        "chains": "webdataset table parquet hf label-studio fiftyone mds",
        "implicit": "table parquet hf mds",
    },
}
RUNS = {"negbench": negbench, "antidote": antidote, "recaption": recaption, "anyedit": anyedit}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A finished run of which a test may break what it likes."""
    shutil.copytree(negbench().path, tmp_path / "run")
    return RunFolder(tmp_path / "run")


def digests(record: dict[str, object]) -> dict[str, str]:
    files = record["files"]
    assert isinstance(files, dict)
    return {name: entry["sha256"] for name, entry in files.items()}


def test_every_format_has_a_writer_and_the_command_knows_it() -> None:
    assert all(callable(resolve(format.write)) for format in BUILT_IN.values())
    help = CliRunner().invoke(cli, ["export", "--help"]).output
    assert all(f"{name}" in help for name in BUILT_IN)


@pytest.mark.parametrize("pipeline", EXPECTED)
def test_each_pipeline_offers_what_it_has_data_for(pipeline: str) -> None:
    found = {
        table.name: " ".join(name for name, format in BUILT_IN.items() if format.fits(table))
        for table in export_tables(RUNS[pipeline]())
    }
    assert found == EXPECTED[pipeline]


@pytest.mark.parametrize(
    ("pipeline", "what", "format"),
    [
        (pipeline, what, format)
        for pipeline, all in EXPECTED.items()
        for what, formats in all.items()
        for format in formats.split()
    ],
)
def test_the_record_has_the_digest_and_rows_of_each_file_and_an_export_is_the_same_twice(
    tmp_path: Path, pipeline: str, what: str, format: str
) -> None:
    done = export(RUNS[pipeline](), format, tmp_path / "a", what=[what])
    again = export(RUNS[pipeline](), format, tmp_path / "b", what=[what])
    assert json.loads((done.path / "export.json").read_text(encoding="utf-8")) == done.record == again.record
    data = {path.relative_to(done.path).as_posix(): path for path in done.path.rglob("*") if path.is_file()}
    assert data.keys() - {"export.json", "left_out.jsonl"} == done.record["files"].keys()
    for name, entry in done.record["files"].items():
        assert entry["sha256"] == sha256(data[name].read_bytes()).hexdigest()
        assert entry["bytes"] == data[name].stat().st_size


@pytest.mark.parametrize("format", ["tsv", "webdataset", "hf", "coco"])
def test_unfinished_shards_are_named_and_nothing_is_written(run: RunFolder, tmp_path: Path, format: str) -> None:
    run.files("caption_negated", 1).manifest.unlink()
    with pytest.raises(UserError, match=r"caption_negated: shards 1 of 3 are not finished; finish them: shardmill launch"):
        export(run, format, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("format", ["hf", "webdataset"])
def test_an_export_without_a_row_fails_and_is_made_once_the_images_are_there(tmp_path: Path, format: str) -> None:
    image = tmp_path / "gone.png"
    shutil.copy(SAMPLES / "images" / "0001.png", image)
    run = selected(tmp_path / "it", [[str(image), "A seagull on a beach with several french fries."]], 1)
    image.unlink()
    with pytest.raises(NoRows, match=r"all were left out \(no readable image 1\); for example row 0: .*gone\.png"):
        export(run, format, tmp_path / "out")
    shutil.copy(SAMPLES / "images" / "0001.png", image)
    done = export(run, format, tmp_path / "out")
    assert not done.already and not done.record["left_out"]


def test_a_part_that_was_changed_is_refused(run: RunFolder, tmp_path: Path) -> None:
    part = run.files("caption_negated", 0).part
    part.write_bytes(part.read_bytes().replace(b"seagull", b"sea gull"))
    with pytest.raises(UserError, match="csv file missing or changed"):
        export(run, "tsv", tmp_path / "out")


def test_on_demand_the_finished_shards_are_exported_and_folder_and_record_say_so(run: RunFolder) -> None:
    run.files("caption_negated", 1).manifest.unlink()
    done = CliRunner().invoke(cli, ["export", str(run.path), "--format", "tsv", "--allow-missing"])
    assert done.exit_code == 0, done.output
    assert "warning: captions: 1 unfinished shard left out" in done.output
    out = run.path / "exports" / "tsv.partial-2-of-3"
    assert json.loads((out / "export.json").read_text())["shards"] == {"captions": {"used": 2, "missing": [1]}}
    expected = pl.concat([run.read_part("caption_negated", shard)[0] for shard in (0, 2)])
    assert pd.read_csv(out / "captions.tsv", sep="\t")["filepath"].nunique() == expected["image"].n_unique()


def test_a_target_takes_the_first_rows_for_any_number_of_shards(tmp_path: Path) -> None:
    table = write_table(tmp_path / "captions.csv", ["image", "caption"], sample_rows(24))
    found = []
    for shards in (1, 5):
        new = NewRun(input=table, num_shards=shards, target_rows=7, image_root=SAMPLES)
        run = finish(start_run(tmp_path / f"run{shards}", new))
        done = export(run, "parquet", tmp_path / f"out{shards}", what=["full"])
        found.append(pl.read_parquet(done.path / "full-00000.parquet"))
        lines = export(run, "tsv", tmp_path / f"tsv{shards}")
        assert pd.read_csv(lines.path / "captions.tsv", sep="\t")["filepath"].nunique() == 7
    assert found[0].equals(found[1])
    assert found[0].filter(pl.col("negative_captions").list.len() > 0).height == 7


def test_an_anyedit_run_offers_what_its_stages_made(tmp_path: Path) -> None:
    run = selected(tmp_path / "it", sample_rows(6), 2)
    assert [table.name for table in export_tables(run)] == ["captions"]
    done = export(run, "tsv", tmp_path / "out")
    assert pd.read_csv(done.path / "captions.tsv", sep="\t")["title"].tolist() == parts(run, "select_captions")["input"].to_list()


def test_captions_without_pictures_can_be_tables_only(tmp_path: Path) -> None:
    table = write_table(tmp_path / "captions.csv", ["caption"], [[caption] for _, caption in sample_rows(6)])
    run = finish(start_run(tmp_path / "run", NewRun(input=table, num_shards=1, settings=("filter_objects.unverified=keep",))))
    assert choose_tables(run, "hf")[0].image_column is None
    export(run, "hf", tmp_path / "hf")
    with pytest.raises(UserError, match="webdataset needs images, which the negbench run"):
        export(run, "webdataset", tmp_path / "out")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--format", "tsv", "--what", "captoins"], "has no table 'captoins' to export; it has captions (csv, tsv,"),
        (["--format", "tsv", "--what", "captions", "--what", "full"], "tsv holds one table; export them one by one, or as hf"),
        (["--format", "webdataset", "--images", "reference"], "--format webdataset does not use --images"),
        (["--format", "tsv", "--form", "swift"], "--format tsv does not use --form"),
        (["--format", "webdataset", "--max-size", "big"], "'big' is not a file size of at least 10 kB; write it like 1GB"),
        (["--format", "dpo"], "dpo needs preference pairs"),
        (["--format", "parket"], "there is no format 'parket'; did you mean 'parquet'?"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(arguments: list[str], told: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["export", str(negbench().path), *arguments, "--out", str(tmp_path / "out")])
    assert isinstance(result.exception, UserError)
    assert told in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_without_a_format_the_command_says_what_there_is() -> None:
    result = CliRunner().invoke(cli, ["export", str(antidote().path)])
    assert result.output.startswith(
        "it has pairs (webdataset, table, parquet, hf, llava, axolotl, dpo, dpo-parquet, label-studio, fiftyone, mds); pictures ("
        "csv,"
    )


def test_the_command_prints_files_with_rows_and_doing_it_again_does_nothing(run: RunFolder) -> None:
    first = CliRunner().invoke(cli, ["export", str(run.path), "--format", "csv"])
    rows = len(pd.read_csv(run.path / "exports" / "csv" / "captions.csv"))
    assert f"{run.path / 'exports' / 'csv' / 'captions.csv'}: {rows} rows" in first.output.splitlines()
    assert "exported already" in CliRunner().invoke(cli, ["export", str(run.path), "--format", "csv"]).output


@pytest.mark.parametrize("format", ["tsv", "hf", "webdataset", "llava", "coco"])
def test_an_attempt_that_ran_out_of_room_leaves_nothing_that_looks_finished_and_the_next_one_mends_it(
    run: RunFolder, tmp_path: Path, format: str
) -> None:
    calm = export(run, format, tmp_path / "calm")
    command = f"ulimit -f 2; exec {sys.executable} -m shardmill export {run.path} --format {format} --out {tmp_path / 'out'}"
    assert subprocess.run(["bash", "-c", command], capture_output=True).returncode != 0
    assert not (tmp_path / "out" / "export.json").exists()
    assert not [
        path
        for path in (tmp_path / "out").rglob("[!.]*.*")
        if path.suffix in (".tsv", ".parquet", ".tar") and path.parent.name != ".making"
    ]
    mended = export(run, format, tmp_path / "out")
    assert mended.record == calm.record
    assert sorted(path.name for path in mended.path.rglob("*")) == sorted(path.name for path in calm.path.rglob("*"))


def test_an_attempt_that_was_killed_at_its_very_beginning_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "export.progress.jsonl").write_bytes(b'{"shardmill_exp')
    assert not export(negbench(), "tsv", tmp_path / "out").already
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["captions.tsv", "export.json"]


@pytest.mark.parametrize(
    ("text", "size"), [("1GB", 10**9), ("1.5 MiB", 3 * 2**19), ("64k", 64_000), ("2 tb", 2 * 10**12), ("10000", 10_000)]
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert size_of(text) == size


@pytest.mark.parametrize("text", ["", "0", "-1GB", "1e9", "GB", "5", "1 G B", "nan"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="is not a file size"):
        size_of(text)


def test_exporting_imports_no_library_of_the_readers() -> None:
    modules = ", ".join(str(format.write).partition(":")[0] for format in BUILT_IN.values())
    code = f"import sys, shardmill.export.make, {modules}; print(*sys.modules)"
    loaded = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())
    assert not loaded & {"pyarrow", "datasets", "webdataset", "pycocotools", "torch", "pandas"}


@pytest.mark.parametrize("format", ["csv", "hf", "webdataset"])
def test_a_second_export_into_a_folder_is_refused_in_a_line_and_the_first_one_is_whole(
    run: RunFolder, tmp_path: Path, format: str
) -> None:
    calm = digests(export(run, format, tmp_path / "calm").record)
    said: list[str] = []

    def meanwhile(rows: int) -> None:
        if not said:
            with pytest.raises(UserError) as refused:
                export(run, format, tmp_path / "out")
            said.append(str(refused.value))

    first = make_export(run, format, tmp_path / "out", options=ExportOptions("copy"), report=meanwhile)
    assert said[0].startswith(f"another export into {tmp_path / 'out'} is under way (process ")
    assert digests(first.record) == calm and not first.already
    assert export(run, format, tmp_path / "out").already
    assert not [path.name for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]

"""A folder for Hugging Face `datasets`: Parquet files, the prompts, and a card; `load_dataset(FOLDER)` reads it."""

from __future__ import annotations

from collections.abc import Sequence

from shardmill.export.folder import ExportFolder
from shardmill.export.hf_card import CardTable, card, prompt_path, stages_of
from shardmill.export.options import ExportOptions
from shardmill.export.parquet import embeds, write_files
from shardmill.export.prompts import prompts_of
from shardmill.export.rows import TableRows

CARD = "README.md"


def write(sources: Sequence[TableRows], folder: ExportFolder, options: ExportOptions) -> None:
    """`data/WHAT-00000.parquet`, a configuration for each table, the first being the default, and the card `README.md`."""
    tables = []
    for source in sources:
        rows = write_files(source, folder, options, "data/")
        size = sum((folder.path / name).stat().st_size for name in folder.files if name.startswith(f"data/{source.table.name}-"))
        tables.append(CardTable(source, rows, size, source.table.image_column if embeds(source, options) else None))
    run = sources[0].run
    prompts = [prompt for stage in stages_of(sources) for prompt in prompts_of(run, stage)]
    for prompt in prompts:
        for name, text in prompt.files.items():
            folder.write_text(prompt_path(name), text)
    folder.write_text(CARD, card(tables, prompts, folder.left_out.counts))

"""Commands for multi-text files: join captions from elsewhere into one, and check one before training."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shardmill.util.commands import FILE, FOLDER, HAND_ON, PREPARE, command, json_option, print_next, print_warning
from shardmill.util.errors import UserError
from shardmill.util.terminal import echo
from shardmill.util.words import count_of

if TYPE_CHECKING:
    from shardmill.recaption.join import JoinResult
    from shardmill.recaption.validate import Verdict

MAX_WARNINGS = 5


@command(PREPARE, "join-captions")
@click.argument("original", type=FILE)
@click.option(
    "--index",
    "indexes",
    multiple=True,
    required=True,
    metavar="NAME=FILE",
    help="the captions called NAME: {path: caption}, or JSON lines or lists of {image, caption}; may be repeated, also for one "
    "NAME, or be a quoted glob pattern",
)
@click.option("--out", type=FILE, required=True, help="the .jsonl file to write")
@click.option("--texts", help="the texts of a line, in order, e.g. original,detail,noun (default: original, then every --index)")
@click.option(
    "--missing",
    type=click.Choice(["drop", "pad", "fail"]),
    default="fail",
    show_default=True,
    help="if a row lacks a text: leave the row out, use the text of --pad-from instead, or stop with an error",
)
@click.option("--pad-from", help="with --missing pad: the text to use instead, or several by preference, e.g. original,detail")
@click.option("--image-root", type=FOLDER, help="absolute paths below this folder match relative ones")
@click.option("--image-column", help="column (or key) of ORIGINAL with the image paths")
@click.option("--caption-column", help="column (or key) of ORIGINAL with the captions")
@click.option("--scratch", type=FOLDER, help="folder for temporary files, as large as the inputs (default: that of --out)")
@json_option
def join_captions(original: Path, indexes: Sequence[str], out: Path, as_json: bool, **options: Any) -> None:
    """Join caption files to the rows of a table.

    The result has one line with several texts for each image. ORIGINAL is JSON lines with image and caption, or any table.
    Each of its rows becomes one line {"image", "caption": [texts]}, in the same order. Images match by path; different
    spellings of one path are equal. Memory use does not grow with the files. Missing, repeated and damaged captions are
    counted and reported, and a header beside --out names the text at each position.
    """
    from shardmill.recaption.join import JoinProgress
    from shardmill.recaption.join import join_captions as join
    from shardmill.util.progress import step_progress

    bars: dict[str, Callable[[int, int], None]] = {}

    def report(progress: JoinProgress) -> None:
        if progress.doing not in bars:
            bars[progress.doing] = step_progress(progress.doing)
        bars[progress.doing](progress.rows, progress.total)

    result = join(
        original,
        _index_files(indexes),
        out,
        _names(options.pop("texts")),
        fallback=_names(options.pop("pad_from")),
        report=report,
        **options,
    )
    if as_json:
        echo(json.dumps(_as_dict(result), indent=1, ensure_ascii=False))
        return
    print_join(result)


@command(HAND_ON, "check-multitext")
@click.argument("file", type=FILE)
@click.option("--images", type=FILE, help="also check that each image exists: a folder or tar of images, or a table with images")
@click.option("--m", type=click.IntRange(1), help="number of texts per line (default: as in the header, else in the first line)")
@json_option
@click.pass_context
def check_multitext(ctx: click.Context, file: Path, images: Path | None, m: int | None, as_json: bool) -> None:
    """Check a file with several texts per image.

    Is it fit for training? Unfit is a line that is not JSON, that has an empty text or not exactly M texts, or whose image
    does not exist; and a file that is not the one that its header describes. Also reported are repeated images and texts,
    control characters, and lengths in CLIP tokens (CLIP reads 77). Exit code 1 if the file is unfit, 2 if it cannot be read.
    """
    from shardmill.recaption.validate import check_multitext as check
    from shardmill.util.progress import step_progress

    verdict = check(file, m, images, report=step_progress("checking"))
    if as_json:
        echo(json.dumps(verdict.to_dict(), indent=1, ensure_ascii=False))
    else:
        print_verdict(verdict)
    ctx.exit(0 if verdict.fit else 1)


def _names(listed: str | None) -> list[str]:
    return [name.strip() for name in listed.split(",") if name.strip()] if listed else []


def _index_files(indexes: Sequence[str]) -> dict[str, list[Path]]:
    """NAME=FILE as files by name; a FILE may be a glob pattern."""
    from shardmill.util.globbing import matching_files

    files: dict[str, list[Path]] = {}
    for index in indexes:
        name, separator, pattern = index.partition("=")
        if not separator or not name or not pattern:
            raise UserError(f"--index {index}: expected NAME=FILE, for example detail=detail_index.json")
        files.setdefault(name, []).extend(matching_files([Path(pattern)]))
    return files


def _as_dict(result: JoinResult) -> dict[str, Any]:
    return {
        "file": str(result.path),
        "rows": result.tally.rows,
        "repeated_images": result.tally.repeated_images,
        **result.header.counts.model_dump(),
        "indexes": {name: vars(counts) for name, counts in result.tally.indexes.items()},
        "unreadable": {str(path): count for path, count in result.tally.unreadable.items() if count},
        "oddities": [{"file": str(odd.file), "line": odd.line, "detail": odd.detail} for odd in result.tally.warnings],
        "report": str(result.report) if result.report else None,
        "hints": result.hints,
    }


def print_join(result: JoinResult) -> None:
    """Print what was joined, what was missing or repeated, and what was wrong with the inputs."""
    tally, counts = result.tally, result.header.counts
    for odd in tally.warnings[:MAX_WARNINGS]:
        _warn(f"{odd.file}, line {odd.line}: {odd.detail}")
    for path, count in tally.unreadable.items():
        if count:
            _warn(f"{path}: entries that could not be read: {count:,}")
    for hint in result.hints:
        _warn(hint)
    names = ", ".join(text.name for text in result.header.texts)
    rows, texts = count_of(tally.rows, "row"), count_of(result.header.m, "text")
    echo(f"{result.path}: {count_of(counts.lines, 'line')} from {rows}, {texts} each: {names}")
    for what, by_text in (("rows left out, by missing text", counts.dropped), ("texts filled in", counts.padded)):
        shown = ", ".join(f"{name} {count:,}" for name, count in by_text.items() if count)
        if shown:
            echo(f"{what}: {shown}")
    if tally.repeated_images:
        echo(f"rows that repeat an image (kept, with the same texts): {tally.repeated_images:,}")
    for name, of in tally.indexes.items():
        parts = {
            "blank": of.blank,
            "of images that are not in the table": of.unknown,
            "repeated (the last one is used)": of.repeated,
            "repeated with another text": of.conflicts,
        }
        details = "".join(f", {count:,} {what}" for what, count in parts.items() if count)
        echo(f"{name}: {of.entries:,} entries for {count_of(of.used, 'image')}{details}")
    if result.report:
        echo(f"all problems are listed in {result.report}")
    print_next("check-multitext", result.path)


def _warn(text: str) -> None:
    from shardmill.util.plain_text import plain

    print_warning(plain(text))


def print_verdict(verdict: Verdict) -> None:
    """Print whether a file is fit for training, what was found in it, and the lengths of its texts."""
    from shardmill.recaption.validate import UNFIT
    from shardmill.util.plain_text import plain

    word = "fit for training" if verdict.fit else "NOT fit for training"
    echo(f"{verdict.path}: {word}", bold=True, fg="green" if verdict.fit else "red")
    texts = count_of(verdict.m, "text")
    echo(f"{count_of(verdict.lines, 'line')}, {texts} each (by {verdict.m_from or 'nothing: the file is empty'})")
    for problem, finding in sorted(verdict.findings.items(), key=lambda pair: pair[0] not in UNFIT):
        lines = f": lines {', '.join(map(str, finding.lines))}{' …' if finding.count > len(finding.lines) else ''}"
        detail = f" ({plain(verdict.details[problem])[:200]})" if problem in verdict.details else ""
        colour = "red" if problem in UNFIT else "yellow"
        echo(f"{problem} {finding.count:,}{lines if any(finding.lines) else ''}{detail}", fg=colour)
    echo("length in CLIP tokens:")
    for index, (name, row) in enumerate(zip(verdict.names, verdict.to_dict()["texts"], strict=False)):
        if verdict.lengths[index]:
            lengths = ", ".join(f"{what} {row[what]}" for what in ("median", "p95", "longest"))
            echo(f"    {name}: {lengths}; over 77: {verdict.share_over(index):.1%}")

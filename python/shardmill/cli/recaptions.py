"""Commands for multi-text files: join captions of others into one, and check one before training."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shardmill.cli.base import FILE, FOLDER, cli
from shardmill.util.errors import UserError

if TYPE_CHECKING:
    from shardmill.recaption.join import JoinResult
    from shardmill.recaption.validate import Verdict

TOLD = 5


@cli.command("join-captions")
@click.argument("original", type=FILE)
@click.option(
    "--index",
    "indexes",
    multiple=True,
    required=True,
    metavar="NAME=FILE",
    help="captions of one kind: {path: caption}, or JSON lines or lists of {image, caption}; may be repeated, also for one NAME, "
    "or be a glob in quotes",
)
@click.option("--out", type=FILE, required=True, help="the .jsonl file to write")
@click.option(
    "--texts", help="which texts make a line, in order: original,detail,noun (original, then the indexes, if not given)"
)
@click.option(
    "--missing",
    type=click.Choice(["drop", "pad", "fail"]),
    default="fail",
    show_default=True,
    help="where a text is missing: leave the row out, fill in the text of --pad-from, or refuse",
)
@click.option("--pad-from", help="with --missing pad: the text to fill in, or several, first choice first: original,detail")
@click.option("--image-root", type=FOLDER, help="absolute paths below it are the same as relative ones")
@click.option("--image-column", help="the column (or key) of ORIGINAL with the image paths")
@click.option("--caption-column", help="the column (or key) of ORIGINAL with the captions")
@click.option(
    "--scratch", type=FOLDER, help="where temporary files of the size of the inputs may lie (beside --out if not given)"
)
@click.option("--json", "as_json", is_flag=True, help="for scripts")
def join_captions(original: Path, indexes: Sequence[str], out: Path, as_json: bool, **options: Any) -> None:
    """Join captions from files to the rows of ORIGINAL: one line {"image", "caption": [texts]} for each row, in its order.

    ORIGINAL is JSON lines with image and caption, or any table. Images match by path: normal forms of one path are equal. Needs
    little memory whatever the size. What was missing, double or damaged is counted and told; a header beside --out says what
    stands at which place.
    """
    from shardmill.recaption.join import JoinProgress
    from shardmill.recaption.join import join_captions as join

    lines: dict[str, Callable[[int, int], None]] = {}

    def report(progress: JoinProgress) -> None:
        if progress.doing not in lines:
            lines[progress.doing] = _progress(progress.doing)
        lines[progress.doing](progress.rows, progress.total)

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
        click.echo(json.dumps(_as_dict(result), indent=1, ensure_ascii=False))
        return
    _tell(result)


@cli.command("check-multitext")
@click.argument("file", type=FILE)
@click.option(
    "--images", type=FILE, help="also look whether each image exists: a folder or tar of pictures, or a table with images"
)
@click.option("--m", type=click.IntRange(1), help="how many texts a line must have (as its header says, else its first line)")
@click.option("--json", "as_json", is_flag=True, help="for scripts")
@click.pass_context
def check_multitext(ctx: click.Context, file: Path, images: Path | None, m: int | None, as_json: bool) -> None:
    """Is a multi-text FILE fit for training? Exit code 1 if a line is not, 2 if the file cannot be read.

    Unfit: a line that is no JSON, that has not exactly M texts or an empty one, whose image is missing; a file that is not the
    one its header describes. Told besides: repeated images and texts, control characters, lengths in CLIP tokens (77 are read).
    """
    from shardmill.recaption.validate import check_multitext as check

    verdict = check(file, m, images, report=_progress("checking"))
    if as_json:
        click.echo(json.dumps(verdict.to_dict(), indent=1, ensure_ascii=False))
    else:
        _tell_verdict(verdict)
    ctx.exit(0 if verdict.fit else 1)


def _progress(label: str) -> Callable[[int, int], None]:
    from shardmill.util.progress import Progress, ProgressLine

    line = ProgressLine(label)
    return lambda rows, total: line(Progress(rows, total, 0, 0))


def _names(listed: str | None) -> list[str]:
    return [name.strip() for name in listed.split(",") if name.strip()] if listed else []


def _index_files(indexes: Sequence[str]) -> dict[str, list[Path]]:
    """NAME=FILE as files by name; a FILE may be a glob."""
    from shardmill.cli.making import matching

    files: dict[str, list[Path]] = {}
    for index in indexes:
        name, separator, pattern = index.partition("=")
        if not separator or not name or not pattern:
            raise UserError(f"--index {index}: NAME=FILE is expected, for example detail=detail_index.json")
        files.setdefault(name, []).extend(matching([Path(pattern)]))
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


def _tell(result: JoinResult) -> None:
    tally, counts = result.tally, result.header.counts
    for odd in tally.warnings[:TOLD]:
        _warn(f"{odd.file}, line {odd.line}: {odd.detail}")
    for path, count in tally.unreadable.items():
        if count:
            _warn(f"{path}: entries that could not be read: {count:,}")
    for hint in result.hints:
        _warn(hint)
    click.echo(f"{result.path}: {counts.lines:,} lines of {tally.rows:,} rows, {result.header.m} texts each: "
               f"{', '.join(text.name for text in result.header.texts)}")  # fmt: skip
    for word, by_text in (("dropped for want of", counts.dropped), ("padded", counts.padded)):
        told = ", ".join(f"{name} {count:,}" for name, count in by_text.items() if count)
        if told:
            click.echo(f"{word}: {told}")
    if tally.repeated_images:
        click.echo(f"rows that repeat an image (kept, with the same texts): {tally.repeated_images:,}")
    for name, of in tally.indexes.items():
        parts = {
            "blank": of.blank,
            "images not in the table": of.unknown,
            "repeated, the last counts": of.repeated,
            "of these with another text": of.conflicts,
        }
        told = "".join(f", {count:,} {what}" for what, count in parts.items() if count)
        click.echo(f"{name}: {of.entries:,} entries for {of.used:,} images{told}")
    if result.report:
        click.echo(f"all of it: {result.report}")
    click.echo(f"next: shardmill check-multitext {result.path}")


def _warn(text: str) -> None:
    from shardmill.util.plain_text import plain

    click.secho(f"warning: {plain(text)}", fg="yellow", err=True)


def _tell_verdict(verdict: Verdict) -> None:
    from shardmill.recaption.validate import UNFIT
    from shardmill.util.plain_text import plain

    word = "fit for training" if verdict.fit else "NOT fit for training"
    click.secho(f"{verdict.path}: {word}", bold=True, fg="green" if verdict.fit else "red")
    click.echo(f"{verdict.lines:,} lines, {verdict.m} texts each (by {verdict.m_from or 'nothing: it is empty'})")
    for kind, finding in sorted(verdict.findings.items(), key=lambda pair: pair[0] not in UNFIT):
        where = f": lines {', '.join(map(str, finding.lines))}{' ..' if finding.count > len(finding.lines) else ''}"
        detail = f" ({plain(verdict.details[kind])[:200]})" if kind in verdict.details else ""
        click.secho(
            f"{kind} {finding.count:,}{where if any(finding.lines) else ''}{detail}", fg="red" if kind in UNFIT else "yellow"
        )
    click.echo("length in CLIP tokens:")
    for at, (name, row) in enumerate(zip(verdict.names, verdict.to_dict()["texts"], strict=False)):
        if verdict.lengths[at]:
            told = ", ".join(f"{what} {row[what]}" for what in ("median", "p95", "longest"))
            click.echo(f"    {name}: {told}; over 77: {verdict.share_over(at):.1%}")

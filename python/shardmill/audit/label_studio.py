"""A sample as tasks for Label Studio, one for each statement, and the verdicts in what Label Studio exports."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from shardmill.audit.sample import AuditSample, SampledRow
from shardmill.audit.sheet import Sheet, Tick, explain_unknown
from shardmill.pages.images import PageImage, inline_jpeg
from shardmill.pages.label_studio import NOTE, VERDICT, VERDICTS, interface, task
from shardmill.util.atomic import replacing
from shardmill.util.errors import UserError, did_you_mean

TASKS, INTERFACE = "label_studio_tasks.json", "label_studio_interface.xml"
SIDE = 640
"""The longest side of an image inside a task, in pixels."""
MISSING = "data:image/gif;base64,R0lGODlhAQABAIAAAMLCwgAAACH5BAAAAAAALAAAAAABAAEAAAICRAEAOw=="
"""A grey pixel, for rows whose image cannot be shown."""


def write_tasks(sample: AuditSample, rows: Sequence[SampledRow], folder: Path) -> Path:
    """Write the tasks and their labelling interface into a folder; returns the file of the tasks."""
    with replacing(folder / INTERFACE) as file:
        file.write(interface("claim", sample.pipeline).encode("utf-8"))
    with replacing(folder / TASKS) as file:
        file.write((json.dumps(list(_tasks(sample, rows)), ensure_ascii=False, indent=0) + "\n").encode("utf-8"))
    return folder / TASKS


def _tasks(sample: AuditSample, rows: Sequence[SampledRow]) -> Iterator[dict[str, Any]]:
    for statement in sample.claims:
        row = rows[statement.unit]
        image = inline_jpeg(row.image, SIDE) if row.image else ""
        boxes = [(box.name, box.score, box.box) for box in row.shown.boxes]
        size = (image.width, image.height) if isinstance(image, PageImage) else (1, 1)
        data = {
            "claim_id": statement.claim_id,
            "claim": statement.claim,
            "kind": statement.kind,
            "row_id": statement.row_id,
            "image": image.url if isinstance(image, PageImage) else MISSING,
        }
        yield task(data, boxes if isinstance(image, PageImage) else [], size)


def is_label_studio(path: Path) -> bool:
    """Whether a file is JSON, as Label Studio exports it, rather than a sheet."""
    try:
        with open(path, "rb") as file:
            return file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"[", b"{")
    except OSError:
        return False


def read_annotations(path: Path, sample: AuditSample) -> list[Sheet]:
    """The verdicts in a JSON or JSON-MIN export, as a sheet for each annotator. Of two by one annotator, the last one counts.

    Raises:
        UserError: The file is not such an export, or a task is not of this sample, or a verdict is none of `VERDICTS`.
    """
    known = {each.claim_id for each in sample.claims}
    ticks: defaultdict[str, dict[str, Tick]] = defaultdict(dict)
    for number, entry in enumerate(_entries(path), 1):
        where = f"{path}, task {number}"
        claim_id = _data(entry, where).get("claim_id")
        if claim_id not in known:
            raise UserError(f"{where}: {explain_unknown(str(claim_id), sample)}")
        for annotator, verdict, note in _verdicts(entry, where):
            ticks[annotator][str(claim_id)] = Tick(verdict, note)
    if not ticks:
        raise UserError(f"{path} has no verdict; tick tasks in Label Studio and export them as JSON")
    return [Sheet(path, annotator, given) for annotator, given in sorted(ticks.items())]


def _entries(path: Path) -> list[Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as JSON: {error}; export the project from Label Studio as JSON again") from None
    if not isinstance(content, list):
        raise UserError(f"{path} is not an export of Label Studio, which is a list of tasks; export the project as JSON")
    return content


def _data(entry: Any, where: str) -> Mapping[str, Any]:
    """The data of a task: under `data`, or beside everything else in JSON-MIN."""
    data = entry.get("data", entry) if isinstance(entry, Mapping) else None
    if not isinstance(data, Mapping):
        raise UserError(f"{where} is not a task of Label Studio; export the project as JSON")
    return data


def _verdicts(entry: Mapping[str, Any], where: str) -> Iterator[tuple[str, str, str]]:
    """Annotator, verdict and note of each annotation that has a verdict."""
    if "annotations" not in entry:
        if entry.get(VERDICT):
            yield _person(entry.get("annotator")), _verdict(entry[VERDICT], where), _text(entry.get(NOTE))
        return
    finished = [each for each in entry["annotations"] or () if not each.get("was_cancelled")]
    for each in sorted(finished, key=lambda annotation: str(annotation.get("updated_at") or "")):
        values = {result.get("from_name"): result.get("value") or {} for result in each.get("result") or ()}
        choices = values.get(VERDICT, {}).get("choices") or []
        if choices:
            yield _person(each.get("completed_by")), _verdict(choices[0], where), _text(values.get(NOTE, {}).get("text"))


def _verdict(word: Any, where: str) -> str:
    verdict = str(word).strip().casefold()
    if verdict not in VERDICTS:
        raise UserError(
            f"{where}: the verdict {verdict[:40]!r} is not one of {', '.join(VERDICTS)}; {did_you_mean(verdict, VERDICTS)}"
        )
    return verdict


def _person(value: Any) -> str:
    """Who annotated: an e-mail address, or a number where the export says no more."""
    if isinstance(value, Mapping):
        value = value.get("email") or value.get("id")
    return str(value) if value not in (None, "") else "label studio"


def _text(value: Any) -> str:
    return " ".join(map(str, value)).strip() if isinstance(value, list) else str(value or "").strip()

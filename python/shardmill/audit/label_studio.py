"""A sample as tasks for Label Studio, one for each statement, and the verdicts in what Label Studio exports."""

from __future__ import annotations

import codecs
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

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


class _Result(BaseModel):
    """What an annotator gave for one field of the labelling interface."""

    from_name: str | None = None
    value: dict[str, Any] = {}

    def words(self, key: str) -> list[str]:
        """What `value` has under a key, a text or a list of texts."""
        found = self.value.get(key) or []
        return [word for word in (found if isinstance(found, list) else [found]) if isinstance(word, str)]


class _Annotation(BaseModel):
    was_cancelled: bool | None = False
    updated_at: str | None = None
    completed_by: Any = None
    result: list[_Result] = []


class _Task(BaseModel):
    """A task as the JSON export has it; in JSON-MIN the data and the verdict stand beside everything else."""

    model_config = ConfigDict(extra="allow")
    data: dict[str, Any] | None = None
    annotations: list[_Annotation] | None = None

    @property
    def flat(self) -> dict[str, Any]:
        return self.model_extra or {}


def read_annotations(path: Path, sample: AuditSample) -> list[Sheet]:
    """The verdicts in a JSON or JSON-MIN export, as a sheet for each annotator. Of two by one annotator, the last one counts.

    Raises:
        UserError: The file is not such an export, or a task is not of this sample, or a verdict is none of `VERDICTS`.
    """
    known = {each.claim_id for each in sample.claims}
    ticks: defaultdict[str, dict[str, Tick]] = defaultdict(dict)
    for number, entry in enumerate(_tasks_in(path), 1):
        where = f"{path}, task {number}"
        claim_id = str((entry.flat if entry.data is None else entry.data).get("claim_id"))
        if claim_id not in known:
            raise UserError(f"{where}: {explain_unknown(claim_id, sample)}")
        for annotator, verdict, note in _verdicts(entry, where):
            ticks[annotator][claim_id] = Tick(verdict, note)
    if not ticks:
        raise UserError(f"{path} has no verdict; tick tasks in Label Studio and export them as JSON")
    return [Sheet(path, annotator, given) for annotator, given in sorted(ticks.items())]


def _tasks_in(path: Path) -> list[_Task]:
    try:
        return TypeAdapter(list[_Task]).validate_json(path.read_bytes().removeprefix(codecs.BOM_UTF8))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = f", task {int(first['loc'][0]) + 1}" if first["loc"] else ""
        raise UserError(
            f"{path}{where} is not what Label Studio exports: {first['msg']}; export the project from Label Studio as JSON again"
        ) from None


def _verdicts(task: _Task, where: str) -> Iterator[tuple[str, str, str]]:
    """Annotator, verdict and note of each annotation that has a verdict."""
    if task.annotations is None:
        if task.flat.get(VERDICT):
            note = _Result(value={NOTE: task.flat.get(NOTE)}).words(NOTE)
            yield _person(task.flat.get("annotator")), _verdict(task.flat[VERDICT], where), " ".join(note).strip()
        return
    finished = [each for each in task.annotations if not each.was_cancelled]
    for each in sorted(finished, key=lambda annotation: annotation.updated_at or ""):
        verdicts = [word for result in each.result if result.from_name == VERDICT for word in result.words("choices")]
        notes = [word for result in each.result if result.from_name == NOTE for word in result.words("text")]
        if verdicts:
            yield _person(each.completed_by), _verdict(verdicts[0], where), " ".join(notes).strip()


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

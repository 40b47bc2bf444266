"""Tasks for Label Studio: what it imports (JSON with predictions), and the labelling interface that they are for.

https://labelstud.io/guide/tasks and https://labelstud.io/guide/predictions
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from xml.sax.saxutils import quoteattr

VERDICTS = ("right", "wrong", "unclear")
IMAGE, BOXES, VERDICT, NOTE = "image", "boxes", "verdict", "note"
"""Names in the interface, which are those of an annotation's results too."""
Box = Sequence[float]


def interface(text: str, title: str = "") -> str:
    """The labelling interface of tasks: an image with boxes, the text in the field `text`, and what to tick about it."""
    choices = "".join(f"<Choice value={quoteattr(verdict)} hotkey={quoteattr(verdict[0])}/>" for verdict in VERDICTS)
    header = f"  <Header value={quoteattr(title)}/>\n" if title else ""
    return (
        "<View>\n"
        f"{header}"
        f'  <Image name="{IMAGE}" value="${IMAGE}"/>\n'
        f'  <RectangleLabels name="{BOXES}" toName="{IMAGE}" value="$labels"/>\n'
        f'  <Text name="{text}" value="${text}"/>\n'
        f'  <Choices name="{VERDICT}" toName="{text}" choice="single" showInline="true">{choices}</Choices>\n'
        f'  <TextArea name="{NOTE}" toName="{text}" rows="1" placeholder="a note"/>\n'
        "</View>\n"
    )


def task(
    data: dict[str, Any], boxes: Iterable[tuple[str, float, Box]], size: tuple[int, int], model: str = "detector"
) -> dict[str, Any]:
    """A task with these data, and a prediction of the boxes (name, score, (left, top, right, bottom)) in an image of a size."""
    results = [_box(number, *box, size) for number, box in enumerate(boxes)]
    labels = dict.fromkeys(result["value"]["rectanglelabels"][0] for result in results)
    filled = {**data, "labels": [{"value": label} for label in labels]}
    predictions = [{"model_version": model, "result": results}] if results else []
    return {"data": filled, "predictions": predictions}


def _box(number: int, name: str, score: float, box: Box, size: tuple[int, int]) -> dict[str, Any]:
    """A box as a result; its sides are percentages of the image's."""
    width, height = size
    left, right = (min(max(side, 0), width) * 100 / width for side in (box[0], box[2]))
    top, bottom = (min(max(side, 0), height) * 100 / height for side in (box[1], box[3]))
    value = {"x": left, "y": top, "width": right - left, "height": bottom - top, "rotation": 0}
    return {
        "id": f"box-{number}",
        "type": "rectanglelabels",
        "from_name": BOXES,
        "to_name": IMAGE,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "score": score,
        "value": {**{key: round(side, 3) for key, side in value.items()}, "rectanglelabels": [name]},
    }

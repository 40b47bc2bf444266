"""`scene`: detects objects in scene images, with errors at a stated rate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from shardmill.language.lexicon import lexicon_digest
from shardmill.models.contract import DetectionResult, DetectRequest, Model, Reply
from shardmill.models.images import UnreadableImage, open_image


class SceneDetector(Model):
    """A detector for scene images. `miss_rate` and `false_alarm_rate` are the shares of names that it gets wrong."""

    def __init__(self, miss_rate: float = 0.0, false_alarm_rate: float = 0.0, seed: int = 0):
        self._rates = float(miss_rate), float(false_alarm_rate), int(seed)

    @classmethod
    def identity(cls, **settings: Any) -> dict[str, str]:
        """The error rates, and the digest of the lexicon whose colours it knows."""
        rates = "miss {}, false alarm {}, seed {}".format(*cls(**settings)._rates)  # noqa: SLF001
        return {"error rates": rates, "lexicon": lexicon_digest()}

    def stream(self, requests: Iterable[DetectRequest]) -> Iterator[Reply]:
        from shardmill.embedded.scene.reader import NotAScene, detect_objects

        for request in requests:
            try:
                found = detect_objects(open_image(request.image), request.names, *self._rates)
            except UnreadableImage as error:
                yield Reply(request.key, None, "unusable", "unreadable image", str(error))
            except NotAScene as error:
                yield Reply(request.key, None, "unusable", "not a scene image", f"{error}; for photos choose a real detector")
            else:
                yield Reply(request.key, {name: DetectionResult(result.score, result.boxes) for name, result in found.items()})

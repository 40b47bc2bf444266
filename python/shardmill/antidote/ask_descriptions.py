"""Ask for a description of the whole picture, in varied words.

python -m shardmill.antidote.ask_descriptions --run RUN --shard-index 3
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from random import Random
from typing import Any

import yaml

from shardmill.core.stage import Row, RowStage
from shardmill.core.stage_main import main
from shardmill.util.resources import resource_text
from shardmill.util.texts import cached

WORDINGS = "templates/antidote/descriptions.yaml"


class AskDescriptions(RowStage):
    """A request to describe the picture, its wording drawn by the row.

    verified_present (list) -> description (json): {"question"}.
    """

    name = "ask_descriptions"
    reads = ("verified_present",)
    adds = {"description": "json"}

    def fingerprint(self, model: Mapping[str, Any]) -> dict[str, str]:
        return {**super().fingerprint(model), "wordings": sha256(resource_text(WORDINGS).encode()).hexdigest()}

    def decide(self, row: Row, rng: Random) -> dict[str, Any]:
        return {"description": {"question": rng.choice(_wordings())}}


@cached
def _wordings() -> list[str]:
    return [str(wording) for wording in yaml.safe_load(resource_text(WORDINGS))]


if __name__ == "__main__":
    main(AskDescriptions)

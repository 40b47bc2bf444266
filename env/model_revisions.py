#!/usr/bin/env python3
"""Print the commits that the models of model files have on the Hugging Face hub today, to be reviewed and pinned.

    python env/model_revisions.py [slurm/models/NAME.yaml …]

Without files, those of slurm/models. Look at a commit before you pin it: https://huggingface.co/MODEL/tree/COMMIT. No file is
changed. HF_ENDPOINT names another hub; the token for gated models is read from the file that HF_TOKEN_FILE names.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[1] / "slurm" / "models"
FIELDS = {"model": "revision", "vision_encoder": None, "lora": None}
"""The fields of model files that name weights, and the field that pins them; None where none does."""
SERVED = "openai"


def main(files: list[Path]) -> int:
    """Print the commits of all models; returns 1 if one could not be found."""
    failed = 0
    for path in files:
        spec = yaml.safe_load(path.read_text(encoding="utf-8"))
        for field, pin in FIELDS.items():
            name = str(spec.get(field) or "").partition(":")[0]
            if not name or name.startswith(("/", ".", "~")) or spec.get("kind") == SERVED:
                continue
            try:
                commit = commit_of(name, str(spec.get(pin) or "main") if pin else "main")
                line = f"{pin}: {commit}" if pin else f"# no field pins it; the commit is {commit}"
                print(f"{path.name}: {name}\n    {line}")
            except (OSError, ValueError, KeyError) as error:
                failed = 1
                print(f"{path.name}: {name}: not found ({error})", file=sys.stderr)
    return failed


def commit_of(model: str, revision: str) -> str:
    """The commit of a branch or tag. Raises OSError if the hub does not have it, ValueError if it answers something else."""
    endpoint = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    path = "/".join(urllib.parse.quote(part, safe="") for part in model.split("/"))
    request = urllib.request.Request(f"{endpoint}/api/models/{path}/revision/{urllib.parse.quote(revision, safe='')}")
    if token_file := os.environ.get("HF_TOKEN_FILE"):
        # A header that is not passed on when the hub redirects.
        request.add_unredirected_header("Authorization", f"Bearer {Path(token_file).read_text(encoding='utf-8').strip()}")
    with urllib.request.urlopen(request, timeout=30) as response:
        answer: Any = json.load(response)
    commit = str(answer["sha"])
    if len(commit) != 40 or not set(commit) <= set("0123456789abcdef"):
        raise ValueError(f"{commit[:60]!r} is not a commit")
    return commit


if __name__ == "__main__":
    sys.exit(main([Path(each) for each in sys.argv[1:]] or sorted(FOLDER.glob("*.yaml"))))

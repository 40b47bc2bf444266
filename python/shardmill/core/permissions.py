"""What a run may use of its user beside code: keys of servers, code that comes with weights, site files.

A run folder may have been written to by others, so what its files name is not enough. As with code (`core.user_code`), the user's
own command must have named it: the command that started the run, one that changed the model, or the environment.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from shardmill.core.user_code import allow_all, allowed_code
from shardmill.models.servers import DEFAULT_KEY_VARIABLE, KEY_HOSTS, host_of, trusted_variable
from shardmill.util.errors import UserError

KEY, WEIGHTS, ENGINE, SITE = "key ", "weights ", "engine ", "site "
"""How the names of permissions begin; those of code never do."""
PINNED = re.compile(r"[^\s@]+@[0-9a-f]{40}")


def needed_by(spec: Mapping[str, Any]) -> set[str]:
    """The permissions that a model's settings need."""
    keys = {f"{KEY}{variable}@{host}" for variable, host in _keys(spec)}
    return keys | {f"{WEIGHTS}{name}" for name in _remote_code(spec)} | {f"{ENGINE}{name}" for name in _engine(spec)}


def _keys(spec: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The key variables that a model sends somewhere, each with a host."""
    urls = spec.get("base_urls")
    variable = str(spec.get("key_variable") or DEFAULT_KEY_VARIABLE)
    return [(variable, host_of(str(url))) for url in urls] if isinstance(urls, list) else []


def _remote_code(spec: Mapping[str, Any]) -> list[str]:
    """The weights whose own code a model runs: `MODEL@COMMIT` of the hub, or a folder."""
    if not spec.get("trust_remote_code"):
        return []
    model, revision = str(spec.get("model", "")), spec.get("revision")
    return [f"{model}@{revision}" if revision else model]


def _engine(spec: Mapping[str, Any]) -> list[str]:
    """A digest of the arguments that go to an engine as they are: some of them name code."""
    return [sha256(json.dumps(spec["engine"], sort_keys=True).encode()).hexdigest()[:16]] if spec.get("engine") else []


def allow_models(specs: Iterable[Mapping[str, Any]], but: Iterable[Mapping[str, Any]] = ()) -> None:
    """Permit what models need that the user's own command names; not what models of the run folder (`but`) need already."""
    new = {name for spec in specs for name in needed_by(spec)} - {name for spec in but for name in needed_by(spec)}
    allow_all(dict.fromkeys(sorted(new), ""))


def allow_named(reference: str) -> bool:
    """Permit what a user's `--code` names, if that is a model's: `MODEL@COMMIT`, a folder of weights, or `engine:DIGEST`.

    Returns:
        Whether it is one of these.
    """
    kind, _, digest = reference.partition(":")
    if kind == "engine":
        allow_all({f"{ENGINE}{digest}": ""})
    elif PINNED.fullmatch(reference) or Path(reference).is_dir():
        allow_all({f"{WEIGHTS}{reference}": ""})
    else:
        return False
    return True


def permitted(specs: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The permissions that a run uses and has, to be remembered with its code: those of its models, and its site files."""
    wanted = {name for spec in specs for name in needed_by(spec)}
    return {name: "" for name in allowed_code() if name in wanted or name.startswith(SITE)}


def check_model(stage: str, spec: Mapping[str, Any]) -> None:
    """Check what a planned model needs, before it is loaded.

    Raises:
        UserError: If it would send a key to a host, or run code of weights, that no command of this user has named.
    """
    allowed = allowed_code()
    for variable, host in _keys(spec):
        is_set = os.environ.get(variable) or os.environ.get(f"{variable}_FILE")
        if is_set and f"{KEY}{variable}@{host}" not in allowed and trusted_variable(f"https://{host}") != variable:
            raise UserError(
                f"the plan sends the key in {variable} to {host} (stage {stage}), which no command of yours has named; "
                f"if you trust it: export {KEY_HOSTS}={host}={variable}, else: unset {variable}"
            )
    for name in _remote_code(spec):
        if f"{WEIGHTS}{name}" not in allowed:
            raise UserError(
                f"the plan runs the code that comes with the weights {name} (stage {stage}), which no command of yours named; "
                f"if you trust it: --code {name}"
            )
    for digest in _engine(spec):
        if f"{ENGINE}{digest}" not in allowed:
            raise UserError(
                f"the plan gives the engine of stage {stage} arguments that no command of yours named: "
                f"{json.dumps(spec['engine'])[:300]}; if you trust them: --code engine:{digest}"
            )


def allow_site(reference: str) -> None:
    """Permit a site file that the user's command names: its health check and environment are run."""
    allow_all({f"{SITE}{reference}": ""})


def is_permitted_site(reference: str) -> bool:
    """Whether a record may name this site: one of `slurm/sites`, or a file that a command of this user named for the run."""
    own = Path(reference).suffix not in (".yaml", ".yml") and "/" not in reference
    return own or f"{SITE}{reference}" in allowed_code()

"""Upload an export to a dataset repository of the Hugging Face Hub.

Files are uploaded one by one and become visible by a single commit at the end: nobody ever sees half of a dataset. What the Hub
has already, committed or only uploaded, is not uploaded again, so that an interrupted push continues where it was.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from shardmill import __version__
from shardmill.export.folder import LEFT_OUT, RECORD
from shardmill.export.make import Exported
from shardmill.util.atomic import file_digest
from shardmill.util.errors import UserError

TOKEN = "HF_TOKEN"
TOKENS = "https://huggingface.co/settings/tokens"
ATTEMPTS, FIRST_WAIT = 4, 2.0
"""The library retries the upload of a file by itself; these are for the calls that it does not retry."""
PASSING = (408, 425, 429, 500, 502, 503, 504)
REPOSITORY = re.compile(r"[\w-]{1,96}/\w(?:[\w.-]{0,94}\w)?", re.ASCII)
NUMBERED = re.compile(r"(data/.+)-\d{5}\.parquet")

Result = TypeVar("Result")


@dataclass(frozen=True)
class Pushed:
    """What a push did.

    Attributes:
        url: The dataset's page.
        uploaded: The files that were uploaded or written anew.
        kept: How many files the Hub had already.
        removed: Files of an earlier push that are not part of this export.
    """

    url: str
    uploaded: list[str]
    kept: int
    removed: list[str]


@dataclass(frozen=True)
class _Repository:
    """A dataset repository, and how it is reached."""

    api: Any
    name: str

    def call(self, method: str, **options: Any) -> Any:
        """Call a method of the API on the repository. Raises UserError for what the user can fix."""
        return _retried(lambda: getattr(self.api, method)(self.name, repo_type="dataset", **options), self.name)


def push(
    exported: Exported,
    name: str,
    *,
    private: bool = True,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Pushed:
    """Upload a finished export that has a card.

    Args:
        exported: The export.
        name: The repository, USER/NAME; it is created if it does not exist.
        private: Whether a repository that is created is private; one that exists stays as it is.
        report: Called with the number of files that are uploaded, and with that of all.

    Raises:
        UserError: If there is no token in the environment, or the Hub refuses it, or the Hub cannot be reached.
    """
    repository = _open(name)
    url = str(repository.call("create_repo", private=private, exist_ok=True))
    files = _files_of(exported)
    remote = {each.path: each for each in _tree(repository)}
    wanted = [path for path, size in files.items() if not _is_there(exported, path, size, remote.get(path))]
    stems = {found[1] for path in files if (found := NUMBERED.fullmatch(path))}
    stale = [path for path in remote if path not in files and (found := NUMBERED.fullmatch(path)) and found[1] in stems]
    if wanted or stale:
        _commit(repository, exported, wanted, stale, report)
    return Pushed(url, wanted, len(files) - len(wanted), stale)


def _commit(
    repository: _Repository,
    exported: Exported,
    wanted: list[str],
    stale: list[str],
    report: Callable[[int, int], None],
) -> None:
    """Upload the files that are wanted, each by itself, and make all changes visible at once."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    additions = []
    for done, path in enumerate(wanted, 1):
        addition = CommitOperationAdd(path, str(exported.path / path))
        repository.call("preupload_lfs_files", additions=[addition], free_memory=False)
        additions.append(addition)
        report(done, len(wanted))
    removals = [CommitOperationDelete(path) for path in stale]
    message = f"{exported.record['pipeline']} data made by shardmill {__version__}"
    repository.call("create_commit", operations=[*additions, *removals], commit_message=message)


def _open(name: str) -> _Repository:
    try:
        from huggingface_hub import HfApi, constants
        from huggingface_hub.utils.tqdm import disable_progress_bars
    except ImportError as error:
        raise UserError(f"{error}; install what it needs with: pip install 'shardmill[hub]'") from error
    if not REPOSITORY.fullmatch(name) or ".." in name or "--" in name:
        raise UserError(f"{name!r} is not a repository of the Hub; name it USER/NAME")
    token = os.environ.get(TOKEN, "").strip()
    if not token:
        raise UserError(f"the Hub wants a token: make one with write access at {TOKENS} and set it as {TOKEN}")
    disable_progress_bars()
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or constants.ENDPOINT
    return _Repository(HfApi(endpoint=endpoint, token=token, library_name="shardmill"), name)


def _files_of(exported: Exported) -> dict[str, int]:
    """The files of an export with their sizes, the card last: it names the others."""
    names = [*exported.record["files"], RECORD]
    if (exported.path / LEFT_OUT).exists():
        names.append(LEFT_OUT)
    return {name: (exported.path / name).stat().st_size for name in sorted(names, key=lambda name: name.endswith(".md"))}


def _tree(repository: _Repository) -> Iterator[Any]:
    """The files of the repository."""
    listed = _retried(
        lambda: list(repository.api.list_repo_tree(repository.name, recursive=True, repo_type="dataset")), repository.name
    )
    return (each for each in listed if hasattr(each, "blob_id"))


def _is_there(exported: Exported, path: str, size: int, remote: Any) -> bool:
    """Whether the Hub has the file with the same content."""
    if remote is None or remote.size != size:
        return False
    if remote.lfs is not None:
        known = exported.record["files"].get(path, {}).get("sha256") or file_digest(exported.path / path)
        return bool(remote.lfs.sha256 == known)
    return bool(remote.blob_id == _git_blob_id(exported.path / path))


def _git_blob_id(path: Path) -> str:
    """The name that git gives to the content of a file."""
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _retried(call: Callable[[], Result], name: str) -> Result:
    """The result of a call; what fails in passing is tried again. Raises UserError for what does not pass."""
    for attempt in range(ATTEMPTS):
        try:
            return call()
        except Exception as error:
            status, told = _failure(error)
            if status is None and told is None:
                raise
            if attempt + 1 < ATTEMPTS and (status is None or status in PASSING):
                time.sleep(FIRST_WAIT * 2**attempt)
                continue
            raise UserError(_explain(status, told or "", name)) from error
    raise AssertionError("unreachable")


def _failure(error: BaseException | None) -> tuple[int | None, str | None]:
    """The HTTP status of an error, and what it says; (None, None) if the Hub has nothing to do with it."""
    while error is not None:
        if (response := getattr(error, "response", None)) is not None:
            return int(response.status_code), " ".join(str(error).split())[:300]
        if isinstance(error, ConnectionError) or type(error).__module__.startswith(("httpx", "httpcore")):
            return None, f"{type(error).__name__}: {error}"[:300]
        error = error.__cause__ or error.__context__
    return None, None


def _explain(status: int | None, told: str, name: str) -> str:
    if status == 401:
        return f"the Hub refuses the token in {TOKEN}; make one with write access at {TOKENS}"
    if status == 403:
        return f"the token in {TOKEN} may not write to {name}; give it write access at {TOKENS}, or name another repository"
    if status == 404:
        return f"the Hub has no dataset {name} that the token in {TOKEN} may see"
    again = "what is uploaded stays there; run the same command again later"
    return f"the Hub does not answer ({told}); {again}" if status is None or status in PASSING else f"the Hub refuses: {told}"

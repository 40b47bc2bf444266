"""A run folder cannot make a worker send a key, run code of weights, or run a site's health check."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shardmill.core.permissions import allow_named, check_model, is_permitted_site
from shardmill.core.plan_changes import redo
from shardmill.core.shard_runner import run_shard
from shardmill.core.user_code import allowed_code, recall_code
from shardmill.models.settings import read_settings
from shardmill.models.text.transformers import TransformersSettings
from shardmill.models.text.vllm import VllmSettings
from shardmill.store.run_folder import RunFolder
from shardmill.util.errors import UserError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
STAGE = "extract_objects"
MakeRun = Callable[..., RunFolder]


def with_model(run: RunFolder, **changes: Any) -> RunFolder:
    """The run after somebody else has changed the model of a stage in its plan."""
    path = run.path / "plan.json"
    plan = json.loads(path.read_text())
    for stage in plan["stages"]:
        if stage["name"] == STAGE:
            stage["model"] = {**stage["model"], **changes}
    path.write_text(json.dumps(plan))
    return RunFolder(run.path)


@pytest.fixture
def served(make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run whose model is called at a provider, as its user's own model file says."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-key")
    monkeypatch.setenv("PAYROLL_KEY", "another-secret")
    model = tmp_path / "mine.yaml"
    model.write_text("role: text\nkind: openai\nbase_urls: [http://127.0.0.1:9/v1]\nmodel: m\nwait_minutes: 0\ntries: 1\n")
    return make_run(settings=[f"{STAGE}.model={model}"])


def test_the_users_own_model_file_says_where_a_key_goes(served: RunFolder) -> None:
    with pytest.raises(UserError, match="no server of m has answered"):
        run_shard(served, STAGE, 0)


@pytest.mark.parametrize(
    "changes",
    [{"base_urls": ["http://127.0.0.1:9/v1", "http://elsewhere.example/v1"]}, {"key_variable": "PAYROLL_KEY"}],
)
def test_a_changed_plan_sends_no_key_elsewhere_and_no_other_key(
    served: RunFolder, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = with_model(served, **changes)
    with pytest.raises(UserError, match=r"the plan sends the key in \w+ to .*SHARDMILL_KEY_HOSTS") as error:
        run_shard(changed, STAGE, 0)
    assert "secret" not in str(error.value)
    monkeypatch.setenv("SHARDMILL_KEY_HOSTS", "elsewhere.example, 127.0.0.1=PAYROLL_KEY")
    check_model(STAGE, changed.stage(STAGE).model)


def test_without_a_key_there_is_nothing_to_protect(served: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    check_model(STAGE, with_model(served, base_urls=["http://elsewhere.example/v1"]).stage(STAGE).model)


def test_a_later_process_of_the_user_knows_what_the_command_permitted(
    served: RunFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SHARDMILL_CODE", "{}")
    recall_code(served.path)
    check_model(STAGE, served.stage(STAGE).model)
    monkeypatch.setenv("SHARDMILL_CODE", "{}")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "other user"))
    recall_code(served.path)
    with pytest.raises(UserError, match="no command of yours has named"):
        check_model(STAGE, served.stage(STAGE).model)


def test_a_redo_permits_what_its_settings_name_and_not_what_the_plan_was_changed_to(served: RunFolder) -> None:
    changed = with_model(served, base_urls=["http://elsewhere.example/v1"])
    again = redo(changed, STAGE, [f"{STAGE}.model.max_in_flight=3"])
    with pytest.raises(UserError, match=r"to elsewhere\.example"):
        check_model(STAGE, again.stage(STAGE).model)
    again = redo(again, STAGE, [f'{STAGE}.model.base_urls=["http://own.example/v1"]'])
    check_model(STAGE, again.stage(STAGE).model)


def test_a_plan_cannot_name_a_model_file_which_could_name_code(make_run: MakeRun, tmp_path: Path) -> None:
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    (tmp_path / "evil.yaml").write_text("role: text\nkind: evil.py:Evil\n")
    changed = with_model(make_run(), file=str(tmp_path / "evil.yaml"))
    with pytest.raises(UserError, match=r"plan\.json is corrupt: the model of stage extract_objects names a file"):
        redo(changed, STAGE)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("settings", [VllmSettings, TransformersSettings])
@pytest.mark.parametrize("revision", [None, "main", "v1.0", COMMIT[:12]])
def test_code_of_weights_is_run_only_for_a_named_commit(settings: Any, revision: str | None) -> None:
    with pytest.raises(UserError, match=r"^the model: trust_remote_code runs code from the hub; name the commit"):
        read_settings(settings, {"model": "org/name", "revision": revision, "trust_remote_code": True})
    assert read_settings(settings, {"model": "org/name", "revision": COMMIT, "trust_remote_code": True}).trust_remote_code


def test_code_of_weights_is_no_argument_of_the_engine() -> None:
    with pytest.raises(UserError, match="trust_remote_code is a setting of its own"):
        read_settings(VllmSettings, {"model": "org/name", "engine": {"trust_remote_code": True}})


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"model": "org/name", "revision": COMMIT, "trust_remote_code": True}, f"weights org/name@{COMMIT}"),
        ({"model": "/tmp/evil", "trust_remote_code": True}, "weights /tmp/evil "),
        ({"model": "org/name", "engine": {"worker_cls": "evil.Worker"}}, '"worker_cls": "evil.Worker"'),
    ],
)
def test_a_plan_alone_runs_no_code_of_weights(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        check_model(STAGE, {"kind": "vllm", **spec})
    option = str(error.value).rpartition("--code ")[2]
    if not option.startswith("/tmp"):
        assert allow_named(option)
        check_model(STAGE, {"kind": "vllm", **spec})


def test_a_site_file_that_a_record_names_is_used_only_if_the_user_has_named_it(tmp_path: Path) -> None:
    assert is_permitted_site("mine")
    assert not any(map(is_permitted_site, (str(tmp_path / "evil.yaml"), "evil.yaml", "../evil", "evil.yml")))
    assert not [name for name in allowed_code() if name.startswith("site")]

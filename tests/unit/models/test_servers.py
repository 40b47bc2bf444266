"""A folder of announced servers that other users can write to."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from shardmill.models.servers import Announcement, Server, live_servers, trusted_variable
from shardmill.models.text.openai_endpoints import announced_key
from shardmill.util.errors import UserError

SOMEBODY = 12_345
as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can give files to another user")


def announce(folder: Path, key: str | None = None, name: str = "n1") -> Announcement:
    card = Announcement(folder, Server(url=f"http://{name}:8000/v1", model="m", node=name, pid=7), key)
    card.beat()
    return card


def test_a_key_is_read_from_beside_an_announcement_of_our_own_and_from_nowhere_else(tmp_path: Path) -> None:
    private = tmp_path / "id_rsa"
    private.write_text("the private key")
    folder = tmp_path / "servers"
    card = announce(folder, "own-server-key")
    (found,) = live_servers(folder)
    assert found.own and found.key == "own-server-key" and "own-server-key" not in repr(found)
    announced = found.model_dump(exclude={"own", "key"})
    card.path.write_text(json.dumps({**announced, "key_file": str(private), "key": "x", "own": True}))
    card.key_path.unlink()
    (found,) = live_servers(folder)
    assert found.key is None
    card.key_path.symlink_to(private)
    assert live_servers(folder) == []


def test_a_key_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    announce(tmp_path, "own-server-key").key_path.chmod(0o640)
    assert live_servers(tmp_path) == []


@pytest.mark.parametrize("change", [pytest.param("owner", marks=as_root), "mode"])
def test_what_another_user_can_have_written_gets_a_request_only_for_a_listed_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.setenv("TEAM_KEY", "team-key-1")
    card = announce(tmp_path, "own-server-key")
    if change == "owner":
        os.chown(card.path, SOMEBODY, SOMEBODY)
    else:
        card.path.chmod(0o664)
    (found,) = live_servers(tmp_path)
    assert not found.own and found.key is None
    with pytest.raises(UserError, match=r"another user announced it; .*SHARDMILL_KEY_HOSTS to n1:8000"):
        announced_key(found)
    monkeypatch.setenv("SHARDMILL_KEY_HOSTS", "n2=TEAM_KEY, n1:8000=TEAM_KEY")
    assert announced_key(found) == "team-key-1"
    monkeypatch.setenv("SHARDMILL_KEY_HOSTS", "n1:9000=TEAM_KEY")
    with pytest.raises(UserError):
        announced_key(found)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[" * 100_000,
        "1" * 5_000,
        '{"url": ["http://n1/v1"], "model": "m"}',
        '{"url": "file:///etc/passwd", "model": "m"}',
        '{"url": "http://n1/v1\\u001b]52;c;eA==\\u0007", "model": "m"}',
        '{"url": "http://user:word@n1/v1", "model": "m"}',
        '{"url": "http://n1/v1", "model": {"m": 1}}',
        '{"url": "http://n1/v1", "model": "m", "pid": 1e400}',
        '{"url": "http://n1/v1", "model": "m", "pid": -1}',
        '{"url": "http://n1/v1", "model": "m", "node": "../n1"}',
        '{"url": "http://n1/v1", "model": "m", "started": 5}',
        json.dumps({"url": "http://n1/v1", "model": "m" * 20_000}),
    ],
)
def test_malformed_announcements_are_passed_over(tmp_path: Path, text: str) -> None:
    announce(tmp_path, name="good")
    (tmp_path / "bad.json").write_text(text)
    assert [server.node for server in live_servers(tmp_path)] == ["good"]


def test_pipes_links_and_folders_are_passed_over(tmp_path: Path) -> None:
    card = announce(tmp_path, name="good")
    os.mkfifo(tmp_path / "a.json")
    (tmp_path / "b.json").symlink_to(card.path)
    (tmp_path / "c.json").mkdir()
    assert len(live_servers(tmp_path)) == 1


def test_a_listed_host_stands_for_all_its_ports_or_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHARDMILL_KEY_HOSTS", "API.example.org=EXAMPLE_KEY node07:8000")
    assert trusted_variable("https://api.example.org/v1") == trusted_variable("https://api.example.org:444/v1") == "EXAMPLE_KEY"
    assert trusted_variable("http://node07:8000/v1") == "OPENAI_API_KEY"
    assert trusted_variable("http://node07:8001/v1") is None
    assert trusted_variable("https://api.example.org.evil.example/v1") is None

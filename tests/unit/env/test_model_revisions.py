"""The script that prints the commits of models on the hub, against a small hub of its own."""

from __future__ import annotations

import importlib.util
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType

import pytest

COMMIT = "ab" * 20
SCRIPT = Path(__file__).parents[3] / "env" / "model_revisions.py"


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("model_revisions", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A hub that knows org/name; gives the paths that it was asked for."""
    paths: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            known = self.path.startswith("/api/models/org/name/")
            self.send_response(200 if known else 404)
            self.end_headers()
            self.wfile.write(json.dumps({"sha": COMMIT if known else "?"}).encode())

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.delenv("HF_TOKEN_FILE", raising=False)
    yield paths
    server.shutdown()
    server.server_close()


def test_commits_are_printed_for_review_and_no_file_is_changed(
    script: ModuleType, asked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("role: text\nkind: vllm\nmodel: org/name\nrevision: v1\nlora: org/name\n")
    assert script.main([mine]) == 0
    assert capsys.readouterr().out == (
        f"mine.yaml: org/name\n    revision: {COMMIT}\nmine.yaml: org/name\n    # no field pins it; the commit is {COMMIT}\n"
    )
    assert asked == ["/api/models/org/name/revision/v1", "/api/models/org/name/revision/main"]
    assert "revision: v1" in mine.read_text()


def test_folders_and_providers_are_not_looked_up_and_an_unknown_model_fails(
    script: ModuleType, asked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    specs = ("kind: vllm\nmodel: /a/folder", "kind: openai\nmodel: org/name", "kind: vllm\nmodel: org/other")
    files = [tmp_path / f"{number}.yaml" for number in range(3)]
    for path, spec in zip(files, specs, strict=True):
        path.write_text(f"{spec}\n")
    assert script.main(files) == 1
    assert "2.yaml: org/other: not found" in capsys.readouterr().err and len(asked) == 1

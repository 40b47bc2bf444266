"""What others wrote reaches the terminal as text: it sets no title, fills no clipboard and hides nothing."""

from __future__ import annotations

import ast
import io
import json
import logging
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.table import Table

import shardmill
from conftest import write_captions
from shardmill.cli.main import cli
from shardmill.store.run_folder import RunFolder
from shardmill.util.console import TextConsole
from shardmill.util.errors import UserError
from shardmill.util.exits import user_errors
from shardmill.util.plain_text import visible
from shardmill.util.terminal import VisibleFormatter, show_traceback

ROOT = Path(shardmill.__file__).parent
CLIPBOARD, TITLE, CLEAR, C1 = "\x1b]52;c;cm0gLXJmIH4=\x07", "\x1b]0;owned\x1b\\", "\x1b[2J\x1b[H", "\x9d0;owned\x9c"
HOSTILE = f"a dog {CLIPBOARD}{TITLE}{CLEAR}{C1} on\r grass \u202egnp.exe\u2066 \ud800"
SENT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
PRINTERS = {"util/terminal.py", "util/console.py"}


def test_nothing_prints_but_the_one_module_that_may() -> None:
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if name not in PRINTERS else ():
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            imported = [alias.name for alias in node.names] if isinstance(node, ast.ImportFrom) else []
            if called in {"print", "click.echo", "click.secho", "click.style", "logging.basicConfig", "rich.print"}:
                found.append(f"{name}:{node.lineno}: {called}")
            if re.fullmatch(r"sys\.(stdout|stderr)\.write(lines)?", called) or "Console" in imported:
                found.append(f"{name}:{node.lineno}: {called or 'Console'}")
    assert found == []


def test_control_characters_are_shown_and_lines_stay_lines() -> None:
    assert visible("one\ttwo\r\nthree\n") == "one\ttwo\nthree\n"
    shown = visible(HOSTILE)
    assert not SENT.search(shown) and "a dog \\u001b]52;c;cm0g" in shown and " on\\u000d grass \\u202e" in shown
    shown.encode("utf-8")
    assert visible("schöne Grüße, 犬, 👩‍🚀, שלום") == "schöne Grüße, 犬, 👩‍🚀, שלום"


def test_json_stays_json() -> None:
    text = json.dumps({"caption": HOSTILE}, ensure_ascii=False)
    assert json.loads(visible(text)) == {"caption": HOSTILE}


def test_explain_shows_a_hostile_caption_and_does_not_send_it(make_run: Callable[..., RunFolder], tmp_path: Path) -> None:
    caption = HOSTILE.replace("\ud800", "")
    run = make_run(input=write_captions(tmp_path / "hostile.csv", [caption] * 4))
    for options in ((), ("--json",)):
        output = CliRunner().invoke(cli, ["explain", str(run.path), "0", *options], catch_exceptions=False).output
        assert "a dog \\u001b]52;c;" in output and not SENT.search(output)


def test_tables_send_only_their_own_styles_and_read_no_markup() -> None:
    file = io.StringIO()
    table = Table(title=HOSTILE)
    table.add_column(HOSTILE, style="red")
    table.add_row(HOSTILE)
    table.add_row("[link=http://evil.example]x[/link] :smile:")
    TextConsole(file=file, force_terminal=True, width=400).print(table)
    output = re.sub(r"\x1b\[[0-9;]*m", "", file.getvalue())
    assert output != file.getvalue() and not SENT.search(output)
    assert "[link=http://evil.example]x[/link] :smile:" in output


def test_errors_logs_and_tracebacks_are_text(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    with pytest.raises(SystemExit), user_errors():
        raise UserError(f"server said: {HOSTILE}")
    assert sys.excepthook is show_traceback
    try:
        raise RuntimeError(HOSTILE)
    except RuntimeError as error:
        show_traceback(type(error), error, error.__traceback__)
        record = logging.LogRecord("shardmill", logging.ERROR, "f.py", 1, "failed: %s", (HOSTILE,), sys.exc_info())
    output = capsys.readouterr().err + VisibleFormatter("%(message)s").format(record)
    assert output.count("\\u001b]52;c;") >= 4 and not SENT.search(output)

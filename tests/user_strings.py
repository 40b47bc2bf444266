"""Print every text of the package that a user may see, each with its file and line, to be read in one list.

    python tests/user_strings.py [PART_OF_PATH…]

These are messages of UserError and other exceptions, what is printed, help texts, docstrings of commands, reasons of rejects,
and descriptions of settings. Placeholders are in braces, as in the code.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "python" / "shardmill"
CALLS = {
    "UserError",
    "ModelDied",
    "Stopped",
    "echo",
    "secho",
    "print",
    "fail",
    "Reject",
    "style",
    "say",
    "_say",
    "warning",
}
"""Calls whose texts people see, by the name of the function or method."""
KEYWORDS = {"help", "epilog", "short_help", "description", "metavar", "means", "meaning", "rule", "remedy", "title", "label"}
"""Keyword arguments whose texts people see, of any call."""
PRINTING = "print_"


def text_of(node: ast.AST) -> str:
    """The text of a literal, an f-string or a sum of them, "" for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(value.value if isinstance(value, ast.Constant) else f"{{{inner(value)}}}" for value in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return text_of(node.left) + text_of(node.right)
    if isinstance(node, ast.IfExp):
        return " | ".join(filter(None, (text_of(node.body), text_of(node.orelse))))
    return ""


def inner(value: ast.AST) -> str:
    """What an f-string puts in, as code."""
    return ast.unparse(value.value) if isinstance(value, ast.FormattedValue) else ""


def name_of(function: ast.AST) -> str:
    """The last name of what is called."""
    return function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""


def is_command(node: ast.AST) -> bool:
    """Whether a function is made a command by a decorator."""
    calls = [each for each in getattr(node, "decorator_list", ()) if isinstance(each, ast.Call)]
    return any(name_of(each.func) in ("command", "group") for each in calls)


def texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Lines and texts of a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and is_command(node):
            yield node.lineno, ast.get_docstring(node) or ""
        if not isinstance(node, ast.Call):
            continue
        name = name_of(node.func)
        if name in CALLS or name.startswith(PRINTING):
            yield from ((arg.lineno, text_of(arg)) for arg in node.args)
        yield from ((word.value.lineno, text_of(word.value)) for word in node.keywords if word.arg in KEYWORDS)


def main(parts: list[str]) -> None:
    """Print the texts of the files whose paths have one of `parts`, or of all."""
    for path in sorted(PACKAGE.rglob("*.py")):
        shown = path.relative_to(PACKAGE.parents[1])
        if parts and not any(part in str(shown) for part in parts):
            continue
        for line, text in sorted(set(texts(ast.parse(path.read_text(encoding="utf-8"))))):
            if " " in text.strip() and any(map(str.isalpha, text)):
                print(f"{shown}:{line}: {' '.join(text.split())}")


if __name__ == "__main__":
    main(sys.argv[1:])

"""The command that scores answers to CP-Bench questions."""

from __future__ import annotations

import json
from pathlib import Path

import click

from shardmill.util.commands import FILE, LOOK, command, json_option
from shardmill.util.errors import UserError
from shardmill.util.terminal import echo


@command(LOOK)
@click.argument("answers", type=FILE)
@json_option
def cpbench(answers: Path, as_json: bool) -> None:
    """Score a model's answers to CP-Bench.

    Does it decline false presuppositions? ANSWERS is a JSON lines file with `tag` (cpq, tpq) and `verdict` (accept, reject),
    or `answer` and `object`. An answer that declines counts as reject. The score is 0.6 × share of CPQs rejected + 0.2 ×
    share of TPQs accepted + 0.2 × accuracy.
    """
    from shardmill.antidote.cpbench import read_answers, score

    result = score(read_answers(answers))
    if not result.cpq + result.tpq:
        raise UserError(f"{answers} has no answers")
    if as_json:
        echo(json.dumps({**vars(result), "accuracy": result.accuracy, "score": result.total}))
        return
    echo(f"CPQ rejected {result.cpq_rejected:,}/{result.cpq:,}, TPQ accepted {result.tpq_accepted:,}/{result.tpq:,}")
    echo(f"accuracy {result.accuracy:.1%}, score {100 * result.total:.1f}")

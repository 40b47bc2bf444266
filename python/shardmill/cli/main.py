"""The `shardmill` command. What it does are functions elsewhere; they are imported inside the commands, so that help is quick."""

from __future__ import annotations

from functools import cache

import click

from shardmill import __version__
from shardmill.cli.change import cancel, replan, rethreshold, retry, run
from shardmill.cli.check import audit, compare
from shardmill.cli.cluster import doctor, serve, servers, site
from shardmill.cli.hand_on import build, combine, export
from shardmill.cli.look import explain, report
from shardmill.cli.prepare import convert, make_toy_images
from shardmill.cli.preview import estimate, preview
from shardmill.cli.push import push
from shardmill.cli.start import launch, shard
from shardmill.cli.watch import failures, logs, status
from shardmill.util.commands import SectionedGroup, print_warning
from shardmill.util.errors import UserError

FIRST_STEPS = """\
shardmill preview {pipeline}
shardmill launch {pipeline} --input captions.csv --run data/runs/first
shardmill status data/runs/first
shardmill explain data/runs/first 42
shardmill report data/runs/first"""


class ShardmillGroup(SectionedGroup):
    """All commands: those below, and those that pipelines bring, which are imported when help or an unknown name needs them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.commands, *(name for name in pipeline_commands() if name not in self.commands)]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        return self.commands.get(name) or pipeline_commands().get(name)

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from shardmill.core.registry import default_pipeline

        super().format_help_text(ctx, formatter)
        with formatter.section("First steps"):
            for line in FIRST_STEPS.format(pipeline=default_pipeline()).splitlines():
                formatter.write(f"{'':{formatter.current_indent}}{line}\n")

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from shardmill.core.registry import default_pipeline, pipeline_names
        from shardmill.util.resources import resource_names

        known = sorted({*pipeline_names(), *resource_names("slurm/pipelines")})
        names = [f"{name} (default)" if name == default_pipeline() else name for name in known]
        formatter.write_paragraph()
        formatter.write_text(f"Pipelines: {', '.join(names)}. Help on one command: shardmill COMMAND --help")


@cache
def pipeline_commands() -> dict[str, click.Command]:
    """The commands of all pipelines by name. A pipeline of another package that cannot be loaded is a warning."""
    from shardmill.core.registry import load_commands, pipeline_names

    found: dict[str, click.Command] = {}
    for name in pipeline_names():
        try:
            found |= {each.name: each for each in load_commands(name) if each.name}
        except UserError as error:
            print_warning(str(error))
    return found


@click.group(cls=ShardmillGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="shardmill")
def cli() -> None:
    """Turn tables of images and captions into vision-language training data, shard by shard, without losing a row.

    A run is a folder. Each stage reads a shard of the stage before it and writes the same shard of its own: the rows that came
    out, the rows that were rejected and why, and a manifest that marks the shard as finished. Any command can be run again:
    finished shards are never done twice.
    """


for each in (
    *(launch, preview, estimate, shard),
    *(status, failures, logs),
    *(report, explain, audit, compare),
    *(build, export, push, combine),
    *(retry, run, rethreshold, replan, cancel),
    *(convert, make_toy_images),
    *(doctor, site, serve, servers),
):  # the order of the help: rarely used commands last in their section
    cli.add_command(each)


def main() -> None:
    """The entry point: what the user can fix is one line and exit code 2."""
    from shardmill.util.exits import user_errors
    from shardmill.util.terminal import start_logging

    start_logging()
    with user_errors():
        cli(prog_name="shardmill")

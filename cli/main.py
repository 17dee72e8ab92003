"""The command `lyo`. A subcommand is imported when it is called, so that `lyo --help` is fast."""

from __future__ import annotations

import importlib
import os
import sys
from dataclasses import dataclass
from typing import Any

import click


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a subcommand lives (`module:attribute`) and its line in `lyo --help`."""

    target: str
    help: str


COMMANDS = {
    "up": Entry("lyo.cli.local.up:up", "Start the local Kafka and Postgres, create topics, migrate."),
    "down": Entry("lyo.cli.local.up:down", "Stop the local Kafka and Postgres; their data stays."),
    "demo": Entry("lyo.cli.local.demo:demo", "Run everything on this machine and show predictions."),
    "worker": Entry(
        "lyo.cli.processes.worker:worker",
        "Fold events and predict (one process; start as many as needed).",
    ),
    "sink": Entry("lyo.cli.processes.sink:sink", "Write predictions and rows into Postgres (one process)."),
    "subscribe": Entry(
        "lyo.cli.files.subscribe:subscribe", "Print changes from Postgres as JSON Lines, as they happen."
    ),
    "api": Entry("lyo.cli.processes.api:api", "Serve predictions over HTTP from Postgres (one process)."),
    "monitor": Entry(
        "lyo.cli.processes.monitor:monitor", "Watch the lag, show the on-call page (one process)."
    ),
    "lag": Entry("lyo.cli.operations.lag:lag", "Print the lag of workers and sinks per topic and partition."),
    "publish": Entry("lyo.cli.files.publish:publish", "Publish an event file to the topics."),
    "replay": Entry(
        "lyo.cli.files.replay:replay", "Fold event files without Kafka and print every prediction."
    ),
    "evaluate": Entry(
        "lyo.cli.files.evaluate:evaluate", "Measure predictions on event files, beside baselines."
    ),
    "fit": Entry("lyo.cli.files.fit:fit", "Fit the dropout model to event files, and write a model file."),
    "import": Entry("lyo.cli.files.importing:import_", "Convert publishers' files into an event file."),
    "simulate": Entry("lyo.cli.files.simulate:simulate", "Write a seeded event file of simulated learners."),
    "dlq": Entry(
        "lyo.cli.operations.dlq:dlq", "List, show and retry dead letters: events that could not be used."
    ),
    "misplaced": Entry(
        "lyo.cli.operations.misplaced:misplaced", "Move what another partitioner put in wrong partitions."
    ),
    "erase": Entry("lyo.cli.operations.erase:erase", "Erase a learner everywhere, and print a receipt."),
    "rebuild": Entry(
        "lyo.cli.operations.rebuild:rebuild", "Drop rows and predictions, to compute them again from the log."
    ),
    "contracts": Entry(
        "lyo.cli.files.contracts:contracts", "Write AsyncAPI, OpenAPI and JSON Schemas, or check them."
    ),
    "topics": Entry("lyo.cli.operations.topics:topics", "Create missing topics, and check the others."),
    "migrate": Entry(
        "lyo.cli.operations.migrate:migrate", "Bring the Postgres schema to the newest revision."
    ),
    "doctor": Entry("lyo.cli.operations.doctor:doctor", "Check a deployment and say what to do."),
    "settings": Entry(
        "lyo.cli.operations.settings:settings", "Print every setting, its default and its meaning."
    ),
    "bench": Entry("lyo.cli.local.bench:bench", "Measure speed, latency and memory of the full job."),
}


class LazyGroup(click.Group):
    """A click group that knows its subcommands from a table and imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names in the table's order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the subcommand `cmd_name`; None if there is no such name."""
        entry = COMMANDS.get(cmd_name)
        return None if entry is None else load(cmd_name, entry)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of subcommands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])


def load(name: str, entry: Entry) -> click.Command:
    """Import one subcommand; raises ClickException if its module or a package is missing."""
    module_name, _, attribute = entry.target.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] != "lyo":
            raise click.ClickException(
                f"'lyo {name}' needs {error.name}, which is not installed: pip install 'lyo-predictive[all]' "
                "(lyo-predictive[dev] for the local stack)"
            ) from None
        if error.name != module_name:
            raise
        raise click.ClickException(f"'lyo {name}' is not part of this version.") from None
    command = getattr(module, attribute)
    assert isinstance(command, click.Command)
    return command


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(package_name="lyo-predictive", prog_name="lyo")
def lyo() -> None:
    """Predictions about learners from a stream of their activity.

    Example: lyo up && lyo publish events.jsonl.gz

    Settings come from LYO_* environment variables. Exit code 0: success, 1: failure, 2: bad usage.
    LYO_DEBUG=1 shows where an error comes from.
    """


def explain(error: BaseException) -> str:
    """An error as one line."""
    text = " ".join(str(error).split())
    kind = type(error).__name__
    return f"Error: {text} ({kind})" if text else f"Error: {kind}"


def main(arguments: list[str] | None = None) -> Any:
    """Run `lyo`; an unexpected error is one line on standard error and exit code 1."""
    try:
        return lyo.main(args=arguments, prog_name="lyo")
    except BrokenPipeError:
        # The reader of the output has ended (`lyo replay ... | head`); this avoids a traceback at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if os.environ.get("LYO_DEBUG"):
            raise
        click.echo(explain(error), err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()

"""`lyo settings`: prints every environment variable, its default and its meaning."""

from __future__ import annotations

import json

import click
from rich.console import Console
from rich.table import Table

from lyo.streams.settings_checks import PREFIX
from lyo.streams.settings_reference import Setting, reference

HEADER = "| variable | values | default | what it is |\n|---|---|---|---|\n"


@click.command(epilog="Example: lyo settings --markdown")
@click.option("--markdown", is_flag=True, help="A Markdown table, as in docs/settings.md.")
@click.option("--json", "as_json", is_flag=True, help="JSON objects, one per line.")
def settings(*, markdown: bool, as_json: bool) -> None:
    """Print every setting. Settings are environment variables; a process names a bad one when it starts."""
    all_settings = reference()
    if as_json:
        for setting in all_settings:
            click.echo(json.dumps(setting._asdict()))
    elif markdown:
        click.echo(as_markdown(all_settings), nl=False)
    else:
        table = Table("variable", "values", "default", "what it is", box=None, pad_edge=False)
        for setting in all_settings:
            table.add_row(setting.variable, setting.values, setting.default, setting.description)
        Console(width=None if Console().is_terminal else 140).print(table)


def as_markdown(all_settings: list[Setting]) -> str:
    """The settings as a Markdown table."""
    code = "`{}`".format
    rows = "".join(
        f"| {code(name)} | {values} | {default and code(default)} | {description} |\n"
        for name, values, default, description in all_settings
    )
    return (
        f"# Settings\n\nEvery process reads them from the environment (`{PREFIX}...`) and nowhere else. "
        "A bad one ends the process with code 2 and one line that names it. "
        "This table is what `lyo settings --markdown` prints.\n\n" + HEADER + rows
    )

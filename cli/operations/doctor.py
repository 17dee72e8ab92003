"""`lyo doctor`: checks a deployment and says what to do."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from itertools import groupby

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lyo.ops.doctor.examine import examine, put_right
from lyo.ops.doctor.findings import Finding, Status, well
from lyo.streams.settings import Settings, load_settings

PLAIN_WIDTH = 160
_STYLE = {Status.OK: "green", Status.WARNING: "yellow", Status.ERROR: "red", Status.UNKNOWN: "magenta"}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--fix", is_flag=True, help="Create missing topics, database and tables; delete nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor(*, fix: bool, as_json: bool) -> None:
    """Check Kafka and Postgres at LYO_BOOTSTRAP_SERVERS and LYO_DATABASE_URL.

    Every finding says what was found and, if it is not ok, what to do. The exit code is 0 if no finding is an
    error or unknown; warnings do not count. Run it with the settings of the processes.

    Example: lyo doctor --fix
    """
    settings = load_settings()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    findings, done = asyncio.run(_run(settings, fix=fix))
    if as_json:
        click.echo(
            json.dumps({"ok": well(findings), "done": done, "findings": msgspec.to_builtins(findings)})
        )
    else:
        _print(findings, done)
    sys.exit(0 if well(findings) else 1)


async def _run(settings: Settings, *, fix: bool) -> tuple[list[Finding], list[str]]:
    findings = await examine(settings)
    done = await put_right(settings, findings) if fix else []
    return (await examine(settings) if done else findings), done


def _print(findings: list[Finding], done: list[str]) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PLAIN_WIDTH)
    for line in done:
        console.print(line, markup=False)
    table = Table("", "checked", "about", "found, and what to do", box=None, pad_edge=False)
    for _, alike in groupby(findings, key=_appearance):
        first, *more = alike
        text = Text(first.found)
        if first.to_do:
            text.append(f"\n→ {first.to_do}", "bold")
        about = "\n".join([first.about, *(finding.about for finding in more)])
        table.add_row(Text(first.status, _STYLE[first.status]), first.check, Text(about), text)
    console.print(table)
    counts = {status: sum(finding.status is status for finding in findings) for status in Status}
    console.print(", ".join(f"{count} {status}" for status, count in counts.items()))


def _appearance(finding: Finding) -> tuple[str, Status, str, str]:
    return finding.check, finding.status, finding.found, finding.to_do

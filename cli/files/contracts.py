"""`lyo contracts`: writes or checks the published contracts."""

import json
from pathlib import Path

import click

from lyo.tools.contracts.document import DEFAULT_FOLDER, ReleaseError, broken, drifted, freeze, write
from lyo.tools.contracts.openapi import openapi_document


@click.command(epilog="Example: lyo contracts --out docs/contracts --check")
@click.option(
    "--out",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEFAULT_FOLDER,
    show_default=True,
    metavar="DIR",
    help="The folder of the contract.",
)
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if files differ or a release is broken.")
@click.option(
    "--release",
    is_flag=True,
    help="Also store the contract as a released version, which later code must not break.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was written or found as one JSON object.")
def contracts(*, folder: Path, check: bool, release: bool, as_json: bool) -> None:
    """Write JSON Schemas, AsyncAPI and OpenAPI, or check the present ones.

    The check fails if a file differs from what this version writes (drift), or if this version breaks a
    released one: a field is gone or has another type, an input is newly required, a limit is narrower.
    """
    if check and release:
        raise click.UsageError("--check writes nothing and --release writes: use one of them")
    if check:
        _check(folder, as_json=as_json)
        return
    try:
        written = [str(freeze(folder))] if release else write(folder)
    except ReleaseError as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{folder}: {error.strerror or error}") from None
    if as_json:
        click.echo(json.dumps({"folder": str(folder), "written": written, "openapi": _has_api()}))
        return
    click.echo(f"{', '.join(written)} released" if release else f"{len(written)} files written to {folder}")
    if not _has_api():
        click.echo("openapi.json is missing: the API is not part of this version", err=True)


def _check(folder: Path, *, as_json: bool) -> None:
    differs, breaking = drifted(folder), broken(folder)
    if as_json:
        click.echo(json.dumps({"drifted": differs, "broken": breaking, "openapi": _has_api()}))
    for line in [] if as_json else differs:
        click.echo(f"drift: {line} (`lyo contracts` writes it)", err=True)
    for line in [] if as_json else breaking:
        click.echo(f"broken: {line}", err=True)
    if differs or breaking:
        raise SystemExit(1)
    if not as_json:
        click.echo("The files are up to date, and no release is broken.")


def _has_api() -> bool:
    return openapi_document() is not None

"""`lyo contracts`: the published contracts, written or checked."""

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
    help="The folder that the contract is in.",
)
@click.option(
    "--check", is_flag=True, help="Write nothing; exit 1 where the files differ or a release breaks."
)
@click.option("--release", is_flag=True, help="Keep the contract as a released version, for good.")
@click.option("--json", "as_json", is_flag=True, help="Print what was written or found as one JSON object.")
def contracts(*, folder: Path, check: bool, release: bool, as_json: bool) -> None:
    """Write JSON Schemas, AsyncAPI and OpenAPI, or check those that are there.

    The check fails where a file is not what this version writes (drift), and where this version does not
    keep what a released one said: a field that is gone or of another type, an input that is newly required,
    a limit that is narrower.
    """
    if check and release:
        raise click.UsageError("--check writes nothing, --release does: give one of them")
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
    click.echo(f"{', '.join(written)} kept" if release else f"{len(written)} files written to {folder}")
    if not _has_api():
        click.echo("openapi.json is not among them: the API is not part of this version", err=True)


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
        click.echo("The contract is what this version writes, and keeps what was released.")


def _has_api() -> bool:
    return openapi_document() is not None

"""Writes the files of the contract, and finds those that differ from the code or break a release."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from lyo.tools.contracts.asyncapi import asyncapi_document, channel_breaks
from lyo.tools.contracts.compatibility import breaks
from lyo.tools.contracts.messages import MESSAGES, VERSION
from lyo.tools.contracts.openapi import openapi_document, operation_breaks
from lyo.tools.contracts.schemas import FILE_LINE, all_schemas

__all__ = ["DEFAULT_FOLDER", "ReleaseError", "broken", "drifted", "freeze", "released", "render", "write"]

DEFAULT_FOLDER: Final = Path("docs/contracts")
_ASYNCAPI: Final = "asyncapi.json"
_OPENAPI: Final = "openapi.json"
_WHERE: Final = "tools/contracts/messages.py"
_INBOUND: Final = {message.name: message.inbound for message in MESSAGES} | {FILE_LINE: True}


class ReleaseError(RuntimeError):
    """The contract cannot be released as it is."""


def render() -> dict[str, str]:
    """Every file's text by its path under the folder; OpenAPI only where the API is part of this version."""
    files = {f"schemas/{name}.json": _text(schema) for name, schema in all_schemas().items()}
    files[_ASYNCAPI] = _text(asyncapi_document())
    described = openapi_document()
    return files if described is None else files | {_OPENAPI: _text(described)}


def write(folder: Path) -> list[str]:
    """Write every file under the folder and return their paths in it; older versions stay as they are."""
    files = render()
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for name in _strays(folder, files):
        (folder / name).unlink()
    return sorted(files)


def drifted(folder: Path) -> list[str]:
    """The files under the folder that differ from what this code writes, and how."""
    files = render()
    differences = [f"{name}: is missing" for name in files if not (folder / name).is_file()]
    differences += [
        f"{name}: is not what this code writes"
        for name, text in files.items()
        if (folder / name).is_file() and (folder / name).read_text(encoding="utf-8") != text
    ]
    return sorted(differences + [f"{name}: no message has this name" for name in _strays(folder, files)])


def _strays(folder: Path, files: dict[str, str]) -> list[str]:
    return sorted(
        name
        for path in (folder / "schemas").glob("*.json")
        if (name := path.relative_to(folder).as_posix()) not in files
    )


def released(folder: Path) -> list[Path]:
    """The folders of the versions released so far, oldest first."""
    return sorted(folder.glob("v[0-9]*"), key=lambda path: int(path.name.removeprefix("v")))


def broken(folder: Path) -> list[str]:
    """How this code breaks the released versions under the folder, one sentence each."""
    versions = released(folder)
    if not versions or versions[-1].name != f"v{VERSION}":
        return [f"v{VERSION}: is not released; `lyo contracts --release` releases it"]
    return [line for version in versions for line in _broken(version)]


def _broken(version: Path) -> Iterator[str]:
    present = all_schemas()
    for path in sorted((version / "schemas").glob("*.json")):
        name, old = path.stem, json.loads(path.read_text(encoding="utf-8"))
        if name not in present:
            yield f"{version.name} {name}: the message is gone"
            continue
        for line in breaks(old, present[name], inbound=_INBOUND[name]):
            yield f"{version.name} {name}{line}" if line.startswith(".") else f"{version.name} {name} {line}"
    released_channels = json.loads((version / _ASYNCAPI).read_text(encoding="utf-8"))
    for line in channel_breaks(released_channels, asyncapi_document()):
        yield f"{version.name} {line}"
    path, described = version / _OPENAPI, openapi_document()
    if path.is_file() and described is not None:
        for line in operation_breaks(json.loads(path.read_text(encoding="utf-8")), described):
            yield f"{version.name} {line}"
    elif path.is_file() or (described is not None and version.name == f"v{VERSION}"):
        yield f"{version.name} {_OPENAPI}: in one of the release and this version, but not in the other"


def freeze(folder: Path) -> Path:
    """Store the present contract as released version `VERSION`, which later code may not break.

    Raises:
        ReleaseError: that version exists, or this code breaks an older one.
    """
    target = folder / f"v{VERSION}"
    if target.exists():
        raise ReleaseError(f"{target} exists: a new release needs a new VERSION ({_WHERE})")
    breaking = [line for version in released(folder) for line in _broken(version)]
    if breaking:
        raise ReleaseError(f"an older release is not kept: {breaking[0]}")
    write(target)
    return target


def _text(document: Any) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"

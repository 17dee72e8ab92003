"""Which lines of the lock file an image needs: everything but what only development asks for.

`python3 runtime.py requirements.in requirements.txt` prints them. It runs in the image's build, before
anything is installed, so it needs the standard library alone. The lock says what asked for each package.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

DEVELOPMENT: Final = "Development"
_ASKED_BY_US: Final = re.compile(r"-r \S*requirements\.in")
_NAME: Final = re.compile(r"^[A-Za-z0-9._-]+")


def wanted(requirements: str) -> set[str]:
    """The packages that requirements.in names outside of its section of development."""
    section, names = "", set()
    for line in requirements.splitlines():
        if line.startswith("#"):
            section = line.lstrip("# ").strip()
        elif (match := _NAME.match(line)) and not section.startswith(DEVELOPMENT):
            names.add(_normal(match[0]))
    return names


def blocks(lock: str) -> dict[str, str]:
    """Each package's lines: its version, its hashes and what asked for it."""
    found: dict[str, str] = {}
    name = ""
    for line in lock.splitlines(keepends=True):
        if match := _NAME.match(line):
            name = _normal(match[0])
        if name:
            found[name] = found.get(name, "") + line
    return found


def needed(requirements: str, lock: str) -> list[str]:
    """The names in the lock that `requirements` needs to run, sorted."""
    locked = blocks(lock)
    askers = {name: _askers(text) for name, text in locked.items()}
    found = wanted(requirements) & set(locked)
    while more := {name for name, asked in askers.items() if asked & found} - found:
        found |= more
    return sorted(found)


def _askers(block: str) -> set[str]:
    """The packages that asked for this one, from the comment `via`."""
    _, _, comment = block.partition("# via")
    words = (line.strip("# \n") for line in comment.splitlines())
    return {_normal(word) for word in words if word and not _ASKED_BY_US.match(word)}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main(arguments: Iterable[str]) -> None:
    """Print the lines of the lock that an image needs."""
    requirements, lock = (Path(argument).read_text(encoding="utf-8") for argument in arguments)
    locked = blocks(lock)
    sys.stdout.writelines(locked[name] for name in needed(requirements, lock))


if __name__ == "__main__":
    main(sys.argv[1:])

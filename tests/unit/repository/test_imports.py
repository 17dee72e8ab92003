"""Importing any module of ours does nothing but define: no connection, no thread."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOMS = sorted(
    link.name for link in (Path(__file__).parents[3] / "src" / "lyo").iterdir() if link.is_symlink()
)

PROGRAM = """
import importlib, os, pkgutil, socket, sys, threading

def refuse(*_, **__):
    raise AssertionError("at import time")

socket.socket.connect = socket.socket.connect_ex = socket.socket.bind = socket.create_connection = refuse
names = []
import lyo
for info in pkgutil.walk_packages(lyo.__path__, "lyo."):
    if not info.name.startswith("lyo.migrations."):  # alembic runs those
        names.append(info.name)
for name in names:
    if name.rpartition(".")[2] != "__main__":
        try:
            importlib.import_module(name)
        except BaseException as error:
            sys.exit(f"importing {name}: {type(error).__name__}: {error}")
if threading.active_count() != 1:
    sys.exit(f"importing started threads: {threading.enumerate()}")
print(len(names))
"""


def test_nothing_connects_starts_or_fails_at_import() -> None:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=120
    )
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) > 10


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_has_one_import_name(room: str) -> None:
    """A host application may have packages of the same names."""
    code = f"import lyo.{room}, importlib.util, sys; sys.exit(importlib.util.find_spec({room!r}) is not None)"
    subprocess.run([sys.executable, "-I", "-c", code], check=True, timeout=60)

"""Importing any module of ours does nothing but define: no connection, no thread."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import importlib, os, pkgutil, socket, sys, threading

def refuse(*_, **__):
    raise AssertionError("at import time")

socket.socket.connect = socket.socket.connect_ex = socket.socket.bind = socket.create_connection = refuse
names = []
for package in sys.argv[1:]:
    if not os.path.isdir(package):
        continue
    names.append(package)
    for info in pkgutil.walk_packages([package], package + "."):
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

PACKAGES = ["models", "streams", "agents", "storage", "predictive", "ops", "cli"]


def test_nothing_connects_starts_or_fails_at_import() -> None:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, *PACKAGES], capture_output=True, text=True, check=False, timeout=120
    )
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) > 10

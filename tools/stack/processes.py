"""Processes and ports of the local stack: who runs, since when, and how to end it and nothing else."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil

LOOPBACK = "127.0.0.1"
POLL_SECONDS = 0.05


class Identity(msgspec.Struct, frozen=True):
    """A process that we started: its id alone may belong to another one after a crash or a reboot."""

    pid: int
    started: float  # what `start_of` said when it was started


def start_of(pid: int) -> float | None:
    """When the process began: ticks since boot on Linux (no clock change moves it), else seconds; or None."""
    with contextlib.suppress(OSError):
        # The second field is the command in parentheses and may hold blanks.
        return float(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).create_time()
    return None


def identify(pid: int) -> Identity:
    """Remember a process that has just been started; raises ProcessLookupError when it is gone."""
    started = start_of(pid)
    if started is None:
        raise ProcessLookupError(pid)
    return Identity(pid, started)


def find(identity: Identity) -> psutil.Process | None:
    """The process, when it is still the same one and has not ended."""
    if start_of(identity.pid) != identity.started:
        return None
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(identity.pid)
        # Nobody may be there to bury a process whose starter has gone: ended is ended.
        if process.status() != psutil.STATUS_ZOMBIE:
            return process
    return None


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether the condition came true within so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def end(identity: Identity, signal_number: int, seconds: float) -> bool:
    """Ask a process to end with a signal, kill it after so many seconds; whether it ended by itself.

    Its children (Postgres has some) are waited for, and killed too when they stay.
    """
    process = find(identity)
    if process is None:
        return True
    family = [identity]
    with contextlib.suppress(psutil.Error):
        for child in process.children(recursive=True):
            with contextlib.suppress(ProcessLookupError):
                family.append(identify(child.pid))
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(signal_number)
    if wait_until(lambda: not any(find(member) for member in family), seconds):
        return True
    for member in family:
        if (left := find(member)) is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                left.kill()
    wait_until(lambda: not any(find(member) for member in family), 10)
    return False


def port_is_free(port: int) -> bool:
    """Whether a server could listen on this port of the loopback address now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def port_answers(port: int) -> bool:
    """Whether somebody listens on this port of the loopback address."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) == 0


def free_port() -> int:
    """A port of the loopback address that nobody uses now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def guard(identity: Identity) -> subprocess.Popen[bytes]:
    """Start a watcher that kills the process as soon as we are gone, however we went.

    Close its standard input, or die, and it acts; kill the watched process first to let it go in peace.
    """
    program = str(Path(__file__).with_name("guard.py"))
    return subprocess.Popen(
        [sys.executable, "-I", program, str(identity.pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )

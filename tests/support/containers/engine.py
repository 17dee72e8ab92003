"""A container engine of a test's own: its own data, socket and process, gone when the test is."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from lyo.tools.stack import processes

START_SECONDS = 60.0
# Not docker0, which may be another engine's; a network that few others use.
BRIDGE, NETWORK = "lyo-test0", "172.31.251.1/24"
_EMPTY = {
    "filter": "*filter\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\nCOMMIT\n",
    "nat": "*nat\n:PREROUTING ACCEPT\n:INPUT ACCEPT\n:OUTPUT ACCEPT\n:POSTROUTING ACCEPT\nCOMMIT\n",
}


def why_not() -> str | None:
    """What is missing to start one here, None when nothing is."""
    if os.geteuid() != 0:
        return "a container engine is started by root"
    missing = [
        name for name in ("dockerd", "docker", "containerd", "iptables", "ip") if not shutil.which(name)
    ]
    return f"{', '.join(missing)} missing: apt-get install docker.io iptables iproute2" if missing else None


@contextlib.contextmanager
def engine() -> Iterator[str]:
    """Start a dockerd in a temporary folder; gives its address for DOCKER_HOST."""
    folder = Path(tempfile.mkdtemp(prefix="lyo-engine-"))
    rules = _rules()
    _bridge()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            _command(folder), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    guard = processes.guard(processes.identify(process.pid))
    try:
        _await(process, folder)
        yield f"unix://{folder}/socket"
    finally:
        _stop(process)
        guard.communicate()
        _ip("link", "delete", BRIDGE)
        _rules(rules)
        _remove(folder)


def _command(folder: Path) -> list[str]:
    return [
        "dockerd",
        f"--data-root={folder}/data",
        f"--exec-root={folder}/run",
        f"--pidfile={folder}/pid",
        f"--host=unix://{folder}/socket",
        f"--bridge={BRIDGE}",
        "--ip-forward=false",  # nothing is routed: containers share a bridge, ports are on the loopback
        "--log-level=warn",
    ]


def _await(process: subprocess.Popen[bytes], folder: Path) -> None:
    until = time.monotonic() + START_SECONDS
    environment = os.environ | {"DOCKER_HOST": f"unix://{folder}/socket"}
    while subprocess.run(["docker", "info"], env=environment, capture_output=True, check=False).returncode:
        last = (folder / "log").read_text(errors="replace").strip().splitlines()[-5:]
        assert process.poll() is None, f"dockerd ended with {process.returncode}: {last}"
        assert time.monotonic() < until, f"dockerd did not answer: {last}"
        time.sleep(processes.POLL_SECONDS)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End it by its id; it ends its containers and its containerd first."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _bridge() -> None:
    _ip("link", "add", BRIDGE, "type", "bridge")
    _ip("address", "add", NETWORK, "dev", BRIDGE)
    _ip("link", "set", BRIDGE, "up")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def _rules(restore: str | None = None) -> str:
    """The machine's packet filter; with `restore`, as it was before the engine added to it."""
    if restore is not None:
        subprocess.run(["iptables-restore"], input=restore, text=True, check=True)
        return restore
    saved = subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout
    # A table that nobody has used yet is not told; restored, it has to be empty again.
    return saved + "".join(text for table, text in _EMPTY.items() if f"*{table}" not in saved)


def _remove(folder: Path) -> None:
    """Unmount what a killed engine left, and remove all it had."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in sorted((one for one in mounts if one.startswith(str(folder))), reverse=True):
        subprocess.run(["umount", "--lazy", mount], check=False)
    shutil.rmtree(folder)

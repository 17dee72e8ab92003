"""A real Prometheus that reads processes of this machine and judges them by the real rules, in less time."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import yaml

from lyo.tools.stack import processes
from tests.support.processes import ROOT

RULES = ROOT / "ops" / "deploy" / "alerts.yml"
SHORTER = 15
"""Windows are so many times shorter than in the rules: 15 minutes are one."""
REBALANCES_SECONDS = 240
"""The window of the rebalances, of which more than eight do not fit into a minute."""
DAY_SECONDS = 150
"""What `offset 1d` is."""
FOR_SECONDS = 2


def shortened(text: str) -> str:
    """The rules with every `for`, window and offset made short; no threshold is touched."""

    def window(found: re.Match[str]) -> str:
        seconds = int(found[1]) * {"m": 60, "h": 3600}[found[2]]
        return f"[{seconds // SHORTER}s]"

    text = text.replace("lyo_rebalances_total[15m]", f"lyo_rebalances_total[{REBALANCES_SECONDS}s]")
    text = re.sub(r"\[(\d+)([mh])\]", window, text)
    text = text.replace("offset 1d", f"offset {DAY_SECONDS}s")
    return re.sub(r"for: \d+[mh]\n", f"for: {FOR_SECONDS}s\n", text)


def names(text: str) -> list[str]:
    """The alerts of some rules."""
    return [rule["alert"] for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


class Alert(NamedTuple):
    """One that is pending or firing, with what its expression gives."""

    name: str
    firing: bool
    labels: dict[str, str]
    value: float
    summary: str


class Prometheus:
    """One that runs; `address` is its API."""

    def __init__(self, address: str, log: Path) -> None:
        self.address = address
        self.log = log
        self._client = httpx.AsyncClient(base_url=address, timeout=10)

    async def alerts(self) -> list[Alert]:
        """Those that are pending or firing now."""
        answer = await self._client.get("/api/v1/alerts")
        return [_alert(one) for one in answer.json()["data"]["alerts"]]

    async def ready(self) -> bool:
        """Whether it answers."""
        try:
            return (await self._client.get("/-/ready")).status_code == 200
        except httpx.TransportError:
            return False

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.aclose()


def _alert(found: dict[str, Any]) -> Alert:
    labels = {key: value for key, value in found["labels"].items() if key not in {"alertname", "severity"}}
    return Alert(
        found["labels"]["alertname"],
        found["state"] == "firing",
        labels,
        float(found["value"]),
        found["annotations"]["summary"],
    )


def _configure(folder: Path, jobs: Mapping[str, int], rules: str) -> None:
    folder.mkdir()
    (folder / "rules.yml").write_text(rules)
    scraped = [
        {"job_name": job, "static_configs": [{"targets": [f"{processes.LOOPBACK}:{port}"]}]}
        for job, port in jobs.items()
    ]
    every = {"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "1s"}
    config = {"global": every, "rule_files": ["rules.yml"], "scrape_configs": scraped}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))


@asynccontextmanager
async def prometheus(folder: Path, jobs: Mapping[str, int], rules: str) -> AsyncIterator[Prometheus]:
    """Prometheus on a free port, which reads each job's port every other second; ended with the block."""
    program = shutil.which("prometheus")
    assert program is not None, "prometheus is missing: make promtool, or apt-get install prometheus"
    _configure(folder, jobs, rules)
    place = f"{processes.LOOPBACK}:{processes.free_port()}"
    log = folder / "prometheus.log"
    with log.open("wb") as out:
        child = subprocess.Popen(
            [
                program,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={place}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    guard = processes.guard(processes.identify(child.pid))
    running = Prometheus(f"http://{place}", log)
    try:
        end = time.monotonic() + 60
        while not await running.ready():
            assert child.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < end, "Prometheus did not answer within a minute"
            await asyncio.sleep(0.2)
        yield running
    finally:
        await running.close()
        child.terminate()
        try:
            await asyncio.to_thread(child.wait, 20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        guard.communicate()

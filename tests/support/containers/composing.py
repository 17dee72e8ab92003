"""`docker compose` on this checkout's file, with settings of its own."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lyo.tools.stack import processes

ROOT = Path(__file__).parents[3]
SECRET = "a secret of the compose file's test, long enough"
PARTITIONS = 4


def sh(command: list[str], environment: Mapping[str, str], seconds: float = 600) -> str:
    """What a command prints; its errors when it fails."""
    done = subprocess.run(
        command, env=dict(environment), cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout


def ports() -> dict[str, str]:
    """A free port of this machine for each that the file publishes."""
    return {
        name: str(processes.free_port())
        for name in ("KAFKA_PORT", "POSTGRES_PORT", "API_PORT", "MONITOR_PORT")
    }


@dataclass
class Compose:
    """One project on one engine.

    Args:
        host: the engine's DOCKER_HOST.
        program: how compose is called.
        images: the settings of images.
    """

    host: str
    program: list[str]
    images: Mapping[str, str]
    ports: Mapping[str, str] = field(default_factory=ports)

    @property
    def environment(self) -> dict[str, str]:
        """For compose and docker."""
        ours = {
            "DOCKER_HOST": self.host,
            "COMPOSE_PROJECT_NAME": "lyo-test",
            "DOCKER_BUILDKIT": "0",  # Debian's engine package comes without the newer builder's client
            "LYO_PARTITIONS": str(PARTITIONS),
            "LYO_JWT_SECRET": SECRET,
        }
        return os.environ | ours | dict(self.ports) | dict(self.images)

    @property
    def lyo(self) -> dict[str, str]:
        """For our own commands on this machine, outside of the containers."""
        return os.environ | {
            "LYO_BOOTSTRAP_SERVERS": f"127.0.0.1:{self.ports['KAFKA_PORT']}",
            "LYO_DATABASE_URL": self.database_url,
            "LYO_PARTITIONS": str(PARTITIONS),
        }

    @property
    def database_url(self) -> str:
        """Postgres, from this machine."""
        return f"postgresql://postgres:lyo@127.0.0.1:{self.ports['POSTGRES_PORT']}/lyo"

    def __call__(self, *arguments: str, seconds: float = 600) -> str:
        """Run one of compose's commands."""
        return sh([*self.program, *arguments], self.environment, seconds)

    def docker(self, *arguments: str) -> str:
        """Run one of docker's commands."""
        return sh(["docker", *arguments], self.environment)

    def inspect(self, service: str) -> list[dict[str, Any]]:
        """All containers of a service, as docker describes them."""
        found = self("ps", "--all", "--quiet", service).split()
        return list(json.loads(self.docker("inspect", *found))) if found else []

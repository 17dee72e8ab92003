"""The wheel in an empty environment, beside a host application with packages named like our folders."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from lyo.streams import topic_admin
from lyo.streams.settings import Settings
from tests.support.processes import ROOT

pytestmark = [pytest.mark.integration, pytest.mark.slow]

HOST = ("models", "streams", "agents")
DATA = (
    ("migrations", "migrations", "*.*"),
    ("migrations", "migrations", "versions/*.py"),
    ("contracts", "docs/contracts", "**/*.json"),
    ("predictive/page", "predictive/page", "templates/*"),
    ("ops/monitor/page", "ops/monitor/page", "templates/*"),
)
ROUTER = """
import asyncio, importlib.util, json, logging, sys
import agents, models, streams
from fastapi import FastAPI

router_configs = []
try:
    from lyo.predictive.api.routes import router as predictive_router
    router_configs.append((predictive_router, "/api/v1", "Predictive Intelligence"))
except ImportError as error:
    logging.warning("Phase 2 routers not available: %s", error)
app = FastAPI()
for router, prefix, tag in router_configs:
    app.include_router(router, prefix=prefix, tags=[tag])
print(json.dumps({
    "paths": sorted(app.openapi()["paths"]),
    "host": [package.OWNER for package in (models, streams, agents)],
    "kafka": importlib.util.find_spec("aiokafka") is not None,
}))
"""


def run(*command: str | Path, **more: object) -> str:
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False, **more
    )  # type: ignore[call-overload]
    assert done.returncode == 0, f"{command}: {done.stderr[-2000:]}"
    return done.stdout


def uv(*arguments: str | Path) -> str:
    return run(sys.executable, "-m", "uv", "--quiet", "--no-config", *arguments, cwd=ROOT)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by `python -m build` from what is in the repository, as its users build it."""
    source = tmp_path_factory.mktemp("source")
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT).splitlines()
    for name in listed:
        if not name.startswith("tests/") and os.path.lexists(ROOT / name):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, source / name, follow_symlinks=False)
    made = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", made, source)
    [found] = made.glob("*.whl")
    return found


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """An application's folder, with packages of its own."""
    folder = tmp_path / "host"
    for name in HOST:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(f"OWNER = 'the host {name}'\n")
    return folder


def installed(wheel: Path, extra: str, folder: Path) -> Path:
    """The Python of a new environment with the wheel and one extra, at the locked versions."""
    uv("venv", "--python", sys.executable, folder)
    python = folder / "bin" / "python"
    package = f"lyo-predictive[{extra}] @ {wheel.as_uri()}"
    uv("pip", "install", "--python", python, "--constraint", ROOT / "requirements.txt", package)
    return python


def has(python: Path, module: str) -> bool:
    code = f"import importlib.util; print(importlib.util.find_spec({module!r}) is not None)"
    return run(python, "-I", "-c", code).strip() == "True"


def test_the_wheel_holds_one_package_with_all_its_data(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.split("/")[0] for name in names} == {"lyo", "lyo_predictive-0.1.0.dist-info"}
    data = {
        f"lyo/{room}/{path.relative_to(ROOT / folder)}"
        for room, folder, pattern in DATA
        for path in (ROOT / folder).glob(pattern)
    }
    assert len(data) > 50
    assert data <= names


def test_a_host_gets_router_and_predictors_without_kafka_and_stays_whole(
    wheel: Path, host: Path, tmp_path: Path, database_url: str
) -> None:
    python = installed(wheel, "api", tmp_path / "env")
    variables = os.environ | {"LYO_DATABASE_URL": database_url, "PYTHONPATH": str(host)}
    told = json.loads(run(python, "-c", ROUTER, env=variables, cwd=host))
    assert told["host"] == [f"the host {name}" for name in HOST]
    assert "/api/v1/predictive/insights" in told["paths"]
    assert not told["kafka"]
    run(python.with_name("lyo"), "migrate", env=variables, cwd=host)
    said = run(python, ROOT / "docs/examples/predictors.py", "1", env=variables, cwd=host)
    assert "learner 1: risk" in said
    uv("pip", "check", "--python", python)

    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    for name in HOST:
        shutil.copytree(host / name, site / name)
    uv("pip", "uninstall", "--python", python, "lyo-predictive")
    assert not has(python, "lyo")
    assert all(has(python, name) for name in HOST)


async def test_a_publishers_host_installs_little(
    wheel: Path,
    host: Path,
    tmp_path: Path,
    kafka_settings: Settings,
    environment: Callable[[Settings], dict[str, str]],
) -> None:
    await topic_admin.ensure(kafka_settings)
    python = installed(wheel, "client", tmp_path / "env")
    assert not any(has(python, module) for module in ("sqlalchemy", "asyncpg", "fastapi", "faust", "pytest"))
    said = run(python, ROOT / "docs/examples/publish_events.py", env=environment(kafka_settings), cwd=host)
    assert "500 more are acknowledged" in said
    refused = subprocess.run([python.with_name("lyo"), "sink"], capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "pip install 'lyo-predictive[all]'" in refused.stderr
    uv("pip", "check", "--python", python)

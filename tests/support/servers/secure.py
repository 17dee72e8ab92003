"""A Kafka with TLS and SASL listeners and a Postgres that takes nothing but TLS."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path

from lyo.tools.stack import Listener, LocalKafka, LocalPostgres
from tests.support.servers.certificates import Authority, Pair

USER = "app"
PASSWORD = "correct-horse-battery"
LEAVER = "app-1"
SUCCESSOR = "app-2"
NEXT_PASSWORD = "another-horse-battery"
SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


def listeners(authority: Authority, server: Pair) -> list[Listener]:
    """SASL over TLS, SASL without, and TLS that asks clients for a certificate."""
    tls = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(server.both),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority.certificate),
    }
    sasl = {"sasl.enabled.mechanisms": "SCRAM-SHA-256,SCRAM-SHA-512"} | {
        f"scram-sha-{bits}.sasl.jaas.config": SCRAM for bits in (256, 512)
    }
    return [
        Listener("SCRAM", "SASL_SSL", tls | sasl),
        Listener("BARE", "SASL_PLAINTEXT", sasl),
        Listener("MUTUAL", "SSL", tls | {"ssl.client.auth": "required"}),
    ]


def secure_kafka(home: Path, jars: Path, authority: Authority, server: Pair) -> LocalKafka:
    """A broker with those listeners, where `USER`, a `LEAVER` and a `SUCCESSOR` may sign in."""
    return LocalKafka(
        home,
        jar_cache=jars,
        private=True,
        listeners=listeners(authority, server),
        users={USER: PASSWORD, LEAVER: PASSWORD, SUCCESSOR: NEXT_PASSWORD},
    )


class SecurePostgres(LocalPostgres):
    """Postgres that refuses whoever comes without TLS; `USER` needs a password, `CLIENT` a certificate."""

    client = "client"
    locale = ("--locale", "C")

    def __init__(self, home: Path, programs: Path, authority: Authority, server: Pair) -> None:
        super().__init__(home, durable=False, private=True)
        self._programs = programs
        self._authority = authority
        self._server = server

    @property
    def programs(self) -> Path:
        """Those of a Postgres that knows TLS; the wheel's does not."""
        return self._programs

    def settings(self) -> dict[str, str]:
        """With TLS."""
        files = {"ssl_cert_file": "server.pem", "ssl_key_file": "server.key", "ssl_ca_file": "authority.pem"}
        return super().settings() | {"ssl": "on"} | files

    def prepare(self, ports: list[int]) -> None:
        """Put the certificates and the rules of who may come beside the data, all of one owner."""
        super().prepare(ports)
        rules = [
            "hostssl all postgres 127.0.0.1/32 trust",
            f"hostssl all {USER} 127.0.0.1/32 scram-sha-256",
            f"hostssl all {self.client} 127.0.0.1/32 cert",
        ]
        owner = (self._data / "PG_VERSION").stat()
        for name, content in {
            "server.pem": self._server.certificate.read_bytes(),
            "server.key": self._server.key.read_bytes(),
            "authority.pem": self._authority.certificate.read_bytes(),
            "pg_hba.conf": "\n".join([*rules, ""]).encode(),
        }.items():
            path = self._data / name
            path.write_bytes(content)
            path.chmod(0o600)
            os.chown(path, owner.st_uid, owner.st_gid)

    def _check_version(self) -> None:
        """Its data are a test's."""


@functools.cache
def postgres_with_tls() -> Path | None:
    """The programs of an installed Postgres server that was built with OpenSSL, the newest; or None."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    on_path = shutil.which("pg_config")
    if on_path is not None:
        answer = subprocess.run([on_path, "--bindir"], capture_output=True, text=True, check=False)
        found.insert(0, Path(answer.stdout.strip()))
    return next((folder for folder in reversed(found) if _knows_tls(folder)), None)


def _knows_tls(folder: Path) -> bool:
    if not (folder / "postgres").exists() or not (folder / "initdb").exists():
        return False
    answer = subprocess.run(
        [folder / "pg_config", "--configure"], capture_output=True, text=True, check=False
    )
    return "openssl" in answer.stdout

"""Kafka and Postgres that take TLS alone."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.servers.certificates import Authority
from tests.support.servers.kinds import JARS
from tests.support.servers.secure import (
    PASSWORD,
    USER,
    SecurePostgres,
    postgres_with_tls,
    secure_kafka,
)
from tests.support.servers.secure_clients import KEY_PASSWORD, Secure


@pytest.fixture(scope="session")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    folder = tmp_path_factory.mktemp("secure")
    authority = Authority(folder / "certificates")
    server = authority.sign("server")
    client = authority.sign("client", password=KEY_PASSWORD)
    programs = postgres_with_tls()
    if programs is None:
        assert "CI" not in os.environ, "no Postgres with TLS is installed here: apt-get install postgresql"
        with secure_kafka(folder, JARS, authority, server) as broker:
            yield Secure(authority, client, broker, None)
        return
    with (
        secure_kafka(folder, JARS, authority, server) as broker,
        SecurePostgres(folder, programs, authority, server) as postgres,
    ):
        postgres.sql(f"CREATE ROLE {USER} LOGIN SUPERUSER PASSWORD '{PASSWORD}'")
        postgres.sql(f"CREATE ROLE {postgres.client} LOGIN SUPERUSER")
        yield Secure(authority, client, broker, postgres)

"""Clients of servers behind TLS, and what they say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lyo.tools.stack import LocalKafka
from tests.support.api.tokens import SECRET
from tests.support.servers.certificates import Authority, Pair
from tests.support.servers.secure import (
    PASSWORD,
    USER,
    SecurePostgres,
)

KEY_PASSWORD = "battery-staple-horse"
SECRETS = (PASSWORD, KEY_PASSWORD, SECRET)


@dataclass(frozen=True)
class Secure:
    """The servers of these tests and who may sign in."""

    authority: Authority
    client: Pair
    kafka: LocalKafka
    postgres: SecurePostgres | None

    def database_url(self, way: str) -> str:
        assert self.postgres is not None
        return _url(self.postgres, self, way)


def _url(postgres: SecurePostgres, secure: Secure, way: str) -> str:
    place = f"127.0.0.1:{postgres.port}/lyo?sslmode=verify-full&sslrootcert={secure.authority.certificate}"
    if way == "scram":
        return f"postgresql://{USER}:{PASSWORD}@{place}"
    mine = f"&sslcert={secure.client.certificate}&sslkey={secure.client.key}&sslpassword={KEY_PASSWORD}"
    return f"postgresql://{postgres.client}@{place}{mine}"


def kafka_way(secure: Secure, way: str) -> dict[str, Any]:
    """The settings of one way into Kafka."""
    trusted = {"ssl_cafile": str(secure.authority.certificate)}
    signed = {"sasl_username": USER, "sasl_password": PASSWORD}
    return {
        "scram": {
            "bootstrap_servers": secure.kafka.address("SCRAM"),
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": "SCRAM-SHA-512",
        }
        | trusted
        | signed,
        "mutual": {
            "bootstrap_servers": secure.kafka.address("MUTUAL"),
            "security_protocol": "SSL",
            "ssl_certfile": str(secure.client.certificate),
            "ssl_keyfile": str(secure.client.key),
            "ssl_password": KEY_PASSWORD,
        }
        | trusted,
        "bare": {
            "bootstrap_servers": secure.kafka.address("BARE"),
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "SCRAM-SHA-256",
        }
        | signed,
    }[way]

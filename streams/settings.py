"""Every environment variable of the product, typed and described, in one place."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, Final, Literal, NoReturn

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from lyo.streams import settings_checks as checks
from lyo.streams.settings_checks import PREFIX


class Settings(BaseSettings):
    """The settings of every process; each field is the environment variable ``LYO_<FIELD>``."""

    # An error may be logged: it names the setting, never what was given, which may hold a password.
    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    bootstrap_servers: str = Field(
        "127.0.0.1:9092", min_length=1, description="Kafka brokers, host:port, separated by commas."
    )
    database_url: str = Field(
        "postgresql://postgres@127.0.0.1:5432/lyo",
        repr=False,
        pattern=r"^postgres(ql)?://",
        description="Postgres, as a URL that begins with postgresql://, with libpq's TLS parameters: "
        "?sslmode=verify-full&sslrootcert=FILE, sslcert, sslkey and sslpassword.",
    )
    app_id: str = Field(
        "lyo",
        pattern=r"^[a-zA-Z0-9._-]{1,100}$",
        description="The workers' consumer group, prefix of transactional ids.",
    )
    topic_prefix: str = Field(
        "lyo.", pattern=r"^[a-zA-Z0-9._-]{0,100}$", description="First part of every topic's name."
    )
    partitions: int = Field(
        8, ge=1, le=10_000, description="Partitions of every topic partitioned by user; fixed for ever."
    )
    replication: int = Field(1, ge=1, le=15, description="Replicas of a created topic.")
    clock: str | None = Field(
        None,
        description="An RFC 3339 instant at which the clock stands still, or @FILE that holds one, read each "
        "time; unset: the system's clock.",
    )

    release: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._+-]{1,100}$",
        description="This build's name in the monitor; unset: the package's version.",
    )

    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="Protocol to Kafka: SSL is TLS, SASL a user and password."
    )
    ssl_cafile: str | None = Field(None, description="Certificate authorities trusted for Kafka.")
    ssl_certfile: str | None = Field(None, description="Our certificate, where Kafka asks for one.")
    ssl_keyfile: str | None = Field(None, description="Our certificate's key.")
    ssl_password: SecretStr | None = Field(None, description="That key's password.")
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "AWS_MSK_IAM"] = Field(
        "PLAIN",
        description="SASL mechanism for Kafka; AWS_MSK_IAM signs with AWS's own credentials and needs the "
        "extra `msk`.",
    )
    sasl_username: str | None = Field(None, description="User name at Kafka; of OAUTHBEARER the client's id.")
    sasl_password: SecretStr | None = Field(
        None, description="Password at Kafka; of OAUTHBEARER the client's secret."
    )
    sasl_token_url: str | None = Field(
        None,
        description="Where OAUTHBEARER gets tokens by client credentials; https, or http on this machine.",
    )
    sasl_scope: str | None = Field(None, description="Scope of those tokens, if the provider wants one.")
    sasl_region: str | None = Field(None, description="AWS region of the brokers, for AWS_MSK_IAM.")
    client_rack: str | None = Field(
        None,
        min_length=1,
        description="Rack or availability zone of this process: it reads from replicas there where brokers "
        "allow it (replica.selector.class).",
    )

    session_timeout_ms: int = Field(
        10_000, ge=1_000, le=1_800_000, description="A worker silent for this long loses its partitions (ms)."
    )
    rebalance_timeout_ms: int = Field(
        30_000, ge=1_000, le=1_800_000, description="Time for a worker to give partitions back (ms)."
    )
    transaction_timeout_ms: int = Field(
        15_000, ge=1_000, le=900_000, description="Kafka aborts a transaction open for longer (ms)."
    )
    request_timeout_ms: int = Field(
        10_000, ge=1_000, le=300_000, description="Longest wait for an answer of Kafka (ms)."
    )
    connect_seconds: float = Field(
        20.0, ge=0, le=3_600, description="How long to try to reach Kafka or Postgres at start (s)."
    )

    poll_records: int = Field(
        40_000, ge=1, le=100_000, description="Most records of one poll, all partitions together."
    )
    batch_records: int = Field(
        64_000,
        ge=1,
        le=1_000_000,
        description="Most records of one task's transaction; larger is faster with a backlog, since a "
        "learner with several events in it is predicted once.",
    )
    fetch_bytes: int = Field(
        2_097_152, ge=1_024, le=104_857_600, description="Most bytes fetched from one partition at once."
    )
    output_batch_bytes: int = Field(
        900_000, ge=16_384, le=1_000_000, description="Most bytes of one sent record or record batch."
    )
    compression: Literal["none", "lz4", "zstd", "gzip", "snappy"] = Field(
        "lz4", description="Compression of what is sent to Kafka."
    )

    dropout_model: str | None = Field(
        None,
        description="Model file of `lyo fit` that worker and API compute dropout risks with, read at start; "
        "unset: the shipped model.",
    )
    sweep_seconds: float = Field(
        1.0, gt=0, le=3_600, description="How often a quiet partition is checked for due predictions (s)."
    )
    history_settle_seconds: float = Field(
        60.0,
        ge=0,
        le=86_400,
        description="History (events published more than a day after they happened) has settled, and its "
        "learners are judged, when no more has come for this long (s).",
    )
    write_layout: int = Field(
        2,
        ge=1,
        le=2,
        description="Layout of the rows that a worker writes: the previous one while workers of the previous "
        "release run.",
    )
    stalled_seconds: float = Field(
        60.0,
        ge=5,
        le=86_400,
        description="A worker or sink without progress on a lagging partition for this long ends (s).",
    )
    dead_letter_days: int = Field(
        30, ge=1, le=3_650, description="How long dead letters are kept (days); read at topic creation."
    )
    outbox_days: int = Field(7, ge=1, le=3_650, description="How long sent outbox rows are kept (days).")
    struggle_days: int = Field(
        365,
        ge=1,
        le=3_650,
        description="How long struggle predictions and their outcomes are kept (days); the newest of each "
        "learner and content always.",
    )
    removed_days: int = Field(
        30,
        ge=1,
        le=3_650,
        description="How long removed rows are remembered (days); a subscriber away for longer begins anew.",
    )

    api_host: str = Field("127.0.0.1", min_length=1, description="Address of `lyo api`.")
    api_port: int = Field(8000, ge=0, le=65_535, description="Port of `lyo api`; 0: any free one.")
    api_tls: bool = Field(
        default=False,
        description="A proxy ends TLS: browsers are told to insist on it (HSTS).",
    )
    api_body_bytes: int = Field(65_536, ge=1_024, le=10_485_760, description="Largest request body (bytes).")
    api_cors_origins: str = Field(
        "",
        pattern=r"^$|^https?://[^\s,/*]+(,https?://[^\s,/*]+)*$",
        description="Web origins that may call the API, separated by commas; empty: none.",
    )
    api_connections: int = Field(
        10, ge=1, le=1_000, description="Most connections to Postgres of one API process."
    )
    api_statement_seconds: float = Field(
        5.0, gt=0, le=300, description="Longest statement, or wait for a connection (s)."
    )
    api_drain_seconds: int = Field(
        20, ge=1, le=3_600, description="Time for running requests when the API stops (s)."
    )
    api_rate_limit: str = Field(
        "600/minute",
        pattern=r"^[1-9][0-9]{0,8}/(second|minute|hour)$",
        description="Requests of one learner to one API process, N/second, /minute or /hour.",
    )
    api_service_rate_limit: str = Field(
        "60000/minute",
        pattern=r"^[1-9][0-9]{0,8}/(second|minute|hour)$",
        description="The same for a caller with the service role.",
    )

    jwt_jwks_url: str | None = Field(
        None,
        description="JWKS with the keys that sign tokens; https, or http on this machine.",
    )
    jwt_jwks_file: str | None = Field(None, description="The same keys as a file; reread like them.")
    jwt_secret: SecretStr | None = Field(
        None, description="Secret of HS256 tokens, at least 32 bytes; for development only."
    )
    jwt_audience: str = Field("lyo", min_length=1, description="Audience (`aud`) that a token must name.")
    jwt_issuer: str | None = Field(None, description="Issuer (`iss`) that a token must name; unset: any.")
    jwt_leeway_seconds: float = Field(
        30.0, ge=0, le=600, description="Allowed difference between the issuer's and API's clocks (s)."
    )
    jwt_refresh_seconds: float = Field(
        300.0, ge=1, le=86_400, description="Age at which the keys are fetched again (s)."
    )
    jwt_cooldown_seconds: float = Field(
        30.0,
        ge=0,
        le=3_600,
        description="Least time between fetches, for an unknown key or after a failure (s).",
    )
    jwt_user_claim: str = Field("sub", min_length=1, description="Claim with the learner's id.")
    jwt_organization_claim: str = Field("org", min_length=1, description="Claim with the tenant's id.")
    jwt_roles_claim: str = Field(
        "roles", min_length=1, description="Claim with one role or a list; `role` is read, too."
    )
    jwt_service_role: str = Field(
        "service", min_length=1, description="Role that may ask for any learner of its tenant."
    )
    jwt_single_tenant: bool = Field(
        default=False,
        description="One tenant only: a service's token without a tenant may ask for every learner.",
    )
    monitor_host: str = Field("127.0.0.1", min_length=1, description="Address of `lyo monitor`.")
    monitor_port: int = Field(9100, ge=0, le=65_535, description="Port of `lyo monitor`; 0: any free one.")
    monitor_token: SecretStr | None = Field(
        None, description="Token that opens the on-call page, at least 16 bytes; unset: closed."
    )
    monitor_operator_token: SecretStr | None = Field(
        None,
        description="Token that also shows and retries dead letters, at least 16 bytes; unset: nobody may.",
    )
    monitor_tls: bool = Field(default=False, description="A proxy ends TLS: cookies are sent over TLS only.")
    monitor_interval_seconds: float = Field(
        2.0, ge=0.2, le=300, description="How often the monitor looks at Kafka and Postgres (s)."
    )
    monitor_survey_seconds: float = Field(
        60.0, ge=1, le=86_400, description="How often it counts learners with overdue predictions (s)."
    )
    monitor_lagging_seconds: float = Field(
        10.0,
        gt=0,
        le=86_400,
        description="Age of the oldest unprocessed record from which a partition is lagging (s).",
    )
    monitor_stalled_seconds: float = Field(
        8.0,
        gt=0,
        le=86_400,
        description="Time without progress, with records waiting, from which it is stalled (s).",
    )
    monitor_restore_rate: int = Field(
        100_000,
        ge=1,
        le=100_000_000,
        description="Changelog records restored per second, to estimate a restore's time.",
    )
    monitor_history_minutes: int = Field(
        60, ge=1, le=10_080, description="How far back the on-call page's charts go (minutes)."
    )
    metrics_host: str = Field(
        "127.0.0.1", min_length=1, description="Address of a process's metrics for Prometheus."
    )
    metrics_port: int = Field(
        0, ge=0, le=65_535, description="Port of the metrics, one for each process of a machine; 0: none."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="What is logged.")
    log_format: Literal["text", "json"] = Field("text", description="Lines for people, or JSON objects.")
    crash_at: str | None = Field(
        None,
        pattern=r"^[a-z_]+(:[0-9]+)?(:stop)?$",
        description="For tests: STEP[:N] ends the worker or sink the Nth time it reaches that failpoint; "
        ":stop freezes it instead, as SIGSTOP does.",
    )

    _servers = field_validator("bootstrap_servers")(checks.servers)
    _clock = field_validator("clock")(checks.clock)
    _no_model = field_validator("dropout_model", mode="before")(checks.unset_if_empty)
    _model = field_validator("dropout_model")(checks.dropout_model)
    _no_secret = field_validator("jwt_secret", mode="before")(checks.unset_if_empty)
    _secret = field_validator("jwt_secret")(checks.secret)
    _token = field_validator("monitor_token", "monitor_operator_token")(checks.token)
    _https = field_validator("jwt_jwks_url", "sasl_token_url")(checks.https)

    @model_validator(mode="after")
    def _security(self) -> Settings:
        checks.security(self)
        return self

    @property
    def servers(self) -> list[str]:
        """The brokers, one ``host:port`` each."""
        return [server.strip() for server in self.bootstrap_servers.split(",")]


_OTHERS: Final = {f"{PREFIX}{name}" for name in ("DEBUG", "DEMO", "HOME", "IMAGE", "MAVEN_REPOSITORY")}
"""Variables that tools read and that are no settings of a process."""


def unknown(variables: Iterable[str]) -> list[str]:
    """A line for each variable that begins like a setting and is none, with the setting it resembles."""
    known = [PREFIX + name.upper() for name in Settings.model_fields]
    lines = []
    for name in sorted(variables):
        # On some systems the names of variables have no case.
        if not name.upper().startswith(PREFIX) or name.upper() in {*known, *_OTHERS}:
            continue
        if name.startswith(f"{PREFIX}TEST"):
            continue
        close = get_close_matches(name.upper(), known, n=1)
        lines.append(f"{name} is no setting" + (f"; did you mean {close[0]}?" if close else ""))
    return lines


def load_settings(**overrides: Any) -> Settings:
    """Read the settings, or end the process (2) with one line that names the bad variable.

    Variables that begin like a setting and are none are named on standard error.
    """
    for line in unknown(os.environ):
        sys.stderr.write(f"lyo: {line}\n")
    try:
        return Settings(**overrides)
    except ValidationError as error:
        _refuse(describe(error))


def describe(error: ValidationError) -> str:
    """One line for a refused setting: the variable and what is wrong, never the value of a secret."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    message = first["msg"].removeprefix("Value error, ")
    return f"{PREFIX}{str(first['loc'][0]).upper()}: {message}" if first["loc"] else message


def _refuse(line: str) -> NoReturn:
    sys.stderr.write(f"lyo: bad setting {line}\n")
    raise SystemExit(2)

"""Every environment variable of the product, typed and described, in one place."""

from __future__ import annotations

import sys
from typing import Any, Literal, NoReturn

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
        description="Postgres, as a URL that begins with postgresql://; TLS by libpq's parameters in it: "
        "?sslmode=verify-full&sslrootcert=FILE, with sslcert, sslkey and sslpassword for our certificate.",
    )
    app_id: str = Field(
        "lyo",
        pattern=r"^[a-zA-Z0-9._-]{1,100}$",
        description="Consumer group of the workers and prefix of their transactional ids.",
    )
    topic_prefix: str = Field(
        "lyo.", pattern=r"^[a-zA-Z0-9._-]{0,100}$", description="What every topic's name begins with."
    )
    partitions: int = Field(
        8, ge=1, le=10_000, description="Partitions of every topic partitioned by user; fixed for ever."
    )
    replication: int = Field(1, ge=1, le=15, description="Replicas of each topic that is created.")
    clock: str | None = Field(
        None,
        description="An RFC 3339 instant at which the clock stands still, or @FILE that holds one and is "
        "read again each time; unset: the system's clock.",
    )

    release: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._+-]{1,100}$",
        description="What this build is called, shown by the monitor; unset: the version of the package.",
    )

    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="How to talk to Kafka: SSL is TLS, SASL with a user and a password."
    )
    ssl_cafile: str | None = Field(None, description="Certificate authorities that Kafka's must come from.")
    ssl_certfile: str | None = Field(None, description="Our certificate, where Kafka asks for one.")
    ssl_keyfile: str | None = Field(None, description="The key of our certificate.")
    ssl_password: SecretStr | None = Field(None, description="The password of that key.")
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "PLAIN", description="How to sign in to Kafka, with a SASL protocol."
    )
    sasl_username: str | None = Field(None, description="User name at Kafka.")
    sasl_password: SecretStr | None = Field(None, description="Password at Kafka.")

    session_timeout_ms: int = Field(
        10_000, ge=1_000, le=1_800_000, description="A worker silent for this long loses its partitions (ms)."
    )
    rebalance_timeout_ms: int = Field(
        30_000, ge=1_000, le=1_800_000, description="Time a worker has to give partitions back (ms)."
    )
    transaction_timeout_ms: int = Field(
        15_000, ge=1_000, le=900_000, description="Kafka aborts a transaction open for longer than this (ms)."
    )
    request_timeout_ms: int = Field(
        10_000, ge=1_000, le=300_000, description="Longest wait for one answer of Kafka (ms)."
    )
    connect_seconds: float = Field(
        20.0, ge=0, le=3_600, description="How long to go on trying to reach Kafka or Postgres at start (s)."
    )

    poll_records: int = Field(
        40_000, ge=1, le=100_000, description="Most records taken in one poll, of all partitions together."
    )
    batch_records: int = Field(
        64_000,
        ge=1,
        le=1_000_000,
        description="Most records of one task's transaction; with a backlog, larger is faster, since a "
        "learner with several events in it is predicted once.",
    )
    fetch_bytes: int = Field(
        2_097_152, ge=1_024, le=104_857_600, description="Most bytes fetched from one partition at once."
    )
    output_batch_bytes: int = Field(
        900_000, ge=16_384, le=1_000_000, description="Most bytes of one record or record batch that is sent."
    )
    compression: Literal["none", "lz4", "zstd", "gzip", "snappy"] = Field(
        "lz4", description="Compression of what is sent to Kafka."
    )

    sweep_seconds: float = Field(
        1.0, gt=0, le=3_600, description="How often a quiet partition is looked over for due predictions (s)."
    )
    write_layout: int = Field(
        2,
        ge=1,
        le=2,
        description="Layout in which a worker writes rows: the one before while workers of the release "
        "before run, which cannot read this one's.",
    )
    stalled_seconds: float = Field(
        60.0,
        ge=5,
        le=86_400,
        description="A worker or sink that gets nothing done for this long of a partition with lag ends (s).",
    )
    dead_letter_days: int = Field(
        30, ge=1, le=3_650, description="How long dead letters are kept (days); read at topic creation."
    )
    outbox_days: int = Field(
        7, ge=1, le=3_650, description="How long rows of the outbox are kept after they were sent (days)."
    )
    removed_days: int = Field(
        30,
        ge=1,
        le=3_650,
        description="How long removed rows are remembered (days); a subscriber away for longer begins anew.",
    )

    api_host: str = Field("127.0.0.1", min_length=1, description="Address that `lyo api` listens on.")
    api_port: int = Field(8000, ge=0, le=65_535, description="Port of `lyo api`; 0: any free one.")
    api_tls: bool = Field(
        default=False,
        description="The API is reached over TLS (a proxy ends it): tells browsers to insist on it (HSTS).",
    )
    api_body_bytes: int = Field(
        65_536, ge=1_024, le=10_485_760, description="Largest request body that the API reads (bytes)."
    )
    api_cors_origins: str = Field(
        "",
        pattern=r"^$|^https?://[^\s,/*]+(,https?://[^\s,/*]+)*$",
        description="Web origins that may call the API, separated by commas; empty: none.",
    )
    api_connections: int = Field(
        10, ge=1, le=1_000, description="Most connections to Postgres of one API process."
    )
    api_statement_seconds: float = Field(
        5.0, gt=0, le=300, description="Longest time for one statement, or to wait for a connection (s)."
    )
    api_drain_seconds: int = Field(
        20, ge=1, le=3_600, description="How long requests under way may take when the API is stopped (s)."
    )
    api_rate_limit: str = Field(
        "600/minute",
        pattern=r"^[1-9][0-9]{0,8}/(second|minute|hour)$",
        description="Requests that one learner may make of one API process, N/second, /minute or /hour.",
    )
    api_service_rate_limit: str = Field(
        "60000/minute",
        pattern=r"^[1-9][0-9]{0,8}/(second|minute|hour)$",
        description="The same for a caller with the service role.",
    )

    jwt_jwks_url: str | None = Field(
        None,
        description="Where the keys that sign tokens are published (JWKS); https, or http on this machine.",
    )
    jwt_jwks_file: str | None = Field(None, description="The same keys as a file; read again like them.")
    jwt_secret: SecretStr | None = Field(
        None, description="Secret of HS256 tokens, at least 32 bytes; for development only."
    )
    jwt_audience: str = Field("lyo", min_length=1, description="Audience (`aud`) that a token must name.")
    jwt_issuer: str | None = Field(None, description="Issuer (`iss`) that a token must name; unset: any.")
    jwt_leeway_seconds: float = Field(
        30.0, ge=0, le=600, description="How far the clocks of issuer and API may differ (s)."
    )
    jwt_refresh_seconds: float = Field(
        300.0, ge=1, le=86_400, description="Age at which the keys are fetched again (s)."
    )
    jwt_cooldown_seconds: float = Field(
        30.0,
        ge=0,
        le=3_600,
        description="Least time between two fetches, for an unknown key or after a failure.",
    )
    jwt_user_claim: str = Field("sub", min_length=1, description="Claim that holds the learner's id.")
    jwt_organization_claim: str = Field("org", min_length=1, description="Claim that holds the tenant's id.")
    jwt_roles_claim: str = Field(
        "roles", min_length=1, description="Claim that holds a list of roles, or one; `role` is read, too."
    )
    jwt_service_role: str = Field(
        "service", min_length=1, description="Role that may ask for any learner of its tenant."
    )
    jwt_single_tenant: bool = Field(
        default=False,
        description="There is one tenant: a service's token without a tenant may ask for every learner.",
    )
    monitor_host: str = Field("127.0.0.1", min_length=1, description="Address that `lyo monitor` listens on.")
    monitor_port: int = Field(9100, ge=0, le=65_535, description="Port of `lyo monitor`; 0: any free one.")
    monitor_token: SecretStr | None = Field(
        None, description="Token that opens the on-call page, at least 16 bytes; unset: the page is closed."
    )
    monitor_operator_token: SecretStr | None = Field(
        None,
        description="Token that also shows what dead letters held and retries them, at least 16 bytes; "
        "unset: nobody may.",
    )
    monitor_tls: bool = Field(
        default=False, description="The page is reached over TLS (a proxy ends it): cookies are sent only so."
    )
    monitor_interval_seconds: float = Field(
        2.0, ge=0.2, le=300, description="How often the monitor looks at Kafka and Postgres (s)."
    )
    monitor_survey_seconds: float = Field(
        60.0, ge=1, le=86_400, description="How often it counts learners whose predictions are overdue (s)."
    )
    monitor_lagging_seconds: float = Field(
        10.0, gt=0, le=86_400, description="From this age of the oldest unprocessed record on: lagging (s)."
    )
    monitor_stalled_seconds: float = Field(
        8.0,
        gt=0,
        le=86_400,
        description="With something waiting and nothing done for this long: stalled (s).",
    )
    monitor_restore_rate: int = Field(
        100_000,
        ge=1,
        le=100_000_000,
        description="Changelog records restored each second, to estimate how long a worker restores.",
    )
    monitor_history_minutes: int = Field(
        60, ge=1, le=10_080, description="How far back the charts of the on-call page go (minutes)."
    )
    metrics_host: str = Field(
        "127.0.0.1", min_length=1, description="Address on which a process shows its metrics to Prometheus."
    )
    metrics_port: int = Field(
        0, ge=0, le=65_535, description="Port of those metrics, one for each process of a machine; 0: none."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="What is logged.")
    log_format: Literal["text", "json"] = Field(
        "text", description="How each line is written: for people, or as one JSON object."
    )
    crash_at: str | None = Field(
        None,
        pattern=r"^[a-z_]+(:[0-9]+)?(:stop)?$",
        description="For tests: STEP[:N] ends the worker or sink at the Nth time it reaches that step; "
        "with :stop it is frozen instead, as by SIGSTOP.",
    )

    _servers = field_validator("bootstrap_servers")(checks.servers)
    _clock = field_validator("clock")(checks.clock)
    _no_secret = field_validator("jwt_secret", mode="before")(checks.unset_if_empty)
    _secret = field_validator("jwt_secret")(checks.secret)
    _token = field_validator("monitor_token", "monitor_operator_token")(checks.token)
    _jwks_url = field_validator("jwt_jwks_url")(checks.jwks_url)

    @model_validator(mode="after")
    def _security(self) -> Settings:
        checks.security(self)
        return self

    @property
    def servers(self) -> list[str]:
        """The brokers, one ``host:port`` each."""
        return [server.strip() for server in self.bootstrap_servers.split(",")]


def load_settings(**overrides: Any) -> Settings:
    """Read the settings, or end the process (2) with one line that names the bad variable."""
    try:
        return Settings(**overrides)
    except ValidationError as error:
        _refuse(describe(error))


def describe(error: ValidationError) -> str:
    """One line for a refused setting: the variable and what is wrong, never the value of a secret."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    message = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        return message
    return f"{PREFIX}{str(first['loc'][0]).upper()}: {message}"


def _refuse(line: str) -> NoReturn:
    sys.stderr.write(f"lyo: bad setting {line}\n")
    raise SystemExit(2)

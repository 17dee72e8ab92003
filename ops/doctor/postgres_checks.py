"""Judges a Postgres: version, schema, permissions, clock, and the sink's offsets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from aiokafka import TopicPartition
from alembic.script import ScriptDirectory

from lyo.models.predictions.kinds import DROPOUT_RISK, model_of
from lyo.ops.doctor.cluster import Cluster
from lyo.ops.doctor.findings import Finding, Fix, error, ok, unknown, warning
from lyo.ops.doctor.kafka_checks import outside_of
from lyo.storage.database import shown_url
from lyo.storage.schema.condition import Condition
from lyo.storage.schema.migrate import configuration
from lyo.storage.schema.revision import newest_revision
from lyo.streams.model_files import fitted_hazard
from lyo.streams.settings import Settings

OLDEST: Final = 15
"""The oldest major version of Postgres that was tested."""

NOTICED_MS: Final = 2_000.0
"""With a larger difference the clocks are not synchronised; network and load explain smaller ones."""

REFUSED_MS: Final = 30_000.0
"""The leeway that tokens have by default (LYO_JWT_LEEWAY_SECONDS)."""

CHECKS: Final = (
    "postgres.version",
    "postgres.schema",
    "postgres.permissions",
    "postgres.connections",
    "postgres.offsets",
    "predictions.model",
    "clock.postgres",
)


def judge(settings: Settings, condition: Condition, cluster: Cluster | None) -> Iterator[Finding]:
    """All findings; the sink's offsets are compared with the topics if these are known."""
    yield _version(condition)
    yield from _schema(settings, condition)
    yield from _permissions(condition)
    yield _connections(settings, condition)
    yield from _offsets(condition, cluster)
    yield _model(settings, condition)
    yield _clock(settings, condition)


def _version(condition: Condition) -> Finding:
    about = f"Postgres {condition.version}"
    if condition.version < OLDEST:
        found = f"older than {OLDEST}, the oldest that was tried"
        return warning("postgres.version", about, found, f"upgrade to Postgres {OLDEST} or newer")
    if condition.encoding != "UTF8":
        found = f"its encoding is {condition.encoding}: names in other scripts are refused"
        return error("postgres.version", about, found, "create a database with ENCODING 'UTF8'")
    return ok("postgres.version", about, f"{OLDEST} or newer, in UTF8")


def _schema(settings: Settings, condition: Condition) -> Iterator[Finding]:
    about, newest, have = shown_url(settings.database_url), newest_revision(), condition.revision
    if have == newest and condition.missing:
        found = f"at revision {have}, and without {', '.join(condition.missing)}"
        to_do = "bring them back from a backup, or migrate a new database and fill it: lyo sink --rebuild"
        yield error("postgres.schema", about, found, to_do)
    elif have == newest:
        yield ok("postgres.schema", about, f"at revision {have}")
    elif have is None or _known(have):
        state = "was never migrated" if have is None else f"is at revision {have}"
        may = "" if condition.may_create else f"; {condition.role} may not create tables, so as their owner"
        yield error(
            "postgres.schema",
            about,
            f"it {state}, not at {newest}",
            f"lyo migrate{may}",
            Fix.MIGRATE if condition.may_create else None,
        )
    else:
        found = f"it is at revision {have}, which this version ({newest}) does not know"
        yield error("postgres.schema", about, found, "a newer version has migrated it: run that one")


def _known(revision: str) -> bool:
    scripts = ScriptDirectory.from_config(configuration(""))
    return revision in {script.revision for script in scripts.walk_revisions()}


def _permissions(condition: Condition) -> Iterator[Finding]:
    about = condition.role
    if condition.read_only:
        found = "the server takes no writes: a standby, or default_transaction_read_only"
        yield error("postgres.permissions", about, found, "let LYO_DATABASE_URL name the primary")
    for line in condition.forbidden:
        table, _, privileges = line.partition(": ")
        yield error(
            "postgres.permissions",
            f"table {table}",
            f"{about} may not {privileges}",
            f'GRANT {privileges} ON "{table}" TO "{about}"',
        )
    if not condition.read_only and not condition.forbidden:
        yield ok("postgres.permissions", about, "SELECT, INSERT, UPDATE and DELETE on every table there is")


def _connections(settings: Settings, condition: Condition) -> Finding:
    wanted = settings.api_connections
    if condition.connections < 2 * wanted:
        found = f"max_connections={condition.connections}, and one API process takes up to {wanted}"
        to_do = "raise max_connections, or lower LYO_API_CONNECTIONS"
        return warning("postgres.connections", f"{condition.connections}", found, to_do)
    found = f"one API process takes up to {wanted}"
    return ok("postgres.connections", f"{condition.connections}", found)


def _offsets(condition: Condition, cluster: Cluster | None) -> Iterator[Finding]:
    about = "table sink_offsets"
    if condition.offsets is None or cluster is None:
        to_do = "see the findings about Kafka and the schema, and ask again"
        yield unknown("postgres.offsets", about, "they cannot be compared with the topics", to_do)
        return
    stored = {TopicPartition(*place): offset for place, offset in condition.offsets.items()}
    outside = outside_of(stored, cluster.ranges)
    for topic, found in outside.items():
        yield error(
            "postgres.offsets",
            topic,
            f"the sink has stored an offset without a record: {found}",
            "the topic was created again or has lost records: lyo sink --rebuild",
        )
    if not outside:
        yield ok("postgres.offsets", about, f"{len(stored)} stored, all within their partitions")


def _model(settings: Settings, condition: Condition) -> Finding:
    """Whether the worker computes dropout risks as processes with these settings do."""
    ours, theirs = model_of(DROPOUT_RISK, fitted_hazard(settings.dropout_model)), condition.dropout_model
    about = "dropout risks"
    if theirs is None or ours == theirs:
        return ok("predictions.model", about, f"by {ours}" if theirs else f"none stored; by {ours} from here")
    found = f"the newest one stored is by {theirs}, and these settings compute with {ours}"
    to_do = "give workers and API the same file as LYO_DROPOUT_MODEL, and start both again"
    return warning("predictions.model", about, found, to_do)


def _clock(settings: Settings, condition: Condition) -> Finding:
    seconds = condition.skew_ms / 1000
    found = f"Postgres is {abs(seconds):,.1f} s {'ahead of' if seconds > 0 else 'behind'} this clock"
    to_do = "synchronise both machines' clocks (NTP)"
    if settings.clock is not None:
        found += ", which LYO_CLOCK sets"
        to_do = "unset LYO_CLOCK: it is for tests and for old files"
    if abs(condition.skew_ms) > REFUSED_MS:
        return error("clock.postgres", "", found, to_do)
    if abs(condition.skew_ms) > NOTICED_MS or settings.clock is not None:
        return warning("clock.postgres", "", found, to_do)
    return ok("clock.postgres", "", found)

"""Collects all findings of `lyo doctor`, and creates what is missing for `--fix`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

import asyncpg
from aiokafka.errors import KafkaConnectionError, KafkaError
from sqlalchemy.exc import SQLAlchemyError

from lyo.ops.doctor import cluster, kafka_checks, placement_checks, postgres_checks, topic_checks
from lyo.ops.doctor.cluster import Cluster
from lyo.ops.doctor.findings import Finding, Fix, error, ok, unseen, warning
from lyo.storage.database import shown_url
from lyo.storage.schema import condition
from lyo.storage.schema.condition import Condition
from lyo.storage.schema.migrate import upgrade
from lyo.streams import topic_admin, topics
from lyo.streams.clock import Clock
from lyo.streams.kafka import clients
from lyo.streams.kafka.security import refusal
from lyo.streams.settings import Settings

ANSWER_SECONDS: Final = 30.0
AWAY: Final = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)


async def examine(settings: Settings) -> list[Finding]:
    """Examine Kafka and Postgres concurrently; changes nothing."""
    kafka, postgres = await asyncio.gather(_kafka(settings), _postgres(settings))
    return [
        *_about_kafka(settings, kafka),
        *_about_postgres(settings, postgres, kafka if isinstance(kafka, Cluster) else None),
        *await _placement(settings, kafka, postgres),
        _keys(settings),
    ]


# ---------------------------------------------------------------- Kafka


async def _kafka(settings: Settings) -> Cluster | str:
    """The state of Kafka, or why it is unknown."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await cluster.look(settings, int(postgres_checks.NOTICED_MS))
    except TimeoutError:
        return f"no answer within {ANSWER_SECONDS:g} s"
    except KafkaConnectionError as problem:
        # The client only tells that it could not start.
        reason, _ = await refusal(settings)
        return reason or clients.explain(problem)
    except (KafkaError, OSError) as problem:
        return clients.explain(problem)


def _about_kafka(settings: Settings, kafka: Cluster | str) -> Iterable[Finding]:
    about = settings.bootstrap_servers
    if isinstance(kafka, str):
        to_do = "start Kafka, or correct LYO_BOOTSTRAP_SERVERS, LYO_SECURITY_PROTOCOL and LYO_SASL_*"
        yield error("kafka.reachable", about, f"it cannot be reached: {kafka}", to_do)
        yield from unseen((*kafka_checks.CHECKS, *topic_checks.CHECKS), "Kafka cannot be reached", to_do)
        return
    yield ok("kafka.reachable", about, f"{len(kafka.brokers)} in the cluster")
    yield from kafka_checks.judge(settings, kafka)
    yield from topic_checks.judge(settings, kafka)


# ---------------------------------------------------------------- Postgres


async def _postgres(settings: Settings) -> Condition | BaseException:
    """The condition of Postgres, or why it is unknown."""
    try:
        return await condition.look(
            settings.database_url, Clock(settings.clock).now, settings.api_statement_seconds
        )
    except AWAY as problem:
        return problem


def _about_postgres(
    settings: Settings, postgres: Condition | BaseException, kafka: Cluster | None
) -> Iterable[Finding]:
    about = shown_url(settings.database_url)
    if isinstance(postgres, Condition):
        yield ok("postgres.reachable", about, f"as {postgres.role}")
        yield from postgres_checks.judge(settings, postgres, kafka)
        return
    to_do, fix = "start Postgres, or correct LYO_DATABASE_URL", None
    if isinstance(postgres, asyncpg.InvalidCatalogNameError):
        to_do, fix = "create the database (createdb), then lyo migrate", Fix.CREATE_DATABASE
    elif isinstance(postgres, asyncpg.InvalidAuthorizationSpecificationError):
        to_do = "correct the user and the password in LYO_DATABASE_URL, or pg_hba.conf"
    yield error("postgres.reachable", about, f"it cannot be used: {clients.explain(postgres)}", to_do, fix)
    yield from unseen(postgres_checks.CHECKS, "Postgres cannot be reached", to_do)


async def _placement(
    settings: Settings, kafka: Cluster | str, postgres: Condition | BaseException
) -> list[Finding]:
    """Whether records lie where they belong; reads the dead letters and the learners' rows."""
    to_do = "see the findings above, and ask again"
    found: list[Finding] = []
    try:
        if isinstance(kafka, str):
            found += unseen(placement_checks.CHECKS, "Kafka cannot be reached", to_do)
        else:
            placement = await placement_checks.look(settings, kafka)
            found += placement_checks.judge(settings, kafka, placement)
    except (KafkaError, OSError) as problem:
        found += unseen(placement_checks.CHECKS, clients.explain(problem), to_do)
    try:
        if isinstance(postgres, Condition):
            found.append(placement_checks.judge_postgres(await placement_checks.look_postgres(settings)))
        else:
            found += unseen((placement_checks.POSTGRES,), "Postgres cannot be reached", to_do)
    except AWAY as problem:
        found += unseen((placement_checks.POSTGRES,), clients.explain(problem), to_do)
    return found


def _keys(settings: Settings) -> Finding:
    """Whether `lyo api` is configured to check tokens; its /readyz tells whether the keys can be read."""
    if settings.jwt_jwks_url is not None or settings.jwt_jwks_file is not None:
        return ok("api.keys", "", "LYO_JWT_JWKS_URL or LYO_JWT_JWKS_FILE says whose tokens are taken")
    if settings.jwt_secret is not None:
        found = "tokens signed with LYO_JWT_SECRET are taken: whoever can check one can make one"
        return warning("api.keys", "", found, "for anything but development, set LYO_JWT_JWKS_URL")
    found = "lyo api does not start: nothing says whose tokens it takes"
    return warning("api.keys", "", found, "set LYO_JWT_JWKS_URL or LYO_JWT_JWKS_FILE where the API runs")


# ---------------------------------------------------------------- creating what is missing


async def put_right(settings: Settings, findings: Iterable[Finding]) -> list[str]:
    """Create what the findings report as missing, and nothing else; gives a line for each attempt."""
    done: list[str] = []
    todo = {finding.fix for finding in findings}
    if Fix.CREATE_DATABASE in todo:
        done.append(await _create_database(settings))
    if todo & {Fix.CREATE_DATABASE, Fix.MIGRATE}:
        done.append(await _migrate(settings))
    missing = {finding.about for finding in findings if finding.fix is Fix.CREATE_TOPIC}
    if missing:
        done.extend(await _create_topics(settings, missing))
    return done


async def _create_database(settings: Settings) -> str:
    about = shown_url(settings.database_url)
    try:
        await condition.create_database(settings.database_url, settings.api_statement_seconds)
    except AWAY as problem:
        return f"could not create the database of {about}: {clients.explain(problem)}"
    return f"created the database of {about}"


async def _migrate(settings: Settings) -> str:
    about = shown_url(settings.database_url)
    try:
        await asyncio.to_thread(upgrade, settings.database_url)
    except (OSError, SQLAlchemyError) as problem:
        reason = str(getattr(problem, "orig", None) or problem).splitlines()[0]
        return f"could not migrate {about}: {reason}"
    return f"migrated {about} to the newest revision"


async def _create_topics(settings: Settings, missing: set[str]) -> list[str]:
    done = []
    for spec in (spec for spec in topics.specs(settings) if spec.name in missing):
        try:
            await topic_admin.create(settings, [spec])
        except (KafkaError, OSError, topics.TopicError) as problem:
            done.append(f"could not create {spec.name}: {problem}")
        else:
            done.append(f"created {spec.name}")
    return done

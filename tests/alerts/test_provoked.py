"""Each alert of `ops/deploy/alerts.yml` is provoked, fires in a real Prometheus, and ends."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete

from lyo.models.events.decode import Kind, partition
from lyo.streams import topics
from lyo.streams.kafka import clients
from lyo.streams.settings import Settings
from lyo.tools.stack import LocalKafka, LocalPostgres
from tests.support.faults.fleet import Member
from tests.support.faults.incidents import LEARNER, Incidents, frozen, incidents, stamp
from tests.support.monitor import alerting
from tests.support.processes import Environment
from tests.support.servers import broker_tool
from tests.support.worker.running import Event

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(2_400)]

DAY = 86_400
LEARNERS = range(1, 151)
NEWCOMERS = range(1_001, 1_021)
TENANT, NEW_TENANT = 1, 9
MANY = 10_500
PATIENT = {"LYO_SESSION_TIMEOUT_MS": "300000"}
"""A worker that stands still stays in the group for as long as it takes here."""


async def test_every_alert_fires_on_a_running_system_and_ends(
    own_kafka: LocalKafka, own_postgres: LocalPostgres, environment: Environment, tmp_path: Path
) -> None:
    settings = Settings(
        bootstrap_servers=own_kafka.bootstrap_servers,
        database_url=own_postgres.database_url,
        partitions=4,
        stalled_seconds=600,
        request_timeout_ms=3_000,
        monitor_interval_seconds=0.5,
        monitor_survey_seconds=1,
    )
    async with incidents(settings, environment, tmp_path) as story:
        await nothing_fires_where_all_is_well(story)
        await the_monitor_ends(story)
        await bad_data(story)
        await a_worker_stands_still_and_no_sink_runs(story)
        await a_worker_hangs_while_it_restores(story)
        await workers_come_and_go(story)
        await kafka_does_not_answer(story, own_kafka)
        await kafka_refuses_what_workers_send(story)
        await postgres_is_away(story, own_postgres)
        await postgres_holds_requests_up(story)
        await the_outbox_is_refused(story)
        await figures_are_not_computed(story)
        await nobody_is_looked_at_for_two_days(story)
        await nobody_publishes(story)
        await records_are_lost(story)
        every = set(alerting.names(alerting.RULES.read_text()))
        assert set(story.seen) == every
        await story.ends(*every, seconds=400)


def life(story: Incidents, users: range, tenant: int) -> list[Event]:
    """Three days of some learners, of whom everything is known."""
    made = []
    for user in users:
        for day in (3, 2, 1):
            about = {"seconds": day * DAY, "organization_id": tenant}
            made.append(story.session(user, **about))
            made.append(story.sentiment(user, **about))
            made.append(story.completion(user, skills=["skill"], score=0.8, **about))
    return made


async def nothing_fires_where_all_is_well(story: Incidents) -> None:
    await story.give(life(story, LEARNERS, TENANT))
    await story.done()
    # Its figures are those of now.
    await story.restart("monitor")
    await story.ends(*alerting.names(alerting.RULES.read_text()))


async def the_monitor_ends(story: Incidents) -> None:
    story.member("monitor").kill()
    await story.fires("LyoMonitorSilent", "LyoProcessDown")
    story.start("monitor")
    await story.ends("LyoMonitorSilent", "LyoProcessDown")


async def bad_data(story: Incidents) -> None:
    await story.give(story.event(Kind.SESSION, user, started_at="yesterday") for user in LEARNERS)
    await story.fires("LyoDeadLetters")
    await story.give(story.sentiment(user, seconds=-3_600, organization_id=TENANT) for user in LEARNERS)
    await story.give(
        story.completion(user, organization_id=NEW_TENANT) for user in NEWCOMERS for _ in range(10)
    )
    await story.fires("LyoClocksWrong", "LyoCompletionsIncomplete")
    await story.give(
        story.event(
            Kind.STRUGGLE_REQUEST,
            user,
            requested_at=stamp(-60),
            content_metadata={"content_id": f"lesson-{number}", "skills": ["skill"]},
            organization_id=TENANT,
        )
        for user in LEARNERS
        for number in range(2)
    )
    await story.done()
    await story.give(await outcomes(story, true=False))
    await story.done()
    await story.restart("monitor")
    await story.fires("LyoTenantsSilent", "LyoAccuracyLow")
    await story.give([*life(story, NEWCOMERS, NEW_TENANT), *await outcomes(story, true=True)])
    await story.done()
    await story.restart("monitor")
    await story.ends("LyoTenantsSilent", "LyoAccuracyLow", "LyoDeadLetters")


async def outcomes(story: Incidents, *, true: bool) -> list[Event]:
    """What came of every prediction of struggle: what was held likelier, or the other."""
    async with story.postgres() as connection:
        rows = await connection.fetch(
            "SELECT user_id, content_id, struggle_probability >= 0.5 AS likely FROM struggle_predictions"
        )
    assert len(rows) >= 200
    return [
        story.event(
            Kind.OUTCOME,
            row["user_id"],
            occurred_at=stamp(),
            content_id=row["content_id"],
            kind="struggled" if row["likely"] is true else "not_struggled",
            organization_id=TENANT,
        )
        for row in rows
    ]


async def a_worker_stands_still_and_no_sink_runs(story: Incidents) -> None:
    await story.restart("worker", **PATIENT)
    await story.stop("sink")
    await story.to_outbox(topics.names(story.settings).topic(Kind.OUTCOME))
    await story.give(story.session(user, organization_id=TENANT) for user in LEARNERS)
    # The sink has something to store now.
    await story.read()
    await story.fires("LyoGroupStopped")
    story.member("worker").freeze()
    await story.give(
        story.sentiment(user, organization_id=TENANT)
        for user in LEARNERS
        for _ in range(MANY // len(LEARNERS))
    )
    await story.fires("LyoPartitionStalled", "LyoLagGrowing")
    await story.fires("LyoLagHigh", "LyoSinkBehind", "LyoOutboxStuck")
    story.member("worker").thaw()
    story.start("sink")
    await story.done()
    await story.ends(
        "LyoGroupStopped",
        "LyoPartitionStalled",
        "LyoLagGrowing",
        "LyoLagHigh",
        "LyoSinkBehind",
        "LyoOutboxStuck",
    )


async def a_worker_hangs_while_it_restores(story: Incidents) -> None:
    await story.stop("worker")
    await story.give(story.session(user, organization_id=TENANT) for user in LEARNERS)
    await story.restart("monitor", LYO_MONITOR_RESTORE_RATE="10")
    story.start("worker", LYO_CRASH_AT="fenced:stop", **PATIENT)
    await story.fires("LyoRestoringLong")
    story.member("worker").thaw()
    await story.done()
    await story.ends("LyoRestoringLong")
    await story.restart("monitor")
    await story.restart("worker")


async def workers_come_and_go(story: Incidents) -> None:
    async def come_and_go() -> None:
        while True:
            other = story.fleet.add("worker-2", LYO_METRICS_PORT="0")
            said = other.said("assigned numbers")

            async def assigned(other: Member = other, said: int = said) -> bool:
                return other.said("assigned numbers") > said

            await story.until(assigned, "another worker has joined")
            await other.stop()

    restless = asyncio.create_task(come_and_go())
    await story.fires("LyoRebalancing")
    restless.cancel()
    with suppress(asyncio.CancelledError):
        await restless
    # It may have been started a moment ago, and not know yet what SIGTERM asks for.
    story.fleet.members["worker-2"].kill()


async def kafka_does_not_answer(story: Incidents, broker: LocalKafka) -> None:
    await story.done()

    async with frozen(broker):
        await story.fires("LyoKafkaUnreachable", "LyoLagUnknown")
    await story.done()
    await story.ends("LyoKafkaUnreachable", "LyoLagUnknown")


async def kafka_refuses_what_workers_send(story: Incidents) -> None:
    topic = topics.names(story.settings).prediction("dropout-risk")

    async def change(*how: str) -> None:
        where = ("--entity-type", "topics", "--entity-name", topic)
        servers = story.settings.bootstrap_servers
        await asyncio.to_thread(broker_tool.configure, servers, "--alter", *how, *where)

    await change("--add-config", "max.message.bytes=100")
    await story.give(story.session(user, organization_id=TENANT) for user in LEARNERS)
    await story.fires("LyoPartitionsFailing")
    await change("--delete-config", "max.message.bytes")
    # What had waited is late.
    await story.fires("LyoPredictionsSlow")
    await story.done()
    await story.ends("LyoPartitionsFailing", "LyoPredictionsSlow")


async def postgres_is_away(story: Incidents, server: LocalPostgres) -> None:
    async with story.asked("/dropout/risk") as statuses:

        async def answered() -> bool:
            return 200 in statuses

        await story.until(answered, "the API answers")
        await asyncio.to_thread(server.stop)
        await story.give(story.session(user, organization_id=TENANT) for user in LEARNERS)
        await story.fires("LyoPostgresUnreachable", "LyoSinkRetrying", "LyoApiFailing")
        await asyncio.to_thread(server.start)
        await story.ends("LyoPostgresUnreachable", "LyoSinkRetrying", "LyoApiFailing")
    await story.done()


async def postgres_holds_requests_up(story: Incidents) -> None:
    async def hold_up() -> None:
        while True:
            async with story.locked("dropout_risk_scores"):
                await asyncio.sleep(1)

    async with story.asked("/dropout/risk"):
        holding = asyncio.create_task(hold_up())
        await story.fires("LyoApiSlow")
        holding.cancel()
        await asyncio.gather(holding, return_exceptions=True)
        await story.ends("LyoApiSlow")


async def the_outbox_is_refused(story: Incidents) -> None:
    await story.to_outbox(f"{story.settings.topic_prefix}nowhere")
    await story.fires("LyoOutboxRefused")
    async with story.postgres() as connection:
        await connection.execute("DELETE FROM outbox WHERE error IS NOT NULL")
    await story.ends("LyoOutboxRefused")


async def figures_are_not_computed(story: Incidents) -> None:
    async with story.locked("struggle_predictions"):
        await story.restart("monitor")
        await story.fires("LyoQualityOld")
    await story.ends("LyoQualityOld")


async def nobody_is_looked_at_for_two_days(story: Incidents) -> None:
    await story.restart("monitor", LYO_CLOCK=stamp(2 * DAY))
    await story.fires("LyoPredictionsOld", "LyoLearnersOverdue", "LyoCoverageFell")
    await story.restart("monitor")
    await story.ends("LyoPredictionsOld", "LyoLearnersOverdue", "LyoCoverageFell")


async def nobody_publishes(story: Incidents) -> None:
    await story.fires("LyoNoEvents", seconds=400)
    await story.give([story.session(LEARNER, organization_id=TENANT)])
    await story.ends("LyoNoEvents")


async def records_are_lost(story: Incidents) -> None:
    await story.stop("worker")
    await story.give(story.session(user, organization_id=TENANT) for user in LEARNERS)
    place = TopicPartition(
        topics.names(story.settings).topic(Kind.SESSION), partition(LEARNER, story.settings.partitions)
    )
    async with clients.admin(story.settings) as client:
        await client.delete_records({place: RecordsToDelete(before_offset=-1)})
    await story.fires("LyoGroupRewound")
    worker = story.start("worker")
    assert await worker.ended() != 0
    print(worker.tail(400))
    await story.stop("sink")
    began = time.monotonic()
    await story.lyo("rebuild", "--yes")
    for command in ("worker", "sink"):
        story.start(command)
    await story.done()
    await story.ends("LyoGroupRewound")
    print(f"rebuilt after {time.monotonic() - began:.1f} s")

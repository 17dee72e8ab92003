"""What a subscriber is told on Postgres alone: every cut, filter and cursor."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from lyo.storage.database import plain_url
from lyo.storage.sink.offsets import Place, claim
from lyo.storage.subscription.cursor import CursorError, decode
from lyo.storage.subscription.follow import Subscription, SubscriptionError
from tests.support.sink.records import (
    NAMES,
    dropout,
    plateau,
    prediction,
    regression,
    struggle,
    timing,
)
from tests.support.sink.running import until
from tests.support.sink.subscribing import (
    Store,
    Told,
    all_stored,
    in_order,
    in_tables,
    opened,
    take,
    told,
    view,
)

pytestmark = pytest.mark.integration

NEVER = 100_000.0


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with opened(database_url) as store:
        yield store


async def some_of_everything(store: Store) -> None:
    for partition in (0, 1):
        first = partition * 100 + 1
        await store.predict("dropout-risk", *(dropout(first + n) for n in range(3)), partition=partition)
        await store.predict("plateaus", plateau(first, detected=(0, 10, 20)), partition=partition)
        await store.predict("plateaus", plateau(first, detected=(20, 30)), partition=partition)
        await store.predict("struggle", *(struggle(first, about) for about in "abc"), partition=partition)
        await store.bury("struggle", struggle(first, "b"), partition=partition)
        await store.predict("struggle", struggle(first, "b"), partition=partition)
        await store.predict("regressions", regression(first, detected=(0, 50)), partition=partition)
        await store.predict("regressions", regression(first, detected=()), partition=partition)


def plain(changes: list[Told]) -> list[Told]:
    return [change | {"cursor": ""} for change in changes]


@pytest.mark.parametrize("page", [1, 2, 3, 5, 8, 500])
async def test_from_any_cursor_exactly_the_rest_is_told(store: Store, page: int) -> None:
    await some_of_everything(store)
    changes = await all_stored(store.url, page=page)
    assert in_order(changes)
    assert view(changes) == await in_tables(store.url)
    told_by_large_pages = sorted(plain(await all_stored(store.url)), key=repr)
    assert sorted(plain(changes), key=repr) == told_by_large_pages
    for number, change in enumerate(changes):
        rest = await all_stored(store.url, change["cursor"], page=page)
        assert sorted(plain(rest), key=repr) == sorted(plain(changes[number + 1 :]), key=repr)


async def test_rows_of_one_record_and_its_removals_are_cut_anywhere(store: Store) -> None:
    await store.predict("plateaus", plateau(1, detected=(0, 10, 20)))
    before = await all_stored(store.url)
    await store.predict("plateaus", plateau(1, detected=(20, 30, 40)))
    async with Subscription(store.url, before[-1]["cursor"], once=True, page=1) as changes:
        found = [told(change) async for change in changes]
    assert [change["operation"] for change in found] == ["removed"] * 2 + ["changed"] * 3
    assert len({change["log_offset"] for change in found}) == 1
    assert view(before + found) == await in_tables(store.url)


async def test_what_is_told_of_a_row(store: Store) -> None:
    await store.write(prediction("struggle", struggle(1, "lesson"), 40, partition=3))
    (change,) = await all_stored(store.url)
    (row,) = (await in_tables(store.url)).values()
    assert change == {
        "kind": "struggle",
        "operation": "changed",
        "cursor": change["cursor"],
        "user_id": 1,
        "organization_id": 7,
        "subject": "lesson",
        "key": {
            "user_id": 1,
            "content_id": "lesson",
            "request_id": row["request_id"],
            "id": row["id"],
        },
        "row": row,
        "log_partition": 3,
        "log_offset": 40,
        "reason": None,
    }
    assert row["struggle_probability"] == 0.72
    assert row["as_of"] == "2026-03-01T12:00:00+00:00"
    assert row["prediction_features"] == {"prereq_mastery": 0.45}


async def test_a_batch_that_was_rolled_back_is_never_seen(store: Store) -> None:
    await store.predict("timing", timing(1))
    other = await asyncpg.connect(plain_url(store.url))
    async with Subscription(store.url, poll_seconds=0.01) as changes:
        await take(changes, 1)
        held = other.transaction()
        await held.start()
        place = Place(NAMES.prediction("timing"), 0)
        positions = await claim(other, {place: 0})
        offset = positions[place].next_offset
        batch = store.writer.prepare([prediction("timing", timing(2), offset)])
        assert await store.writer.store(other, batch, positions, {place: offset + 1})
        assert await all_stored(store.url, changes.cursor) == []
        await held.rollback()
        await store.write(prediction("timing", timing(3), offset))
        assert [change["user_id"] for change in await take(changes, 1)] == [3]
    await other.close()


async def test_a_transaction_that_commits_late_is_told_late(store: Store) -> None:
    """One sink's transaction is open while another's, begun later, is read: nothing falls in between."""
    slow = await asyncpg.connect(plain_url(store.url))
    async with Subscription(store.url, poll_seconds=NEVER) as changes:
        for user in range(1, 6):
            place = Place(NAMES.prediction("timing"), 0)
            async with slow.transaction():
                positions = await claim(slow, {place: 0})
            held = slow.transaction()
            await held.start()
            offset = positions[place].next_offset
            batch = store.writer.prepare([prediction("timing", timing(user), offset)])
            assert await store.writer.store(slow, batch, positions, {place: offset + 1})
            await store.predict("timing", timing(user + 100), partition=1)
            assert [change["user_id"] for change in await take(changes, 1)] == [user + 100]
            await held.commit()
            assert [change["user_id"] for change in await take(changes, 1)] == [user]
    await slow.close()


async def test_only_the_kinds_and_the_organization_asked_for(store: Store) -> None:
    await store.predict("timing", timing(1), timing(2, organization_id=8), timing(3, organization_id=None))
    await store.predict("struggle", struggle(1), struggle(2, organization_id=8))
    await store.bury("struggle", struggle(1))
    await store.bury("struggle", struggle(2))

    async def seen(**more: Any) -> set[tuple[str, int]]:
        return {(change["kind"], change["user_id"]) for change in await all_stored(store.url, **more)}

    whole = {("timing", 1), ("timing", 2), ("timing", 3), ("struggle", 1), ("struggle", 2)}
    assert await seen() == whole
    assert await seen(kinds=["timing"]) == {("timing", 1), ("timing", 2), ("timing", 3)}
    assert await seen(organization_id=8) == {("timing", 2), ("struggle", 2)}
    assert await seen(organization_id=8, kinds=["struggle"], page=1) == {("struggle", 2)}
    (*_, last) = await all_stored(store.url, organization_id=8)
    with pytest.raises(CursorError, match="the cursor is of organization 8, the subscription of every"):
        Subscription(store.url, last["cursor"])
    with pytest.raises(CursorError, match="of organization 8, the subscription of organization 7"):
        Subscription(store.url, last["cursor"], organization_id=7)


async def test_kinds_may_be_added_and_left_out_between_runs(store: Store) -> None:
    await store.predict("timing", timing(1))
    await store.predict("dropout-risk", dropout(1))
    (one,) = await all_stored(store.url, kinds=["timing"])
    (two,) = await all_stored(store.url, one["cursor"])
    assert two["kind"] == "dropout-risk"
    await store.predict("timing", timing(2))
    await store.predict("dropout-risk", dropout(2))
    (three,) = await all_stored(store.url, two["cursor"], kinds=["timing"])
    assert decode(three["cursor"]).seen_at == decode(two["cursor"]).seen_at, "what dropout lost is not seen"
    (four,) = await all_stored(store.url, three["cursor"])
    assert (four["kind"], four["user_id"]) == ("dropout-risk", 2)
    assert decode(four["cursor"]).seen_at > decode(two["cursor"]).seen_at


async def test_what_the_api_wrote_is_told_when_it_comes_back(store: Store) -> None:
    await store.predict("struggle", struggle(1))
    await store.connection.execute("UPDATE struggle_predictions SET log_partition = NULL, log_offset = NULL")
    assert await all_stored(store.url) == []
    await store.predict("struggle", struggle(1))
    assert [change["operation"] for change in await all_stored(store.url)] == ["changed"]


async def test_a_removal_that_was_forgotten_is_told_as_a_reset(store: Store) -> None:
    await store.predict("timing", timing(1))
    await store.predict("struggle", struggle(1))
    (*_, old) = await all_stored(store.url)
    await store.bury("struggle", struggle(1))
    assert [change["operation"] for change in await all_stored(store.url, old["cursor"])] == ["removed"]
    await store.connection.execute("DELETE FROM removed_rows")
    moment = await store.connection.fetchval("SELECT now()")
    forget = "UPDATE stream_epoch SET forgotten_before = $1"
    await store.connection.execute(forget, moment - timedelta(hours=1))
    assert await all_stored(store.url, old["cursor"]) == [], "its time is young enough"
    await store.connection.execute(forget, moment)
    reset, *rest = await all_stored(store.url, old["cursor"])
    assert (reset["operation"], reset["reason"]) == (
        "reset",
        "the cursor is older than what is remembered of removed rows",
    )
    assert view([reset, *rest]) == await in_tables(store.url)
    assert plain(await all_stored(store.url, reset["cursor"])) == plain(rest)
    # One that begins now has nothing to forget.
    assert plain(await all_stored(store.url)) == plain(rest)


async def test_another_database_is_recognised(store: Store) -> None:
    await store.predict("timing", timing(1))
    (one,) = await all_stored(store.url)
    await store.connection.execute("UPDATE stream_epoch SET epoch = gen_random_uuid()")
    reset, again = await all_stored(store.url, one["cursor"])
    assert reset["operation"] == "reset"
    assert plain([again]) == plain([one])


async def test_a_wait_that_was_cancelled_loses_nothing(store: Store) -> None:
    async with Subscription(store.url, poll_seconds=NEVER) as changes:
        seen: list[Told] = []
        for user in range(1, 8):
            waiting = asyncio.ensure_future(anext(changes))
            if user % 2:

                async def asleep() -> bool:
                    return changes.caught_up

                await until(asleep)
            waiting.cancel()
            await asyncio.wait([waiting])
            await store.predict("timing", timing(user))
            seen += await take(changes, 1)
        assert [change["user_id"] for change in seen] == list(range(1, 8))


async def test_a_broken_connection_is_opened_again(store: Store) -> None:
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lyo subscribe'"
    async with Subscription(store.url, poll_seconds=NEVER) as changes:
        for user in range(1, 4):
            await store.predict("timing", timing(user))
            assert [change["user_id"] for change in await take(changes, 1)] == [user]
            await store.connection.execute(kill + " AND datname = current_database()")


async def test_left_without_closing_it_gives_its_connection_back(store: Store) -> None:
    await store.predict("timing", timing(1))

    async def connected() -> int:
        sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'lyo subscribe'"
        return int(await store.connection.fetchval(sql + " AND datname = current_database()"))

    changes = Subscription(store.url)
    await anext(changes)
    assert await connected() == 1
    del changes

    async def gone() -> bool:
        return await connected() == 0

    await until(gone)


async def test_a_database_of_two_prefixes_is_refused(store: Store) -> None:
    await store.predict("timing", timing(1))
    async with store.connection.transaction():
        await claim(store.connection, {Place("other.predictions.timing", 0): 0})
    for kinds in (None, ["timing"], ["plateaus"]):
        with pytest.raises(SubscriptionError, match=r"several prefixes \(lyo\., other\.\).*--rebuild"):
            await all_stored(store.url, kinds=kinds)


@pytest.mark.parametrize("partition", [0, 1], ids=["that stands at less", "that is not known"])
async def test_a_restored_database_is_recognised_while_a_partition_is_behind(
    store: Store, partition: int
) -> None:
    topic = NAMES.prediction("plateaus")
    late = [prediction("plateaus", plateau(user), 10 + user, partition) for user in (2, 3)]
    await store.write(prediction("plateaus", plateau(1), 10))
    await store.predict("timing", timing(1))
    backup = await store.connection.fetch(
        "SELECT topic, partition, next_offset, epoch FROM sink_offsets WHERE topic = $1", topic
    )
    for record in late:
        await store.write(record)
    (*_, last) = await all_stored(store.url)
    await store.connection.execute("DELETE FROM learning_plateaus WHERE user_id > 1")
    await store.connection.execute("DELETE FROM sink_offsets WHERE topic = $1", topic)
    await store.connection.executemany(
        "INSERT INTO sink_offsets (topic, partition, next_offset, epoch) VALUES ($1, $2, $3, $4)", backup
    )
    (reset, *rest) = await all_stored(store.url, last["cursor"])
    assert (reset["operation"], reset["reason"].split(":")[0]) == (
        "reset",
        "the tables are behind the cursor",
    )
    # The sink catches up, and the same rows get other ids.
    await store.write(*late)
    rest += await all_stored(store.url, rest[-1]["cursor"])
    assert view(rest) == await in_tables(store.url)
    # Also by a kind that is not followed now: its rows are the same database's.
    await store.connection.execute("UPDATE sink_offsets SET next_offset = 1 WHERE topic = $1", topic)
    (reset, *_) = await all_stored(store.url, rest[-1]["cursor"], kinds=["timing"])
    assert reset["operation"] == "reset"


async def test_its_own_place_moves_on_without_changes(store: Store) -> None:
    await store.predict("timing", timing(1, organization_id=8))
    async with Subscription(store.url, organization_id=7, once=True) as changes:
        before = changes.cursor
        assert before is None
        assert [change async for change in changes] == []
        assert changes.cursor is not None
        assert decode(changes.cursor).positions != {}


@pytest.mark.parametrize(
    "wrong",
    [{"kinds": ["nothing"]}, {"kinds": []}, {"page": 0}, {"poll_seconds": 0}, {"organization_id": -1}],
)
def test_what_makes_no_sense_is_refused_at_once(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Subscription("postgresql://nobody@127.0.0.1:1/none", **wrong)

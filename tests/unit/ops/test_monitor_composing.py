"""From what was said to lags: unknown parts, restoring numbers, owners, and counts that offsets carry."""

from __future__ import annotations

import pytest
from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata

from lyo.models.backfill import Taken
from lyo.ops.monitor.broker import Group, GroupMember, Logs
from lyo.ops.monitor.composing import (
    GroupAnswers,
    Tracks,
    Watched,
    committed_counts,
    group_lag,
    members_of,
    openings_of,
    partition_lag,
)
from lyo.ops.monitor.lag import Rules
from lyo.ops.monitor.reading import Ends, Waiting
from lyo.ops.monitor.restores import Openings
from lyo.ops.monitor.snapshot import Status
from lyo.streams.kafka.client_ids import client_id, release, running
from lyo.streams.kafka.offset_metadata import EventCounts, newest, parse
from lyo.streams.settings import Settings

NOW = 1_800_000_000_000
A, B = TopicPartition("in", 0), TopicPartition("in", 1)
ROWS = (TopicPartition("rows", 0), TopicPartition("rows", 1))
WATCHED = Watched("workers", "lyo", ("in",))
WORKER = "lyo-worker@1.2@20270115T080000Z"


def ends(end: int = 10) -> Ends:
    places = (A, B, *ROWS)
    return Ends(dict.fromkeys(places, 0), dict.fromkeys(places, end), dict.fromkeys(places, end))


LONG = Logs({"in": (0, 1), "rows": (0, 1)}, ends(1_000))


def group(state: str = "Stable", owned: tuple[TopicPartition, ...] = (A, B), text: str = "") -> Group:
    members = (GroupMember("member-1", WORKER, "10.0.0.1", frozenset(owned)),)
    return Group(state, members, {tp: OffsetAndMetadata(10, text) for tp in (A, B)})


def said(**changes: object) -> GroupAnswers:
    known: dict[str, object] = {
        "group": group(),
        "logs": Logs({"in": (0, 1), "rows": (0, 1)}, ends()),
        "positions": {A: 10, B: 4},
        "waiting": {A: Waiting(), B: Waiting(4, NOW - 1_000)},
    }
    return GroupAnswers(**(known | changes))  # type: ignore[arg-type]


def lag_of(tp: TopicPartition, what: GroupAnswers, tracks: Tracks | None = None, now: int = NOW):  # type: ignore[no-untyped-def]
    tracks = tracks or Tracks(Rules())
    tracks.note(WATCHED.name, what, now)
    return partition_lag(WATCHED, tp, what, now, tracks.of(WATCHED.name, tp))


def test_a_partition_waits_its_turn_while_its_owner_gets_on_with_others() -> None:
    """A burst that drains is not stalled: one worker takes its partitions one after another."""
    tracks = Tracks(Rules())

    def status(seconds: int, done: int) -> Status:
        now, oldest = NOW + seconds * 1_000, Waiting(4, NOW - 1_000)
        answers = said(positions={A: done, B: 4}, waiting={A: oldest, B: oldest}, logs=LONG)
        lag_of(A, answers, tracks, now)
        return Status(lag_of(B, answers, tracks, now).status)

    seen = [status(seconds, 10 + seconds) for seconds in range(0, 60, 2)]
    assert set(seen) == {Status.OK, Status.LAGGING}
    assert status(60, 70) is Status.STALLED, "its owner had time for it"


def test_a_partition_whose_owner_gets_on_with_nothing_is_stalled_soon() -> None:
    tracks = Tracks(Rules())

    def status(seconds: int) -> Status:
        answers = said(waiting={A: Waiting(), B: Waiting(4, NOW - 1_000)})
        return Status(lag_of(B, answers, tracks, NOW + seconds * 1_000).status)

    assert [status(0), status(7), status(8)] == [Status.OK, Status.OK, Status.STALLED]


def test_what_a_sink_says_is_told_of_every_partition_that_waits() -> None:
    known = group()
    known.committed[A] = OffsetAndMetadata(10, "Postgres stores nothing")  # type: ignore[index]
    answers = said(group=known, positions={A: 10, B: 4}, waiting={A: Waiting(), B: Waiting(4, NOW - 20_000)})
    assert lag_of(A, answers).why == "nothing waits"
    wanted = "the oldest record has waited for 20 s; the sink says: Postgres stores nothing"
    assert lag_of(B, answers).why == wanted
    assert "says" not in lag_of(B, said(group=group(text="late=1 duplicates=2"))).why


def test_a_partition_is_told_with_its_owner() -> None:
    found = lag_of(B, said())
    assert (found.events, found.seconds, found.status, found.owner) == (6, 1.0, Status.OK, "member-1")


def test_what_kafka_did_not_say_is_unknown() -> None:
    found = lag_of(B, GroupAnswers())
    assert (found.events, found.seconds, found.status) == (None, None, Status.UNKNOWN)


def test_a_partition_without_a_leader_is_unknown_and_so_is_its_group() -> None:
    gone = said(
        logs=Logs({"in": (0,)}, Ends({A: 0}, {A: 10}, {A: 10})), positions={A: 10}, waiting={A: Waiting()}
    )
    whole = group_lag(WATCHED, [lag_of(A, gone), lag_of(B, gone)], gone.group)
    assert (whole.status, whole.events, whole.seconds) == (Status.UNKNOWN, None, None)


def test_a_partition_that_nobody_owns_is_stopped_unless_the_group_rebalances() -> None:
    assert lag_of(B, said(group=group(owned=(A,)))).status is Status.STOPPED
    assert lag_of(B, said(group=group("PreparingRebalance", owned=()))).status is Status.OK


# ------------------------------------------------------------ restoring


def opened(openings: Openings, what: GroupAnswers, now: int) -> set[int]:
    return set(openings_of(openings, WATCHED, what, ("rows",), now))


def test_a_new_owner_restores_while_something_waits_and_nothing_moves() -> None:
    openings, waiting = Openings(records_per_second=1), said()
    assert opened(openings, waiting, NOW) == {1}
    assert opened(openings, waiting, NOW + 19_000) == {1}
    moved = said(positions={A: 10, B: 5}, waiting={A: Waiting(), B: Waiting(5, NOW)})
    assert opened(openings, moved, NOW + 19_500) == set()
    assert opened(openings, moved, NOW + 19_600) == set()


def test_twice_the_estimate_is_no_excuse_any_more() -> None:
    openings = Openings(records_per_second=1)
    opened(openings, said(), NOW)
    assert opened(openings, said(), NOW + 20_000) == {1}
    assert opened(openings, said(), NOW + 20_001) == set()


def test_a_restoring_worker_is_named_with_an_estimate_and_not_stalled() -> None:
    what, openings, tracks = said(), Openings(records_per_second=1), Tracks(Rules(stalled_ms=8_000))
    what.openings = openings_of(openings, WATCHED, what, ("rows",), NOW)
    lag_of(B, what, tracks)
    later = NOW + 9_000
    what.openings = openings_of(openings, WATCHED, what, ("rows",), later)
    (member,) = members_of(WATCHED, what, later)
    assert (member.numbers, member.restoring, member.restore_seconds) == ((0, 1), (1,), 1.0)
    assert (member.release, member.started) == ("1.2", NOW)
    assert lag_of(B, what, tracks, later).status is Status.OK
    what.openings = openings_of(openings, WATCHED, what, ("rows",), NOW + 21_000)
    assert lag_of(B, what, tracks, NOW + 21_000).status is Status.STALLED


def test_nothing_restores_where_nobody_owns_or_the_group_rebalances() -> None:
    assert opened(Openings(1), said(group=group(owned=())), NOW) == set()
    assert opened(Openings(1), said(group=group("CompletingRebalance")), NOW) == set()
    assert opened(Openings(1), GroupAnswers(), NOW) == set()


# ------------------------------------------------------------ what offsets and client ids carry


def test_counts_are_summed_over_the_partition_numbers() -> None:
    assert committed_counts(WATCHED, said(group=group(text=EventCounts(2, 3).text()))) == EventCounts(4, 6)


def test_counts_are_unknown_if_one_number_says_none() -> None:
    assert committed_counts(WATCHED, said()) is None
    assert committed_counts(WATCHED, GroupAnswers()) is None


def test_nothing_committed_is_nothing_counted() -> None:
    assert committed_counts(WATCHED, said(group=Group("Empty", (), {}))) == EventCounts(0, 0)


def test_the_newest_of_a_numbers_tallies_counts() -> None:
    assert newest(
        [EventCounts(1, 5).text(), None, "", "written by another", EventCounts(2, 5).text()]
    ) == EventCounts(2, 5)
    assert newest(["", None]) is None


@pytest.mark.parametrize("text", ["", "late=1", "late=x duplicates=1", "late=1 duplicates=2 more"])
def test_other_metadata_is_no_tally(text: str) -> None:
    assert parse(text) is None


def test_a_batch_adds_to_the_tally() -> None:
    assert EventCounts(1, 2).plus({"late": 3, "applied": 9}) == EventCounts(4, 2)
    assert parse(EventCounts(4, 2).text()) == EventCounts(4, 2)


def test_a_client_id_says_role_release_and_start() -> None:
    said = running(client_id(Settings(release="2.0+abc"), "sink"))
    assert said is not None
    assert (said.role, said.release) == ("sink", "2.0+abc")
    assert running("aiokafka-0.14.0") is None
    assert release(Settings()) not in {"", None}


@pytest.mark.parametrize(
    ("recorded", "oldest", "until"),
    [
        (NOW - 1_000, None, 77),
        (NOW - 60_000, None, None),
        (NOW - 60_000, NOW - 30_000, 77),  # not all of it is read
    ],
)
def test_history_is_taken_in_until_it_has_settled(
    recorded: int, oldest: int | None, until: int | None
) -> None:
    text = EventCounts(0, 0, Taken(recorded, 77)).text()
    waiting = {A: Waiting(), B: Waiting() if oldest is None else Waiting(4, oldest)}
    lags = [
        partition_lag(WATCHED, tp, said(group=group(text=text), waiting=waiting), NOW, track, 60_000)
        for tp, track in ((A, Tracks(Rules()).of("lyo", A)), (B, Tracks(Rules()).of("lyo", B)))
    ]
    assert lags[1].history_until == until
    assert group_lag(WATCHED, lags, group()).history_until == until
    assert partition_lag(WATCHED, A, said(), NOW, Tracks(Rules()).of("lyo", A), 60_000).history_until is None


def test_offsets_carry_the_newest_history() -> None:
    counts = EventCounts(1, 2).with_history(Taken(5, 90)).with_history(None).with_history(Taken(6, 80))
    assert parse(counts.text()) == EventCounts(1, 2, Taken(6, 90))
    assert newest([EventCounts(1, 2).text(), counts.text()]) == counts

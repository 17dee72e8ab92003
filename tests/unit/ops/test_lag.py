"""Lag in events and seconds, time to drain, and each status by its rule."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyo.ops.monitor import lag
from lyo.ops.monitor.lag import GroupState, Owner, Rates, Rules, Track, Verdict, judge
from lyo.ops.monitor.snapshot import Status

NOW = 1_800_000_000_000
RULES = Rules(lagging_ms=10_000, stalled_ms=8_000, transaction_ms=15_000)
IDLE = GroupState(at=NOW, first=0, end=100, position=100, waiting=False, members=2, owned=True)
BUSY = replace(IDLE, position=40, waiting=True, oldest=NOW - 2_000)


def later(standing: GroupState, seconds: float, **changes: object) -> GroupState:
    return replace(standing, at=standing.at + round(seconds * 1000), **changes)  # type: ignore[arg-type]


def without(name: str) -> GroupState:
    return replace(IDLE, **{name: None})  # type: ignore[arg-type]


# ------------------------------------------------------------ lag in events and in seconds


def test_events_are_the_offsets_up_to_the_high_water_mark() -> None:
    assert lag.events(BUSY) == 60
    assert lag.events(IDLE) == 0


@pytest.mark.parametrize("missing", ["end", "position"])
def test_events_are_unknown_where_one_end_is(missing: str) -> None:
    assert lag.events(replace(BUSY, **{missing: None})) is None  # type: ignore[arg-type]


def test_seconds_are_the_age_of_the_oldest_unprocessed_record() -> None:
    assert lag.seconds(BUSY) == 2.0


def test_an_idle_partition_is_zero_seconds_behind_however_old_its_last_record_is() -> None:
    assert lag.seconds(later(IDLE, 86_400)) == 0.0


def test_an_empty_topic_is_zero_seconds_behind() -> None:
    assert lag.seconds(replace(IDLE, first=0, end=0, position=0)) == 0.0


def test_offsets_without_a_record_are_events_but_no_seconds() -> None:
    only_markers = replace(IDLE, position=97)
    assert (lag.events(only_markers), lag.seconds(only_markers)) == (3, 0.0)
    assert judge(only_markers, RULES, still_ms=3_600_000).status is Status.OK


@pytest.mark.parametrize("changes", [{"waiting": None}, {"position": None}, {"oldest": None}])
def test_seconds_that_are_not_known_are_not_zero(changes: dict[str, None]) -> None:
    assert lag.seconds(replace(BUSY, **changes)) is None  # type: ignore[arg-type]


def test_a_record_from_the_future_is_zero_seconds_old() -> None:
    assert lag.seconds(replace(BUSY, oldest=NOW + 5_000)) == 0.0


# ------------------------------------------------------------ time to drain


def test_lag_drains_at_the_difference_of_the_rates() -> None:
    assert lag.drain_seconds(60, Rates(5.0, 20.0)) == 4.0


def test_no_lag_is_drained_already() -> None:
    assert lag.drain_seconds(0, Rates(None, None)) == 0.0


@pytest.mark.parametrize("rates", [Rates(5.0, 5.0), Rates(6.0, 5.0), Rates(None, 5.0), Rates(5.0, None)])
def test_lag_that_does_not_shrink_has_no_time_to_drain(rates: Rates) -> None:
    assert lag.drain_seconds(60, rates) is None


def test_time_to_drain_an_unknown_lag_is_unknown() -> None:
    assert lag.drain_seconds(None, Rates(1.0, 2.0)) is None


# ------------------------------------------------------------ the statuses, one rule each


def test_ok_is_nothing_waiting_or_waiting_for_a_short_time() -> None:
    assert judge(IDLE, RULES).status is Status.OK
    assert judge(replace(BUSY, oldest=NOW - 10_000), RULES).status is Status.OK


def test_lagging_is_waiting_for_longer_than_the_limit() -> None:
    found = judge(replace(BUSY, oldest=NOW - 10_001), RULES)
    assert found == Verdict(Status.LAGGING, "the oldest record has waited for 10 s")


def test_stalled_is_something_waiting_and_no_progress() -> None:
    assert judge(BUSY, RULES, still_ms=7_999).status is Status.OK
    assert judge(BUSY, RULES, still_ms=8_000).status is Status.STALLED


def test_standing_still_with_nothing_to_do_is_not_stalled() -> None:
    assert judge(IDLE, RULES, still_ms=10**9).status is Status.OK


def test_an_open_transaction_may_hold_back_for_as_long_as_kafka_lets_it() -> None:
    held = replace(BUSY, undecided=True, oldest=NOW - 20_000)
    assert judge(held, RULES, still_ms=22_999).status is Status.LAGGING
    assert judge(held, RULES, still_ms=23_000).status is Status.STALLED


def test_a_partition_that_is_being_opened_is_not_stalled_before_its_time_is_over() -> None:
    opening = replace(BUSY, oldest=NOW - 20_000, opening_until=NOW + 1)
    assert judge(opening, RULES, still_ms=20_000).status is Status.LAGGING
    assert judge(later(opening, 0.001), RULES, still_ms=20_001).status is Status.STALLED


def test_stopped_is_a_group_without_members() -> None:
    assert judge(replace(IDLE, members=0, owned=False), RULES).why == "the group has no members"
    assert judge(replace(BUSY, members=0), RULES, still_ms=10**6).status is Status.STOPPED


def test_stopped_is_a_partition_that_no_member_owns() -> None:
    assert judge(replace(BUSY, owned=False), RULES).status is Status.STOPPED


def test_a_group_that_rebalances_is_judged_by_its_progress() -> None:
    assert judge(replace(BUSY, owned=None), RULES).status is Status.OK


def test_rewound_is_a_group_beyond_the_logs_end() -> None:
    found = judge(replace(BUSY, position=101), RULES)
    assert found == Verdict(Status.REWOUND, "offset 101, but the log ends at 100: created again")
    assert lag.events(replace(BUSY, position=101)) is None


def test_rewound_is_a_group_before_the_logs_beginning() -> None:
    assert judge(replace(BUSY, first=41), RULES).status is Status.REWOUND


def test_rewound_is_a_group_that_was_further_already() -> None:
    assert judge(BUSY, RULES, high=41).status is Status.REWOUND
    assert judge(BUSY, RULES, high=40).status is Status.OK


@pytest.mark.parametrize("missing", ["end", "position", "members"])
def test_unknown_is_what_nobody_said(missing: str) -> None:
    assert judge(without(missing), RULES).status is Status.UNKNOWN


def test_unknown_is_a_wait_of_unknown_length() -> None:
    assert judge(replace(BUSY, waiting=None), RULES).status is Status.UNKNOWN


# ------------------------------------------------------------ over time


def test_progress_ends_a_stall() -> None:
    track = Track(RULES)
    assert track.add(BUSY).status is Status.OK
    assert track.add(later(BUSY, 8)).status is Status.STALLED
    assert track.add(later(BUSY, 10, position=41, oldest=NOW + 9_000)).status is Status.OK


def test_a_batch_gets_the_time_that_its_events_may_take() -> None:
    rules = replace(RULES, batch_events=40_000)
    burst = replace(BUSY, owner=Owner(waits=100_000))
    assert judge(burst, rules, still_ms=17_999).status is Status.OK
    assert judge(burst, rules, still_ms=18_000).status is Status.STALLED
    assert judge(replace(BUSY, owner=Owner(waits=4)), rules, still_ms=8_001).status is Status.STALLED


def test_a_stall_begins_when_something_waits_and_not_before() -> None:
    track = Track(RULES)
    track.add(IDLE)
    track.add(later(IDLE, 600))
    arrived = later(IDLE, 602, end=101, waiting=True, oldest=NOW + 601_000)
    assert track.add(arrived).status is Status.OK
    assert track.add(later(arrived, 7)).status is Status.STALLED


def test_a_broker_that_is_away_does_not_start_a_stall_anew() -> None:
    track = Track(RULES)
    track.add(BUSY)
    assert track.add(GroupState(at=NOW + 4_000)).status is Status.UNKNOWN
    assert track.add(later(BUSY, 8)).status is Status.STALLED


def test_offsets_set_back_are_told_until_the_group_is_where_it_was() -> None:
    track = Track(RULES)
    track.add(IDLE)
    assert track.add(later(BUSY, 2)).status is Status.REWOUND
    assert track.add(later(BUSY, 4, position=99)).status is Status.REWOUND
    assert track.add(later(IDLE, 6)).status is Status.OK


def test_a_group_that_has_read_a_shorter_log_to_its_end_is_not_rewound_any_more() -> None:
    track = Track(RULES)
    assert track.add(IDLE).status is Status.OK
    rebuilt = {"end": 60, "waiting": True, "oldest": NOW}
    assert track.add(later(BUSY, 2, position=0, **rebuilt)).status is Status.REWOUND
    assert track.add(later(BUSY, 4, position=59, **rebuilt)).status is Status.REWOUND
    track.add(later(IDLE, 6, position=60, end=60))
    assert track.add(later(IDLE, 8, position=60, end=60)).status is Status.OK
    assert track.add(later(IDLE, 10, position=50, end=60)).status is Status.REWOUND


def test_rates_are_unknown_before_the_second_look() -> None:
    track = Track(RULES)
    track.add(BUSY)
    assert track.rates() == Rates(None, None)


def test_rates_are_taken_over_the_last_minute() -> None:
    track = Track(RULES)
    for second in range(0, 241, 2):
        done = 10 * second if second < 120 else 1_200
        track.add(later(BUSY, second, position=done, end=5_000 + 3 * second))
    assert track.rates() == Rates(3.0, 0.0)


def test_a_rewind_does_not_make_negative_rates() -> None:
    track = Track(RULES)
    track.add(IDLE)
    track.add(later(BUSY, 2, position=0))
    track.add(later(BUSY, 4, position=30))
    assert track.rates() == Rates(0.0, 15.0)


# ------------------------------------------------------------ of a whole group


def test_a_group_is_what_its_worst_partition_is() -> None:
    found = lag.worst(
        [Verdict(Status.OK, "fine"), Verdict(Status.STALLED, "still"), Verdict(Status.UNKNOWN, "?")]
    )
    assert found == Verdict(Status.STALLED, "still (1 of 3 partitions)")


def test_a_group_without_partitions_is_unknown() -> None:
    assert lag.worst([]).status is Status.UNKNOWN


def test_a_sum_with_an_unknown_part_is_unknown() -> None:
    assert lag.total([1, 2]) == 3
    assert lag.total([1, None]) is None
    assert lag.total([]) is None
    assert lag.longest([1.0, 2.0]) == 2.0
    assert lag.longest([1.0, None]) is None
    assert lag.added([Rates(1.0, 2.0), Rates(3.0, 4.0)]) == Rates(4.0, 6.0)
    assert lag.added([Rates(1.0, 2.0), Rates(None, None)]) == Rates(None, None)


Maybe = st.none() | st.integers(0, 50)


@given(
    st.builds(
        GroupState,
        at=st.just(NOW),
        first=Maybe,
        end=Maybe,
        position=Maybe,
        waiting=st.none() | st.booleans(),
        oldest=st.none() | st.integers(NOW - 100_000, NOW + 1_000),
        members=st.none() | st.integers(0, 2),
        owned=st.none() | st.booleans(),
    ),
    st.integers(-1, 60),
    st.integers(0, 100_000),
)
def test_what_is_unknown_is_never_ok_and_never_zero(standing: GroupState, high: int, still_ms: int) -> None:
    found = judge(standing, RULES, high=high, still_ms=still_ms)
    if None in (standing.end, standing.position, standing.members):
        assert found.status is Status.UNKNOWN
    if found.status in (Status.OK, Status.LAGGING):
        assert lag.seconds(standing) is not None
        assert lag.events(standing) is not None
    if lag.seconds(standing) == 0.0 and standing.waiting is not False:
        assert standing.oldest is not None
        assert standing.oldest >= NOW

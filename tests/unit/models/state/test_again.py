"""Events published again: within a learner's last 64 of a topic nothing changes; further back is measured."""

from __future__ import annotations

import pytest

from lyo.models.arrays.zones import HOUR
from lyo.models.state.catalogue import Catalogue
from tests.support.learners.building import START, Sent, Stream, completion

HISTORY = [completion(7, START + number * 8 * HOUR, "s", name=f"e{number}") for number in range(200)]


def published(*parts: list[Sent], size: int = 25) -> Stream:
    """A stream that was given these parts, in batches."""
    stream = Stream(Catalogue())
    for part in parts:
        for start in range(0, len(part), size):
            stream.feed(part[start : start + size])
    return stream


@pytest.mark.parametrize("size", [1, 25, 500])
def test_within_the_promised_distance_nothing_changes(size: int) -> None:
    once, again = published(HISTORY), published(HISTORY, HISTORY[-64:], size=size)
    assert again.counted("duplicates") == 64
    assert again.counted("applied") == 200
    assert again.learner_rows == once.learner_rows
    assert again.skill_rows == once.skill_rows
    assert again.counted("far_behind") == 0


@pytest.mark.parametrize("sent_again", [64, 65, 100, 200])
def test_from_further_back_everything_counts_twice_and_is_measured(sent_again: int) -> None:
    """One more than 64, and each event that is counted again pushes out the id of one still to come."""
    stream = published(HISTORY, HISTORY[-sent_again:])
    twice = stream.counted("applied") - 200
    assert twice == (0 if sent_again <= 64 else sent_again)
    assert stream.counted("duplicates") == sent_again - twice
    # All but those of the last day, which late events are likely to be among.
    assert stream.counted("far_behind") == (twice - 4 if twice else 0)


def test_a_history_that_comes_in_its_order_is_not_suspected() -> None:
    assert published(HISTORY).counted("far_behind") == 0


def test_late_events_of_a_learner_whose_ids_are_all_known_are_not_suspected() -> None:
    assert published(HISTORY[30:60], HISTORY[:30]).counted("far_behind") == 0

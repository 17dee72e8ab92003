"""The on-call page of looks: what it says, where its lines go, and that nothing said becomes markup."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from lyo.cli.operations.lag import table
from lyo.models.quality import Figure
from lyo.ops.monitor.lag_series import POINTS, History, Point
from lyo.ops.monitor.page import rendering
from lyo.ops.monitor.page.charts import chart, path, round_up
from lyo.ops.monitor.page.view import build
from lyo.ops.monitor.page.words import drained, rate, span
from lyo.ops.monitor.quality import Quality
from lyo.ops.monitor.snapshot import DeadLetterSummary, Reached, Snapshot, Status
from lyo.storage.reads.quality import Tenants
from tests.support.monitor.snapshots import AT, SCRIPT, group, nothing, one, snapshot

HOUR = 3_600_000


def shown(look: Snapshot, *, operator: bool = False) -> str:
    history = History(HOUR)
    history.remember(look)
    return rendering.page(build(look, history), operator=operator, every_ms=2_000)


def test_the_worst_status_of_any_group_is_the_pages() -> None:
    view = build(snapshot(group(one(0)), group(one(0), status=Status.STALLED)), History(HOUR))
    assert view.status is Status.STALLED


def test_records_in_wrong_partitions_are_counted_by_topic_with_what_to_do() -> None:
    page = shown(snapshot())
    assert "In a wrong partition; lyo.sessions: 1." in page
    assert "partitioner=murmur2_random" in page
    assert "In a wrong partition" not in shown(snapshot(dead_letters=DeadLetterSummary(total=1)))


def test_statuses_stand_before_everything_else() -> None:
    page = shown(snapshot())
    places = [
        page.index(f'<section id="{name}"')
        for name in ("status", "lag", "throughput", "latency", "ages", "letters", "workers", "deploys")
    ]
    assert places == sorted(places)


def test_what_is_unknown_is_said_so_and_never_zero() -> None:
    gone = Reached(ok=False, why="no answer in time")
    look = snapshot(
        group(
            nothing(0),
            status=Status.UNKNOWN,
            events=None,
            seconds=None,
            rate_in=None,
            rate_out=None,
            drain_seconds=None,
            members=None,
        ),
        kafka=gone,
        dead_letters=DeadLetterSummary(),
    )
    (view,) = build(look, History(HOUR)).groups
    assert {value for _, value in view.facts} == {"unknown"}
    assert view.rows[0].figures == ("unknown",) * 5
    assert view.partitions[0].events == "unknown"
    assert "Kafka does not answer: no answer in time" in shown(look)


def test_history_is_told_while_it_is_taken_in() -> None:
    until = 1_772_409_600_000
    look = snapshot(group(one(0), one(1, history_until=until), history_until=until))
    (view,) = build(look, History(HOUR)).groups
    assert view.facts[-1] == ("Taking in history", "up to 2026-03-02 00:00:00 UTC")
    console = Console(width=200, file=io.StringIO())
    console.print(table(look, busy=True))
    assert isinstance(console.file, io.StringIO)
    said = console.file.getvalue().splitlines()
    assert [line.count("taking in history up to 2026-03-02 00:00:00 UTC") for line in said] == [0, 1, 1]


def test_nothing_that_records_say_becomes_markup() -> None:
    page = shown(snapshot(), operator=True)
    assert SCRIPT not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_only_operators_are_offered_what_letters_held() -> None:
    assert "/ops/letters/1/5" in shown(snapshot(), operator=True)
    assert "/ops/letters/" not in shown(snapshot(), operator=False)


def test_workers_are_shown_with_their_partitions_release_and_what_they_restore() -> None:
    view = build(snapshot(), History(HOUR))
    (worker,) = view.workers
    assert (worker.numbers, worker.restoring, worker.release) == ("0, 1", "1 (about 2.5 s left)", "1.2.3")
    assert view.releases == (("workers", "1.2.3", "1", "2027-01-15 07:59:00 UTC"),)


def test_ages_tell_none_yet_from_unknown() -> None:
    ages = [(one.kind, one.age, one.model) for one in build(snapshot(), History(HOUR)).kinds]
    assert ages == [
        ("dropout-risk", "5.0 s", "dropout-1"),
        ("timing", "none yet", "–"),
        ("struggle", "unknown", "–"),
    ]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "unknown"),
        (0, "0 s"),
        (0.04, "0.0 s"),
        (9.96, "10.0 s"),
        (59.4, "59 s"),
        (61, "1 min 1 s"),
        (7_260, "2 h 1 min"),
        (180_000, "2 d 2 h"),
    ],
)
def test_spans_are_said_in_two_units(seconds: float | None, said: str) -> None:
    assert span(seconds) == said


def test_rates_and_drains_are_said_as_they_are_known() -> None:
    assert (rate(None), rate(0), rate(1.25), rate(1_234.5)) == ("unknown", "0/s", "1.2/s", "1,234/s")
    assert drained(None, known=True) == "not at this rate"
    assert drained(None, known=False) == "unknown"


def test_figures_of_quality_are_shown_with_what_they_are_computed_from() -> None:
    figures = [Figure("struggle_accuracy", 0.75, 8), Figure("churn_reduction", None, 0)]
    quality = Quality(AT, figures, Tenants(1, [], []))
    view = build(snapshot(), History(HOUR), quality)
    said = [(one.name, one.value, one.bar, one.count) for one in view.quality]
    assert said == [("struggle accuracy", "0.75", 0.75, "8"), ("churn reduction", "unknown", None, "0")]
    assert "Not computed yet" in shown(snapshot())


def test_a_look_that_is_too_old_is_unknown_whatever_it_said() -> None:
    view = build(snapshot(), History(HOUR), stale_seconds=90.0)
    assert view.status is Status.UNKNOWN
    page = rendering.page(view, operator=False, every_ms=2_000)
    assert "No look could be made for 1 min 30 s" in page


# ------------------------------------------------------------ charts and history


def test_a_line_breaks_where_nothing_is_known() -> None:
    points = [Point(0, 0.0), Point(50, 5.0), Point(60, None), Point(100, 10.0)]
    drawn = path(points, until=100, span_ms=100, size=(100.0, 10.0), top=10.0)
    assert drawn == "M0.0 10.0h1L50.0 5.0M100.0 0.0h1"


def test_what_is_older_than_the_chart_is_not_drawn() -> None:
    assert path([Point(-1, 5.0)], until=100, span_ms=100, size=(100.0, 10.0), top=10.0) == ""


@pytest.mark.parametrize(
    ("value", "top"), [(0, 1), (1, 1), (1.1, 2), (4.9, 5), (5.1, 10), (199, 200), (1_000, 1_000)]
)
def test_charts_end_at_round_numbers(value: float, top: float) -> None:
    assert round_up(value) == top


def test_charts_of_unknown_values_have_no_line() -> None:
    drawn = chart([("lag", [Point(0, None)])], until=0, span_ms=100, size=(10.0, 10.0))
    assert (drawn.lines[0].path, drawn.top) == ("", 1.0)


def test_history_keeps_the_largest_of_a_step_and_is_bounded() -> None:
    history = History(POINTS * 1_000)
    for at in range(0, 10 * POINTS * 1_000, 250):
        history.add(("x",), at, at % 1_000)
    points = history.series("x")
    assert len(points) == POINTS
    assert {point.value for point in points} == {750}


def test_history_forgets_names_that_are_gone() -> None:
    history = History(HOUR)
    history.remember(snapshot(group(one(0), one(1))))
    assert history.series("lag", "workers", "1") != []
    history.remember(snapshot(group(one(0)), at=AT + 2 * HOUR))
    assert history.series("lag", "workers", "1") == []


def test_predictions_by_confidence_are_counts_with_their_share_as_bar() -> None:
    figures = [Figure("confidence", many, 2_000, ("timing", "low")) for many in (1_734.0, 0.0)]
    figures.append(Figure("confidence", 0.0, 0, ("timing", "none")))
    view = build(snapshot(), History(HOUR), Quality(AT, figures, Tenants(1, [], [])))
    assert [(figure.value, figure.bar) for figure in view.quality] == [
        ("1,734", 0.867),
        ("0", 0.0),
        ("0", None),
    ]
    assert "Number of current predictions" in view.quality[0].text

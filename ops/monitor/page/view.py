"""What the page shows, worked out of a look and the past: texts and coordinates, no HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from lyo.ops.monitor.history import POINTS, History, Point
from lyo.ops.monitor.page.charts import LARGE, SMALL, Chart, chart, round_up
from lyo.ops.monitor.page.words import UNKNOWN, count, drained, iso, moment, rate, span
from lyo.ops.monitor.quality import FIGURES, Quality
from lyo.ops.monitor.snapshot import (
    SEVERITY,
    DeadLetterEntry,
    GroupLag,
    KindAge,
    Member,
    PartitionLag,
    Snapshot,
    Status,
)

DEAD_LETTERS_SHOWN: Final = 25
TITLES: Final = {"workers": "Workers: events to predictions", "sink": "Sink: predictions to Postgres"}
MEANING: Final = {
    Status.OK: "nothing waits for long",
    Status.LAGGING: "behind, and working",
    Status.STALLED: "behind, and nothing gets done",
    Status.STOPPED: "nobody is at work",
    Status.REWOUND: "log and offsets do not fit, or offsets were set back",
    Status.UNKNOWN: "cannot be told",
}
MARK: Final = {
    Status.OK: "✓",
    Status.LAGGING: "△",
    Status.STALLED: "‖",
    Status.STOPPED: "■",
    Status.REWOUND: "↶",
    Status.UNKNOWN: "?",
}


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table of lags."""

    topic: str
    partition: str
    status: Status
    why: str
    figures: tuple[str, ...]
    owner: str


@dataclass(frozen=True, slots=True)
class Small:
    """A small chart of one partition number: its lag over time, and now."""

    number: str
    status: Status
    events: str
    seconds: str
    chart: Chart


@dataclass(frozen=True, slots=True)
class GroupView:
    """One group."""

    role: str
    title: str
    group: str
    status: Status
    mark: str
    meaning: str
    why: str
    facts: tuple[tuple[str, str], ...]
    top: str
    partitions: tuple[Small, ...]
    rows: tuple[Row, ...]
    throughput: Chart
    wait: Chart


@dataclass(frozen=True, slots=True)
class KindView:
    """The age of one kind's newest prediction."""

    kind: str
    age: str
    at: str
    model: str
    chart: Chart


@dataclass(frozen=True, slots=True)
class Worker:
    """A process of a group."""

    role: str
    name: str
    host: str
    numbers: str
    restoring: str
    release: str
    started: str


@dataclass(frozen=True, slots=True)
class QualityView:
    """A figure of how good the predictions are or what they bring; ``bar`` is its share of a full bar."""

    name: str
    said: str
    of: str
    value: str
    bar: float | None
    count: str


@dataclass(frozen=True, slots=True)
class View:
    """The page."""

    at: str
    at_iso: str
    stale: str
    status: Status
    mark: str
    reached: tuple[tuple[str, bool, str], ...]
    groups: tuple[GroupView, ...]
    kinds: tuple[KindView, ...]
    dead_letters: tuple[DeadLetterEntry, ...]
    dead_letters_total: str
    dead_letters_by_topic: tuple[tuple[str, str], ...]
    workers: tuple[Worker, ...]
    releases: tuple[tuple[str, ...], ...]
    counts: tuple[tuple[str, str], ...]
    quality: tuple[QualityView, ...]
    quality_at: str


def build(
    snapshot: Snapshot,
    history: History,
    quality: Quality | None = None,
    stale_seconds: float | None = None,
) -> View:
    """The page of a look and its past.

    Args:
        snapshot: the newest look.
        history: what the charts are drawn from.
        quality: the newest figures of the predictions' quality.
        stale_seconds: the age of the look, if no newer one could be made for too long.
    """
    worst = max((group.status for group in snapshot.groups), key=SEVERITY.index, default=Status.UNKNOWN)
    if stale_seconds is not None:
        worst = Status.UNKNOWN
    dead_letters = snapshot.dead_letters
    return View(
        at=moment(snapshot.at),
        at_iso=iso(snapshot.at),
        stale="" if stale_seconds is None else span(stale_seconds),
        status=worst,
        mark=MARK[worst],
        reached=(
            ("Kafka", snapshot.kafka.ok, snapshot.kafka.why),
            ("Postgres", snapshot.postgres.ok, snapshot.postgres.why),
        ),
        groups=tuple(_group(group, snapshot, history) for group in snapshot.groups),
        kinds=tuple(_kind(one, snapshot, history) for one in snapshot.predictions),
        dead_letters=dead_letters.newest[:DEAD_LETTERS_SHOWN],
        dead_letters_total=count(dead_letters.total),
        dead_letters_by_topic=tuple(
            (topic, count(many)) for topic, many in sorted(dead_letters.by_topic.items())
        ),
        workers=tuple(_worker(one, snapshot.groups) for one in snapshot.members),
        releases=_releases(snapshot.members, snapshot.groups),
        counts=_counts(snapshot),
        quality=_quality(quality),
        quality_at=UNKNOWN if quality is None else moment(quality.at),
    )


# ------------------------------------------------------------ groups


def _group(group: GroupLag, snapshot: Snapshot, history: History) -> GroupView:
    smalls, top = _smalls(group, snapshot, history)
    role = group.role
    return GroupView(
        role=role,
        title=TITLES.get(role, role),
        group=group.group,
        status=group.status,
        mark=MARK[group.status],
        meaning=MEANING[group.status],
        why=group.why,
        facts=_facts(group),
        top=count(top),
        partitions=smalls,
        rows=tuple(_row(one) for one in group.partitions),
        throughput=_large(history, snapshot.at, ("written", ("in", role)), ("processed", ("out", role))),
        wait=_large(history, snapshot.at, ("oldest record waits", ("wait", role))),
    )


def _facts(group: GroupLag) -> tuple[tuple[str, str], ...]:
    return (
        ("Lag", f"{count(group.events)} events" if group.events is not None else UNKNOWN),
        ("Oldest waits", span(group.seconds)),
        ("In", rate(group.rate_in)),
        ("Out", rate(group.rate_out)),
        ("Drained in", drained(group.drain_seconds, known=_known(group))),
        ("Members", count(group.members)),
    )


def _known(one: GroupLag | PartitionLag) -> bool:
    return one.events is not None and one.rate_in is not None and one.rate_out is not None


def _row(one: PartitionLag) -> Row:
    return Row(
        topic=one.topic,
        partition=str(one.partition),
        status=one.status,
        why=one.why,
        figures=(
            count(one.events),
            span(one.seconds),
            rate(one.rate_in),
            rate(one.rate_out),
            drained(one.drain_seconds, known=_known(one)),
        ),
        owner=one.owner or "–",
    )


def _smalls(group: GroupLag, snapshot: Snapshot, history: History) -> tuple[tuple[Small, ...], float]:
    """A chart of each partition number, all of one height so that they compare."""
    by_number = sorted(group.partitions, key=lambda one: one.partition)
    numbers = [(number, list(some)) for number, some in groupby(by_number, key=lambda one: one.partition)]
    past = {number: history.series("lag", group.role, str(number)) for number, _ in numbers}
    values = [point.value for points in past.values() for point in points if point.value is not None]
    top = round_up(max(values, default=0.0))
    return tuple(
        _small(number, some, past[number], top, snapshot.at, history) for number, some in numbers
    ), top


def _small(
    number: int, some: Sequence[PartitionLag], points: Sequence[Point], top: float, at: int, history: History
) -> Small:
    events = [one.events for one in some if one.events is not None]
    waits = [one.seconds for one in some if one.seconds is not None]
    return Small(
        number=str(number),
        status=max((one.status for one in some), key=SEVERITY.index),
        events=count(sum(events) if len(events) == len(some) else None),
        seconds=span(max(waits) if len(waits) == len(some) else None),
        chart=chart([("lag", points)], until=at, span_ms=_span(history), size=SMALL, top=top),
    )


def _large(history: History, at: int, *named: tuple[str, tuple[str, ...]]) -> Chart:
    series = [(name, history.series(*key)) for name, key in named]
    return chart(series, until=at, span_ms=_span(history), size=LARGE)


def _span(history: History) -> int:
    return POINTS * history.step_ms


# ------------------------------------------------------------ the rest


def _kind(one: KindAge, snapshot: Snapshot, history: History) -> KindView:
    return KindView(
        kind=one.kind,
        age="none yet" if one.empty else span(one.age_seconds),
        at="–" if one.at is None else moment(one.at),
        model=one.model or "–",
        chart=chart(
            [("age", history.series("age", one.kind))], until=snapshot.at, span_ms=_span(history), size=SMALL
        ),
    )


def _role(member: Member, groups: Sequence[GroupLag]) -> str:
    return next((group.role for group in groups if group.group == member.group), member.group)


def _worker(member: Member, groups: Sequence[GroupLag]) -> Worker:
    restoring = ", ".join(map(str, member.restoring))
    return Worker(
        role=_role(member, groups),
        name=member.name,
        host=member.host,
        numbers=", ".join(map(str, member.numbers)) or "none",
        restoring=f"{restoring} (about {span(member.restore_seconds)} left)" if restoring else "–",
        release=member.release or UNKNOWN,
        started=moment(member.started),
    )


def _releases(members: Sequence[Member], groups: Sequence[GroupLag]) -> tuple[tuple[str, ...], ...]:
    """Each release that runs: where, in how many processes, and since when, the newest first."""
    found: dict[tuple[str, str], list[int]] = {}
    for member in members:
        if member.release is not None and member.started is not None:
            found.setdefault((_role(member, groups), member.release), []).append(member.started)
    ordered = sorted(found.items(), key=lambda one: min(one[1]), reverse=True)
    return tuple((role, release, str(len(began)), moment(min(began))) for (role, release), began in ordered)


def _quality(quality: Quality | None) -> tuple[QualityView, ...]:
    """Every figure; a bar where it is a share of 0 to 1."""
    if quality is None:
        return ()
    return tuple(
        QualityView(
            name=figure.name.replace("_", " "),
            said=FIGURES[figure.name][0],
            of=", ".join(label.replace("_", " ") for label in figure.labels) or "all",
            value=UNKNOWN if figure.value is None else f"{figure.value:,.3g}",
            bar=figure.value if figure.value is not None and 0 <= figure.value <= 1 else None,
            count=count(figure.size),
        )
        for figure in quality.figures
    )


def _counts(snapshot: Snapshot) -> tuple[tuple[str, str], ...]:
    stored = snapshot.stored
    return (
        ("Sink delay", span(snapshot.sink_delay_seconds)),
        ("Learners overdue for a prediction", count(stored.overdue)),
        ("Learners with a prediction", count(stored.learners)),
        ("Late events", count(snapshot.late)),
        ("Duplicate events", count(snapshot.duplicates)),
        ("Outbox waiting", count(stored.outbox_waiting)),
        ("Outbox waits for", span(stored.outbox_seconds)),
        ("Outbox refused", count(stored.outbox_refused)),
        ("Database schema", stored.revision or UNKNOWN),
    )

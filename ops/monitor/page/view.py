"""The contents of the page, computed from a look and the history: texts and coordinates, no HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from lyo.models.quality import Figure
from lyo.ops.monitor.lag_series import POINTS, History, Point
from lyo.ops.monitor.page.charts import LARGE, SMALL, Chart, chart, round_up
from lyo.ops.monitor.page.words import MARK, MEANING, UNKNOWN, count, drained, iso, moment, rate, span
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


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table of lags."""

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
    """A figure of the predictions' quality or effect; ``bar`` is its share of a full bar."""

    name: str
    text: str
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
    misplaced: tuple[tuple[str, str], ...]
    workers: tuple[Worker, ...]
    releases: tuple[tuple[str, ...], ...]
    counts: tuple[tuple[str, str], ...]
    quality: tuple[QualityView, ...]
    quality_at: str


def _by_topic(counts: Mapping[str, int]) -> tuple[tuple[str, str], ...]:
    return tuple((topic, count(many)) for topic, many in sorted(counts.items()))


def build(
    snapshot: Snapshot,
    history: History,
    quality: Quality | None = None,
    stale_seconds: float | None = None,
) -> View:
    """The page of a look and its history.

    Args:
        snapshot: the newest look.
        history: the values of the charts.
        quality: the newest figures of the predictions' quality.
        stale_seconds: the age of the look, if it is too old.
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
        kinds=tuple(_kind(age, snapshot, history) for age in snapshot.predictions),
        dead_letters=dead_letters.newest[:DEAD_LETTERS_SHOWN],
        dead_letters_total=count(dead_letters.total),
        dead_letters_by_topic=_by_topic(dead_letters.by_topic),
        misplaced=_by_topic(dead_letters.misplaced),
        workers=tuple(_worker(member, snapshot.groups) for member in snapshot.members),
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
        rows=tuple(_row(lag) for lag in group.partitions),
        throughput=_large(history, snapshot.at, ("written", ("in", role)), ("processed", ("out", role))),
        wait=_large(history, snapshot.at, ("oldest record waits", ("wait", role))),
    )


def _facts(group: GroupLag) -> tuple[tuple[str, str], ...]:
    facts = (
        ("Lag", f"{count(group.events)} events" if group.events is not None else UNKNOWN),
        ("Oldest waits", span(group.seconds)),
        ("In", rate(group.rate_in)),
        ("Out", rate(group.rate_out)),
        ("Drained in", drained(group.drain_seconds, known=_known(group))),
        ("Members", count(group.members)),
    )
    if group.history_until is None:
        return facts
    return (*facts, ("Taking in history", f"up to {moment(group.history_until)}"))


def _known(lag: GroupLag | PartitionLag) -> bool:
    return lag.events is not None and lag.rate_in is not None and lag.rate_out is not None


def _row(lag: PartitionLag) -> Row:
    return Row(
        topic=lag.topic,
        partition=str(lag.partition),
        status=lag.status,
        why=lag.why,
        figures=(
            count(lag.events),
            span(lag.seconds),
            rate(lag.rate_in),
            rate(lag.rate_out),
            drained(lag.drain_seconds, known=_known(lag)),
        ),
        owner=lag.owner or "–",
    )


def _smalls(group: GroupLag, snapshot: Snapshot, history: History) -> tuple[tuple[Small, ...], float]:
    """A chart of each partition number, all with the same scale."""
    by_number = sorted(group.partitions, key=lambda lag: lag.partition)
    numbers = [(number, list(lags)) for number, lags in groupby(by_number, key=lambda lag: lag.partition)]
    past = {number: history.series("lag", group.role, str(number)) for number, _ in numbers}
    values = [point.value for points in past.values() for point in points if point.value is not None]
    top = round_up(max(values, default=0.0))
    return tuple(
        _small(number, lags, past[number], top, snapshot.at, history) for number, lags in numbers
    ), top


def _small(
    number: int, lags: Sequence[PartitionLag], points: Sequence[Point], top: float, at: int, history: History
) -> Small:
    events = [lag.events for lag in lags if lag.events is not None]
    waits = [lag.seconds for lag in lags if lag.seconds is not None]
    return Small(
        number=str(number),
        status=max((lag.status for lag in lags), key=SEVERITY.index),
        events=count(sum(events) if len(events) == len(lags) else None),
        seconds=span(max(waits) if len(waits) == len(lags) else None),
        chart=chart([("lag", points)], until=at, span_ms=_span(history), size=SMALL, top=top),
    )


def _large(history: History, at: int, *named: tuple[str, tuple[str, ...]]) -> Chart:
    series = [(name, history.series(*key)) for name, key in named]
    return chart(series, until=at, span_ms=_span(history), size=LARGE)


def _span(history: History) -> int:
    return POINTS * history.step_ms


# ------------------------------------------------------------ the rest


def _kind(age: KindAge, snapshot: Snapshot, history: History) -> KindView:
    return KindView(
        kind=age.kind,
        age="none yet" if age.empty else span(age.age_seconds),
        at="–" if age.at is None else moment(age.at),
        model=age.model or "–",
        chart=chart(
            [("age", history.series("age", age.kind))], until=snapshot.at, span_ms=_span(history), size=SMALL
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
    """Each running release: its role, its number of processes, and its start; the newest first."""
    starts: dict[tuple[str, str], list[int]] = {}
    for member in members:
        if member.release is not None and member.started is not None:
            starts.setdefault((_role(member, groups), member.release), []).append(member.started)
    ordered = sorted(starts.items(), key=lambda item: min(item[1]), reverse=True)
    return tuple((role, release, str(len(began)), moment(min(began))) for (role, release), began in ordered)


def _quality(quality: Quality | None) -> tuple[QualityView, ...]:
    """Every figure; with a bar if it is between 0 and 1, or a count, whose bar is its share."""
    return tuple(_figure(figure) for figure in (() if quality is None else quality.figures))


def _figure(figure: Figure) -> QualityView:
    value, share = figure.value, figure.value
    if figure.name == "confidence" and value is not None:
        share = value / figure.size if figure.size else None
        shown = count(value)
    else:
        shown = UNKNOWN if value is None else f"{value:,.3g}"
    return QualityView(
        name=figure.name.replace("_", " "),
        text=FIGURES[figure.name][0],
        of=", ".join(label.replace("_", " ") for label in figure.labels) or "all",
        value=shown,
        bar=share if share is not None and 0 <= share <= 1 else None,
        count=count(figure.size),
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

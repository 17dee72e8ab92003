"""Simulated event files: the same for the same seed, ordered, labelled, and with what predictions need."""

import gzip
import json
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from click.testing import CliRunner

from lyo.cli.files.simulate import simulate
from lyo.models.events.decode import Kind
from lyo.streams.event_files.reader import Piece, check
from lyo.tools.simulation import Plan, catalogue, generate
from lyo.tools.simulation.learners import SHARES, Way, draw, offsets
from lyo.tools.simulation.plan import DAY

END = 1_772_323_200_000  # 2026-03-01
PLAN = Plan(learners=200, days=60, seed=1, end=END)
Event = dict[str, Any]


def lines_of(plan: Plan) -> list[bytes]:
    return b"".join(generate(plan)).splitlines()


@pytest.fixture(scope="module")
def lines() -> list[bytes]:
    return lines_of(PLAN)


@pytest.fixture(scope="module")
def events(lines: list[bytes]) -> list[Event]:
    return [json.loads(line) for line in lines]


def moment(event: Event, *names: str) -> datetime:
    name = next(
        name for name in (*names, "occurred_at", "started_at", "updated_at", "requested_at") if name in event
    )
    return datetime.fromisoformat(event[name])


def lessons_by_skill(events: list[Event]) -> dict[tuple[int, str], list[Event]]:
    found: dict[tuple[int, str], list[Event]] = defaultdict(list)
    for event in events:
        if event["type"] == "lesson_completion" and "score" in event:
            found[event["user_id"], event["skills"][0]].append(event)
    return found


def test_the_same_plan_gives_the_same_file(lines: list[bytes]) -> None:
    assert lines_of(PLAN) == lines


@pytest.mark.parametrize("other", [{"seed": 2}, {"end": END + DAY}, {"learners": 201}, {"days": 59}])
def test_another_plan_shares_no_event_id(lines: list[bytes], other: dict[str, int]) -> None:
    changed = {"learners": 200, "days": 60, "seed": 1, "end": END} | other
    ids, others = ids_of(lines), ids_of(lines_of(Plan(**changed)))
    assert len(ids) > 10_000
    assert len(others) > 10_000
    assert not ids & others


def ids_of(lines: list[bytes]) -> set[str]:
    return {name for line in lines if (name := json.loads(line).get("event_id")) is not None}


def test_every_line_is_valid_and_labelled(lines: list[bytes], events: list[Event]) -> None:
    checked = check(Piece(1, lines, 0), END)
    assert checked.bad == []
    assert len(checked.records) == len(lines)
    assert all(event["simulated"] is True for event in events)


def test_all_kinds_but_erasures_are_there(events: list[Event]) -> None:
    counts = Counter(event["type"] for event in events)
    assert set(counts) == set(Kind) - {Kind.ERASURE}
    assert counts["organization"] == len(catalogue.ORGANIZATION_ZONES)
    assert counts["content"] == catalogue.CONTENTS >= 300
    closed = Counter("ended_at" in event for event in events if event["type"] == "session")
    assert min(closed.values()) > 500
    kinds = {event["kind"] for event in events if event["type"] == "outcome"}
    assert {"struggled", "not_struggled", "help_offered", "help_accepted", "returned", "nudge_sent"} <= kinds


def test_the_catalogue_comes_first(events: list[Event]) -> None:
    types = [event["type"] for event in events]
    first = catalogue.CONTENTS + len(catalogue.ORGANIZATION_ZONES)
    assert set(types[:first]) == {"organization", "content"}
    assert not {"organization", "content"} & set(types[first:])


def test_lessons_are_of_the_catalogue(events: list[Event]) -> None:
    contents = {event["content_id"]: event for event in events if event["type"] == "content"}
    for event in events:
        if event["type"] == "lesson_completion":
            content = contents[event["content_id"]]
            assert {name: event[name] for name in ("topic", "skills", "difficulty")} == {
                name: content[name] for name in ("topic", "skills", "difficulty")
            }
        if event["type"] == "struggle_request":
            assert event["content_metadata"]["content_id"] in contents


def test_the_file_is_in_the_order_of_arrival(events: list[Event]) -> None:
    newest, behind = datetime(1970, 1, 1, tzinfo=UTC), []
    for event in events:
        if event["type"] in ("organization", "content"):
            continue
        at = moment(event, "ended_at")
        behind.append((newest - at).total_seconds())
        newest = max(newest, at)
    hours = np.array(behind) / 3600
    assert hours.max() < 37, "late events are late by a day and a half at most"
    assert 0.002 < (hours > 1).mean() < 0.02, "and few"
    assert (hours < 0.01).mean() > 0.98


def test_nothing_happens_after_the_end_or_long_before_the_first_day(events: list[Event]) -> None:
    times = [
        moment(event, "ended_at") for event in events if event["type"] not in ("organization", "content")
    ]
    assert max(times) < datetime.fromtimestamp(END / 1000, UTC)
    assert max(times) > datetime.fromtimestamp(END / 1000 - 3600, UTC)
    assert min(times) > datetime.fromtimestamp((END - 61 * DAY) / 1000, UTC)


def test_a_small_share_is_sent_twice_and_is_the_same(events: list[Event], lines: list[bytes]) -> None:
    seen: dict[str, bytes] = {}
    again = 0
    for event, line in zip(events, lines, strict=True):
        name = event.get("event_id", event.get("request_id"))
        if name is None:
            continue
        if name in seen:
            again += 1
            assert seen[name] == line
        seen[name] = line
    assert 0.002 < again / len(lines) < 0.006


def test_some_learners_have_no_organization_and_each_keeps_one(events: list[Event]) -> None:
    organizations: dict[int, set[int | None]] = defaultdict(set)
    for event in events:
        if "user_id" in event:
            organizations[event["user_id"]].add(event.get("organization_id"))
    assert set(organizations) == set(range(1, 201))
    assert all(len(one) == 1 for one in organizations.values())
    assert 20 < sum(one == {None} for one in organizations.values()) < 60


def test_the_zones_include_both_daylight_savings_and_none(events: list[Event]) -> None:
    zones = {event["timezone"] for event in events if event["type"] == "preferences" and "timezone" in event}
    assert {"Europe/Berlin", "Australia/Sydney", "Asia/Kolkata"} <= zones


def test_the_stuck_practise_one_skill_for_days_without_getting_better(events: list[Event]) -> None:
    found = 0
    for some in lessons_by_skill(events).values():
        if len(some) < 30:
            continue
        scores = [event["score"] for event in some]
        days = {moment(event).date() for event in some}
        flat = abs(mean(scores[len(scores) // 2 :]) - mean(scores[: len(scores) // 2])) < 0.08
        found += len(days) >= 10 and mean(scores) < 0.5 and flat
    assert found >= 10


def test_the_returning_mastered_skills_and_then_were_away_for_a_month(events: list[Event]) -> None:
    end = datetime.fromtimestamp(END / 1000, UTC)
    found = set()
    for (user, _), some in lessons_by_skill(events).items():
        days = {moment(event).date() for event in some}
        unused = (end - max(moment(event) for event in some)).days
        if len(some) >= 3 and len(days) >= 2 and mean(e["score"] for e in some[-3:]) > 0.7 and unused >= 30:
            found.add(user)
    active = {e["user_id"] for e in events if e["type"] == "session" and (end - moment(e)).days < 3}
    returned = {e["user_id"] for e in events if e["type"] == "outcome" and e["kind"] == "returned"}
    assert len(found & returned & active) >= 10


def test_the_fading_have_been_busy_and_are_silent(events: list[Event]) -> None:
    end = datetime.fromtimestamp(END / 1000, UTC)
    days: dict[int, set[int]] = defaultdict(set)
    for event in events:
        if event["type"] == "lesson_completion":
            days[event["user_id"]].add((end - moment(event)).days)
    silent = [user for user, ago in days.items() if len(ago) >= 10 and min(ago) >= 10]
    assert len(silent) >= 10


def test_night_owls_study_around_midnight_where_they_are(events: list[Event]) -> None:
    zone = {e["user_id"]: e["timezone"] for e in events if e["type"] == "preferences" and "timezone" in e}
    hours: dict[int, list[int]] = defaultdict(list)
    for event in events:
        if event["type"] == "session" and event["user_id"] in zone:
            hours[event["user_id"]].append(moment(event).astimezone(ZoneInfo(zone[event["user_id"]])).hour)
    owls = [user for user, some in hours.items() if mean(hour >= 21 or hour <= 4 for hour in some) > 0.9]
    assert len(owls) >= 5


def test_local_hours_stay_what_they_are_when_clocks_change() -> None:
    berlin = catalogue.ZONES.index("Europe/Berlin")
    change = datetime(2026, 3, 29, tzinfo=UTC).toordinal() - datetime(1970, 1, 1, tzinfo=UTC).toordinal()
    assert offsets(change - 1)[berlin] == 3_600_000
    assert offsets(change)[berlin] == 7_200_000


def test_all_ways_of_learning_are_drawn_at_their_share() -> None:
    block = draw(PLAN, 0, 20_000, np.random.default_rng(3))
    shares = np.bincount(block.way, minlength=len(Way)) / 20_000
    assert np.abs(shares - np.array(SHARES)).max() < 0.02


@pytest.mark.parametrize("days", [1, 2, 7, 40, 120])
@pytest.mark.parametrize("learners", [1, 3])
def test_short_and_long_and_lonely_simulations_are_valid(days: int, learners: int) -> None:
    lines = lines_of(Plan(learners, days, 5, END))
    assert check(Piece(1, lines, 0), END).bad == []


def test_bad_lines_are_added_at_their_share_and_no_good_one_is_lost() -> None:
    good = lines_of(Plan(50, 20, 4, END))
    mixed = lines_of(Plan(50, 20, 4, END, bad=0.1))
    checked = check(Piece(1, mixed, 0), END)
    assert [record.value for record in checked.records] == good
    assert 0.08 < len(checked.bad) / len(good) < 0.12
    assert len({bad.reason for bad in checked.bad}) >= 5


def test_a_file_is_made_in_small_pieces() -> None:
    sizes = [len(piece) for piece in generate(Plan(3_000, 5, 6, END))]
    assert len(sizes) > 20
    assert max(sizes) < 10_000_000


def run(*arguments: str) -> Any:
    return CliRunner().invoke(simulate, ["--learners", "5", "--days", "3", *arguments])


def test_the_command_writes_the_same_to_standard_output_a_file_and_gzip(tmp_path: Path) -> None:
    plain, packed = tmp_path / "a.jsonl", tmp_path / "a.jsonl.gz"
    shown = run("--seed", "9", "--end", "2026-03-01")
    assert shown.exit_code == 0
    assert run("--seed", "9", "--end", "2026-03-01T23:00:00Z", "-o", str(plain)).exit_code == 0
    assert run("--seed", "9", "--end", "2026-03-01T05:00:00+05:00", "-o", str(packed)).exit_code == 0
    assert shown.stdout_bytes == plain.read_bytes() == gzip.decompress(packed.read_bytes())
    assert shown.stdout_bytes == b"".join(generate(Plan(5, 3, 9, END)))


def test_the_command_tells_the_seed_and_the_end(tmp_path: Path) -> None:
    told = run("-o", str(tmp_path / "a.jsonl"))
    assert told.exit_code == 0
    today = datetime.now(UTC).date().isoformat()
    assert f"{today}T00:00:00Z" in told.stderr
    assert "seed " in told.stderr
    assert told.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--end", "yesterday"],
        ["--end", "2026-03-01T00:00:00"],
        ["--end", "1970-01-02"],
        ["--end", "2200-02-01"],
        ["--learners", "0"],
        ["--days", "0"],
        ["--bad", "1"],
        ["--seed", "-1"],
    ],
)
def test_bad_usage_is_refused_with_exit_code_2(arguments: list[str], tmp_path: Path) -> None:
    target = tmp_path / "never"
    refused = run(*arguments, "-o", str(target))
    assert refused.exit_code == 2
    assert not target.exists()

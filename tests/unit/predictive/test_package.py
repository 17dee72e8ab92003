"""The package's names come when they are used; what the API records is what the worker takes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from lyo import predictive
from lyo.models.arrays.zones import DAY, HOUR
from lyo.models.events.decode import EventError, Kind
from lyo.predictive import predictors, subscription
from lyo.predictive.answers import recording
from lyo.predictive.answers.catalogue_cache import _Cached, _positions, _since
from lyo.streams.topics import Names
from tests.support.learners.building import START, iso


def test_importing_the_package_imports_nothing_heavy() -> None:
    program = "import sys, predictive; print(sorted({name.split('.')[0] for name in sys.modules}))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    for heavy in ("numpy", "sqlalchemy", "fastapi", "aiokafka", "faust", "models", "storage"):
        assert repr(heavy) not in ran.stdout


def test_the_predictors_need_no_faust() -> None:
    program = "import sys, lyo.predictive.predictors; print('faust' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


def test_every_public_name_is_there_and_no_other() -> None:
    assert set(predictive.__all__) <= set(dir(predictive))
    for name in predictive.__all__:
        home = subscription if name == "subscribe" else predictors
        assert getattr(predictive, name) is getattr(home, name)
    with pytest.raises(AttributeError, match="no attribute 'mind_reader'"):
        _ = predictive.mind_reader


def test_an_event_is_written_as_the_contract_says() -> None:
    fields = {"kind": "struggled", "content_id": "c", "gave_up": None}
    event = recording.event(Kind.OUTCOME, 5, 7, "e", START, fields, START)
    assert json.loads(event.value) == {
        "event_id": "e",
        "user_id": 5,
        "organization_id": 7,
        "occurred_at": iso(START),
        "kind": "struggled",
        "content_id": "c",
    }
    outgoing = event.outgoing(Names("test."))
    assert (outgoing.topic, outgoing.user_id, outgoing.organization_id) == ("test.outcomes", 5, 7)


@pytest.mark.parametrize(
    ("at", "fields", "field"),
    [
        (START + 2 * DAY, {"kind": "struggled"}, "occurred_at"),
        (START, {"kind": "cheered"}, "kind"),
        (START, {"kind": "struggled", "content_id": "c" * 101}, "content_id"),
    ],
)
def test_an_event_that_the_worker_would_refuse_is_refused(
    at: int, fields: dict[str, str], field: str
) -> None:
    with pytest.raises(EventError) as refused:
        recording.event(Kind.OUTCOME, 5, None, "e", at, fields, START + HOUR)
    assert refused.value.field == field


def test_an_erasure_is_told_step_by_step() -> None:
    event = recording.event(Kind.ERASURE, 5, None, "e", START, {}, START)
    row = {"value": event.value, "sent_at": None}
    assert recording.progress(5, None, {})["status"] == "not_requested"
    assert recording.progress(5, row, {})["status"] == "requested"
    told = recording.progress(5, row, {"learner_rows": 1})
    assert (told["event_id"], told["requested_at"], told["remaining"]) == (
        "e",
        iso(START),
        {"learner_rows": 1},
    )


NAMES = Names()
CONTENT, ORGANIZATIONS = (NAMES.topic(kind) for kind in (Kind.CONTENT, Kind.ORGANIZATION))


def since(before: str, now: str) -> tuple[int, int] | None:
    cached = _Cached(stamp=before, positions=_positions(before))
    return _since(cached, _positions(now), NAMES)


def test_only_what_the_catalogues_topics_have_brought_is_read_again() -> None:
    assert since(f"{CONTENT} 5 1 {ORGANIZATIONS} 2 1", f"{CONTENT} 9 1 {ORGANIZATIONS} 2 1") == (5, 2)


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (f"{CONTENT} 5 1", f"{CONTENT} 4 1"),
        (f"{CONTENT} 5 1", f"{CONTENT} 5 2"),
        (f"{CONTENT} 5 1", f"{CONTENT} 5 1 {ORGANIZATIONS} 0 1"),
        (f"{CONTENT} 5 1", ""),
        ("", ""),
    ],
    ids=["went back", "claimed anew", "one more topic", "emptied", "nothing"],
)
def test_the_catalogue_is_read_whole_where_the_offsets_say_nothing(before: str, now: str) -> None:
    assert since(before, now) is None

"""The specification's section "API Endpoints" against the running API.

Each of its requests is sent as it stands. Each answer must have all the names of its example, with values of
the same kind, and more only under names that are documented as optional.
"""

from __future__ import annotations

import types
from typing import Any, get_args

import httpx
import pytest
from pydantic import BaseModel, TypeAdapter

from lyo.predictive.api import examples, schemas
from lyo.predictive.api.app import openapi
from lyo.streams.settings import Settings
from tests.support.api.client import BASE, ISSUER, rfc, serving
from tests.support.api.specification import examples as specified
from tests.support.learners.stored import DAY, HOUR, LEARNER, NOW, TENANT

pytestmark = pytest.mark.integration

HEADERS = ISSUER.learner(LEARNER, TENANT)
SPECIFIED = specified()
LATER = NOW + 120 * DAY
"""By then a skill has faded, so that every kind of object is there to be compared."""

SHOWN: dict[str, Any] = {
    "POST /struggle/predict": (examples.STRUGGLE_REQUEST, examples.STRUGGLE_RESPONSE),
    "POST /struggle/record-outcome": (examples.OUTCOME_REQUEST, examples.OUTCOME_RESPONSE),
    "GET /dropout/risk": (None, examples.DROPOUT_RISK),
    "GET /timing/profile": (None, examples.TIMING_PROFILE),
    "POST /timing/check": (examples.TIMING_REQUEST, examples.TIMING_RESPONSE),
    "GET /plateaus": (None, [examples.PLATEAU]),
    "GET /regressions": (None, [examples.REGRESSION]),
    "GET /insights": (None, examples.INSIGHTS),
}
MODELS: dict[str, Any] = {
    "POST /struggle/predict": schemas.StruggleResponse,
    "POST /struggle/record-outcome": schemas.OutcomeResponse,
    "GET /dropout/risk": schemas.DropoutRisk,
    "GET /timing/profile": schemas.TimingProfile,
    "POST /timing/check": schemas.TimingResponse,
    "GET /plateaus": list[schemas.Plateau],
    "GET /regressions": list[schemas.Regression],
    "GET /insights": schemas.Insights,
}
NULLABLE = {  # what the specification's examples show as known, and may be unknown
    "help_message",
    *examples.STRUGGLE_RESPONSE["features"],
    *("session_frequency_trend", "avg_days_between_sessions", "sentiment_trend_7d", "performance_trend"),
    *("days_since_last_completion", "optimal_study_time", "avg_session_duration_minutes"),
    *("preferred_session_length", "most_active_hour", "least_active_hour", "alternative_time"),
    *("plateau_id", "regression_id", "intervention_suggested"),
}


async def send(client: httpx.AsyncClient, operation: str, **more: Any) -> Any:
    """The specification's request; the answer's JSON."""
    method, path = operation.split(" ")
    body = SPECIFIED[operation].get("request")
    response = await client.request(method, BASE + path, json=body, headers=HEADERS, **more)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    return response.json()


def same_shape(answer: Any, example: Any, place: str) -> None:
    """Every name of the example is there, with a value of its kind."""
    if isinstance(example, dict) and not all(key.isdigit() for key in example):
        assert isinstance(answer, dict), place
        for name, value in example.items():
            assert name in answer, f"{place}.{name} is missing"
            if answer[name] is None:
                assert name in NULLABLE, f"{place}.{name} is null"
            elif value is not None:
                same_shape(answer[name], value, f"{place}.{name}")
    elif isinstance(example, list):
        assert isinstance(answer, list), place
        for one in answer:
            same_shape(one, example[0], f"{place}[]")
    elif isinstance(example, float):
        assert isinstance(answer, float | int), place
        assert not isinstance(answer, bool), place
    else:
        assert type(answer) is type(example), f"{place}: {answer!r} is not like {example!r}"


def documented(answer: Any, model: Any, place: str = "") -> None:
    """Every name of the answer is in the model, nested ones too."""
    if isinstance(answer, list):
        (item,) = get_args(model) or (Any,)
        for one in answer:
            documented(one, item, f"{place}[]")
    elif isinstance(answer, dict) and isinstance(model, type) and issubclass(model, BaseModel):
        unknown = set(answer) - set(model.model_fields)
        assert unknown == set(), f"{place} has undocumented fields"
        for name, value in answer.items():
            documented(value, _inner(model.model_fields[name].annotation), f"{place}.{name}")


def _inner(annotation: Any) -> Any:
    """The type without its null."""
    if isinstance(annotation, types.UnionType):
        (annotation,) = (part for part in get_args(annotation) if part is not type(None))
    return annotation


@pytest.mark.parametrize("operation", SPECIFIED)
def test_the_examples_in_openapi_are_the_specifications(operation: str) -> None:
    request, response = SHOWN[operation]
    assert SPECIFIED[operation].get("request") == request
    assert SPECIFIED[operation]["response"] == response


def test_every_endpoint_of_the_specification_is_there() -> None:
    ours = {
        f"{method.upper()} {path.removeprefix(BASE)}"
        for path, operations in openapi()["paths"].items()
        for method in operations
    }
    assert set(SPECIFIED) <= ours


@pytest.mark.parametrize("operation", SPECIFIED)
def test_the_specifications_answer_is_one_that_we_document(operation: str) -> None:
    example = SPECIFIED[operation]["response"]
    adapter: TypeAdapter[Any] = TypeAdapter(MODELS[operation])
    parsed = adapter.validate_python(example, strict=False)
    assert adapter.dump_python(parsed, exclude_unset=True) == example


@pytest.mark.parametrize("operation", SPECIFIED)
def test_what_we_add_is_optional(operation: str) -> None:
    (model,) = get_args(MODELS[operation]) or (MODELS[operation],)
    example = SPECIFIED[operation]["response"]
    names = set(example[0] if isinstance(example, list) else example)
    assert {name for name, field in model.model_fields.items() if field.is_required()} == names


@pytest.mark.parametrize("at", [None, rfc(LATER)])
@pytest.mark.parametrize("operation", SPECIFIED)
async def test_the_answer_has_the_shape_of_the_example(api: Settings, operation: str, at: str | None) -> None:
    params = {} if at is None else {"at": at}
    async with serving(api) as client:
        answer = await send(client, operation, params=params)
    same_shape(answer, SPECIFIED[operation]["response"], operation)
    documented(answer, MODELS[operation], operation)
    TypeAdapter(MODELS[operation]).validate_python(answer, strict=True)
    if operation == "GET /plateaus" and at is None:
        assert answer, "the test's learner is on a plateau"
    if operation == "GET /regressions" and at is not None:
        assert answer, "by then the test's learner has lost a skill"


async def test_the_dashboard_holds_what_the_single_answers_say(api: Settings) -> None:
    parts = {
        "dropout_risk": "GET /dropout/risk",
        "active_plateaus": "GET /plateaus",
        "skill_regressions": "GET /regressions",
        "timing_profile": "GET /timing/profile",
    }
    async with serving(api) as client:
        for params in ({}, {"at": rfc(LATER)}):
            whole = await send(client, "GET /insights", params=params)
            for name, operation in parts.items():
                assert whole[name] == await send(client, operation, params=params)
            assert whole["user_id"] == LEARNER
            assert len(whole["priority_actions"]) <= whole["total_insights"] + 1


async def test_the_specifications_own_api_test_holds(api: Settings) -> None:
    """Its `test_struggle_prediction_endpoint`, as it stands but for the client."""
    async with serving(api) as api_client:
        response = await api_client.post(
            "/api/v1/predictive/struggle/predict",
            headers=HEADERS,
            json={
                "content_metadata": {
                    "content_id": "lesson_42",
                    "type": "lesson",
                    "difficulty_rating": 0.8,
                    "prerequisites": ["skill_1"],
                }
            },
        )
    assert response.status_code == 200
    data = response.json()
    assert "struggle_probability" in data
    assert 0.0 <= data["struggle_probability"] <= 1.0
    assert "confidence" in data
    assert "features" in data


# -- the moment --------------------------------------------------------------------------------------------


async def test_silence_raises_the_risk_up_to_the_moment_asked_for(api: Settings) -> None:
    found = []
    async with serving(api) as client:
        for days in (0, 5, 15, 40):
            params = {"at": rfc(NOW + days * DAY)}
            found.append(await send(client, "GET /dropout/risk", params=params))
    scores = [one["risk_score"] for one in found]
    assert scores == sorted(scores)
    assert scores[-1] > scores[0] + 0.2
    days_since = [one["days_since_last_completion"] for one in found]
    assert days_since == [days_since[0] + days for days in (0, 5, 15, 40)]
    assert [_ms(one["as_of"]) for one in found] == [NOW + days * DAY for days in (0, 5, 15, 40)]


async def test_a_moment_is_the_same_in_any_offset(api: Settings) -> None:
    async with serving(api) as client:
        answers = [
            await send(client, "GET /insights", params={"at": at})
            for at in ("2026-06-01T12:00:00Z", "2026-06-01T14:00:00+02:00", "2026-06-01t12:00:00.000z")
        ]
    assert answers[0] == answers[1] == answers[2]


async def test_a_good_moment_is_the_learners_own_evening(api: Settings) -> None:
    midnight = NOW // DAY * DAY
    async with serving(api) as client:
        answers = {}
        for hour in (3, 18):
            body = {"current_time": rfc(midnight + hour * HOUR)}
            response = await client.post(f"{BASE}/timing/check", json=body, headers=HEADERS)
            answers[hour] = response.json()
        now = (await client.post(f"{BASE}/timing/check", headers=HEADERS)).json()
        typed = HEADERS | {"Content-Type": "application/json"}
        null = await client.post(f"{BASE}/timing/check", content=b"null", headers=typed)
        assert null.json() == now, "null is no body, as OpenAPI says"
    assert answers[18]["is_good_time"]
    assert answers[18]["alternative_time"] is None
    assert not answers[3]["is_good_time"]
    assert _ms(answers[3]["alternative_time"]) > midnight + 3 * HOUR
    assert now["as_of"] == rfc(NOW).replace("+00:00", ".000Z")


def _ms(text: str) -> int:
    from lyo.streams.clock import parse

    return parse(text)


# -- struggle ----------------------------------------------------------------------------------------------


async def test_a_prediction_asked_for_twice_under_one_id_is_one(api: Settings) -> None:
    body = examples.STRUGGLE_REQUEST | {"request_id": "once"}
    async with serving(api) as client:
        answers = [
            (await client.post(f"{BASE}/struggle/predict", json=body, headers=HEADERS)).json()
            for _ in range(2)
        ]
    assert answers[0] == answers[1]
    assert answers[0]["request_id"] == "once"


async def test_ranking_gives_each_content_its_own_answer_the_easiest_first(api: Settings) -> None:
    contents = [
        {"content_id": "hard", "difficulty_rating": 0.95, "prerequisites": ["unheard"]},
        {"content_id": "easy", "difficulty_rating": 0.05, "prerequisites": ["fractions"]},
        {"content_id": "between", "difficulty_rating": 0.5},
    ]
    async with serving(api) as client:
        response = await client.post(f"{BASE}/struggle/rank", json={"contents": contents}, headers=HEADERS)
        assert response.status_code == 200, response.text
        ranked = response.json()
        documented(ranked, list[schemas.RankedContent])
        single = await client.post(
            f"{BASE}/struggle/predict", json={"content_metadata": contents[0]}, headers=HEADERS
        )
    assert [one["content_id"] for one in ranked] == ["easy", "between", "hard"]
    assert [one["position"] for one in ranked] == [1, 2, 0]
    same = ("struggle_probability", "confidence", "features", "factors", "should_offer_help")
    assert {name: ranked[2][name] for name in same} == {name: single.json()[name] for name in same}

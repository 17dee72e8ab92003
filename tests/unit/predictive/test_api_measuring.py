"""The API's requests are counted by the route's template, with no learner in any label."""

from __future__ import annotations

from prometheus_client import generate_latest

from lyo.predictive.api.app import create_app
from lyo.streams.metrics import API, API_LIVE, Reading
from lyo.streams.settings import Settings
from tests.support.api.client import client_of
from tests.support.api.tokens import SECRET
from tests.support.monitor.scraping import Scraped

USER = 7_300_000_001


async def test_requests_are_counted_by_template_method_and_status() -> None:
    app = create_app(Settings(jwt_secret=SECRET, database_url="postgresql://postgres@127.0.0.1:1/nowhere"))
    before = Scraped(generate_latest(API).decode())
    async with client_of(app) as client:
        for path, status in (
            ("/livez", 200),
            ("/livez", 200),
            (f"/insights/{USER}", 401),
            (f"/api/v1/predictive/learners/{USER}/erasure", 401),
            (f"/nowhere/{USER}", 404),
        ):
            answer = await client.get(path)
            assert answer.status_code == status, (path, answer.text)
        await client.request("BREW", "/livez")
    shown = Scraped(generate_latest(API).decode())

    def counted(**labels: str) -> float:
        return sum(
            value.value * sign
            for scraped, sign in ((shown, 1), (before, -1))
            for value in scraped.values
            if value.name == "lyo_api_requests_total" and labels.items() <= dict(value.labels).items()
        )

    assert counted(route="/livez", method="GET", status="200") == 2
    assert counted(route="/insights/{user_id}", status="401") == 1
    assert counted(route="/predictive/learners/{user_id}/erasure", status="401") == 1
    assert counted(route="unmatched", status="404") == 1
    assert counted(method="other") == 1
    assert str(USER) not in str(shown.values)
    live = [metric.name for metric in Reading(API_LIVE, app.state.running.samples).collect()]
    assert live == ["lyo_api_requests_running", "lyo_api_connections"]
    assert app.state.running.requests == 0

"""The page's route: who may look is settled before anything is read, and every refusal is a page."""

# No `from __future__ import annotations`: FastAPI reads the annotations of functions made in a test.

from collections.abc import Sequence
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI, HTTPException, Query, Request
from httpx import ASGITransport, AsyncClient, Response

from lyo.predictive.page.routes import Refusal, Viewer, create_router, token_of
from lyo.predictive.page.view import PageData
from tests.support.learners.building import START


class Refused(Exception):
    status = 429
    headers = {"Retry-After": "7"}  # noqa: RUF012 - read only


class Site:
    """An app whose tokens are names: own, other, stranger, fast, broken."""

    def __init__(self, frame_ancestors: Sequence[str] = ()) -> None:
        self.read_for: list[tuple[int, int | None]] = []

        async def authorize(request: Request, user_id: int) -> Viewer:
            match token_of(request):
                case "Bearer own":
                    return Viewer(7, own=True)
                case "Bearer other":
                    return Viewer(None, own=False)
                case "Bearer fast":
                    raise Refused
                case "Bearer broken":
                    raise RuntimeError("nobody foresaw this")
                case None:
                    raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"})
            raise HTTPException(403)

        async def read(
            user_id: int, viewer: Annotated[Viewer, Depends(authorize)], days: Annotated[int, Query(ge=0)] = 0
        ) -> PageData:
            self.read_for.append((user_id, viewer.organization))
            return PageData(user_id, START, {"user_id": user_id})

        self.app = FastAPI()
        router = create_router(read, authorize, refusal_of=refusal, frame_ancestors=frame_ancestors)
        self.app.include_router(router)

    async def get(self, path: str = "/insights/5", token: str = "", cookie: str = "") -> Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        cookies = {"lyo_token": cookie} if cookie else {}
        transport = ASGITransport(self.app)
        async with AsyncClient(transport=transport, base_url="http://test", cookies=cookies) as client:
            return await client.get(path, headers=headers)


def refusal(error: Exception) -> Refusal | None:
    return error if isinstance(error, Refused) else None


@pytest.mark.parametrize(
    ("token", "status"), [("", 401), ("stranger", 403), ("fast", 429)], ids=["nobody", "stranger", "fast"]
)
async def test_who_may_not_look_has_nothing_read(token: str, status: int) -> None:
    site = Site()
    answer = await site.get(token=token)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert site.read_for == []
    assert answer.headers.get("retry-after") == ("7" if status == 429 else None)
    assert ("try again in 7 seconds" in answer.text) == (status == 429)


async def test_a_cookie_does_as_well_as_a_header_which_goes_first() -> None:
    site = Site()
    assert (await site.get(cookie="own")).status_code == 200
    assert (await site.get(token="other", cookie="stranger")).status_code == 200
    assert (await site.get(token="stranger", cookie="own")).status_code == 403
    assert site.read_for == [(5, 7), (5, None)]


async def test_the_learner_and_others_see_the_same_the_others_with_the_id() -> None:
    site = Site()
    own, other = await site.get(token="own"), await site.get(token="other")
    assert "Learner <strong>5</strong>" in other.text
    assert "Learner <strong>5</strong>" not in own.text
    assert own.text.partition("<main")[2] == other.text.partition("<main")[2]


@pytest.mark.parametrize(
    ("path", "status"), [("/insights/x", 404), ("/insights/5?days=-1", 422), ("/insights/5?days=x", 422)]
)
async def test_an_address_that_cannot_be_read_is_a_page(path: str, status: int) -> None:
    answer = await Site().get(path, token="own")
    assert answer.status_code == status
    assert "<h1>" in answer.text


async def test_what_nobody_foresaw_is_left_to_the_app() -> None:
    with pytest.raises(RuntimeError, match="nobody foresaw this"):
        await Site().get(token="broken")


async def test_headers_of_every_answer() -> None:
    site = Site(["https://app.example"])
    for token in ("own", "stranger"):
        headers = (await site.get(token=token)).headers
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "frame-ancestors https://app.example" in headers["content-security-policy"]


async def test_the_page_is_no_operation_of_the_api() -> None:
    assert "/insights/{user_id}" not in Site().app.openapi()["paths"]


async def test_the_viewer_is_asked_first_also_where_reading_does_not_ask() -> None:
    asked: list[str] = []

    async def authorize() -> Viewer:
        asked.append("authorize")
        raise HTTPException(403)

    async def read(user_id: int) -> PageData:
        asked.append("read")
        return PageData(user_id, START, {"user_id": user_id})

    app = FastAPI()
    app.include_router(create_router(read, authorize))
    async with AsyncClient(transport=ASGITransport(app), base_url="http://test") as client:
        assert (await client.get("/insights/5")).status_code == 403
    assert asked == ["authorize"]

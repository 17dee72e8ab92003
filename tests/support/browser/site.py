"""The page of simulated learners, served by uvicorn from a real Postgres that the real writer has filled."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import asyncpg
import msgspec
import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.pool import NullPool

from lyo.cli.files.simulate import write
from lyo.evaluation.replay import Replay
from lyo.models.events.decode import Kind
from lyo.predictive.answers.answers import insights
from lyo.predictive.page.reading import read_page
from lyo.predictive.page.routes import Refusal, Viewer, create_router, token_of
from lyo.predictive.page.view import PageData
from lyo.storage import database
from lyo.storage.database import plain_url
from lyo.storage.schema.migrate import upgrade
from lyo.storage.sink.offsets import Place, claim
from lyo.storage.sink.rows import tenant_of
from lyo.storage.sink.writer import Writer
from lyo.tools.simulation import Plan
from tests.support.learners.building import MINUTE, Sent, columns, completion, preferences, session, stored
from tests.support.sink.records import NAMES, Rec

END = 1_776_643_200_000  # 2026-04-20T00:00:00Z
DAY = 86_400_000
TROUBLED, HOSTILE, NOBODY, SPARSE = 800_001, 900_001, 900_002, 900_003
SCRIPT, IMAGE = "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>'
ARABIC, LONG, BRACES = "مهارة الجبر الخطي", "W" * 100, "{{ 7 * 7 }} & <b>"
HOSTILE_SKILLS = (SCRIPT, ARABIC, LONG, BRACES)
GONE = "Bearer gone"


@dataclass(frozen=True, slots=True)
class Site:
    """A running site; ``data`` has what each learner's page is made of, as of ``END``."""

    url: str
    data: dict[int, PageData]

    def page(self, user: int) -> str:
        """The address of a learner's page."""
        return f"{self.url}/insights/{user}"

    def learner(self, *, level: tuple[str, ...] = (), plateaus: int = 0, regressions: int = 0) -> int:
        """A simulated learner of whom all is known and this at least."""
        for user, data in sorted(self.data.items()):
            said = data.insights
            if level and said["dropout_risk"]["risk_level"] not in level:
                continue
            if len(said["active_plateaus"]) < plateaus or len(said["skill_regressions"]) < regressions:
                continue
            if said["timing_profile"]["confidence"] > 0 and user < HOSTILE:
                return user
        raise AssertionError(f"no learner with {level}, {plateaus} plateaus and {regressions} regressions")


def events_of_hostile() -> list[Sent]:
    """A learner whose skills and topics have names that would break a careless page."""
    made = [preferences(HOSTILE, END - 80 * DAY, timezone="Asia/Kathmandu")]
    for day in range(60, 30, -1):
        at = END - day * DAY + 14 * 60 * MINUTE
        made.append(session(HOSTILE, at, 45))
        for number, skill in enumerate(HOSTILE_SKILLS):
            when = at + number * 5 * MINUTE
            made.append(completion(HOSTILE, when, skill, score=0.4 if day % 2 else 0.6, topic=IMAGE))
    for day in range(12, 2, -1):
        at = END - day * DAY + 14 * 60 * MINUTE
        for number, skill in enumerate(HOSTILE_SKILLS):
            score = 0.95 if skill == SCRIPT else 0.6 if day % 2 else 0.4
            made.append(completion(HOSTILE, at + number * MINUTE, skill, score=score, topic=LONG * 2))
    return made


def events_of_troubled() -> list[Sent]:
    """A learner who came every evening, lost two skills, is stuck at two others, and stays away of late."""
    made = [preferences(TROUBLED, END - 80 * DAY, timezone="Europe/Berlin")]
    for day in range(40):
        at = END - (50 - day) * DAY + 17 * 60 * MINUTE
        made.append(session(TROUBLED, at, 40))
        lost, stuck = (1.0 if day < 8 else 0.0), float(day % 2)
        scores = {"known": 1.0} | ({"stuck": stuck, "slow": 1.0 - stuck} if day > 20 else {})
        scores |= {"lost": lost, "gone": lost} if day < 11 else {}
        for number, (skill, score) in enumerate(scores.items()):
            made.append(completion(TROUBLED, at + number * 5 * MINUTE, skill, score=score))
    return made


def events_of_sparse() -> list[Sent]:
    """A learner who has just begun."""
    return [session(SPARSE, END - DAY, 20), completion(SPARSE, END - DAY + MINUTE, "begun", score=0.7)]


def replayed(folder: Path) -> Replay:
    """Simulated learners and the odd ones, folded."""
    path = folder / "simulated.jsonl"
    write(Plan(learners=120, days=80, seed=5, end=END), path)
    replay = Replay()
    replay.read(path, END, None, None)
    for events in (events_of_troubled(), events_of_hostile(), events_of_sparse()):
        replay.engine.commit(replay.engine.apply(columns(events)))
    replay.settle(END)
    return replay


def records(replay: Replay) -> list[Rec]:
    """Everything that the topics would hold."""
    learners, skills = stored(replay.engine)
    known = replay.engine.state.catalogue
    pairs = [(NAMES.prediction(kind), key, value) for kind, key, value in replay.predictions()]
    pairs += [(NAMES.learner_rows, key, value) for key, value in learners.items()]
    pairs += [(NAMES.skill_rows, key, value) for key, value in skills.items()]
    for kind, documents in ((Kind.CONTENT, known.contents), (Kind.ORGANIZATION, known.organizations)):
        topic = NAMES.topic(kind)
        pairs += [(topic, str(key).encode(), msgspec.json.encode(one)) for key, one in documents.items()]
    return [Rec(topic, 0, offset, key, value) for offset, (topic, key, value) in enumerate(pairs)]


async def fill(database_url: str, replay: Replay) -> None:
    """Store all of it in one batch, as the sink does."""
    connection = await asyncpg.connect(plain_url(database_url))
    try:
        wanted = records(replay)
        writer = Writer(NAMES, tenant_of)
        batch = writer.prepare(wanted)
        assert batch.refused == []
        target = {Place(record.topic, 0): len(wanted) for record in wanted}
        positions = await claim(connection, dict.fromkeys(target, 0))
        assert await writer.store(connection, batch, positions, target)
    finally:
        await connection.close()


async def page_of(db: AsyncSession, user: int, organization: int | None) -> PageData:
    """What a learner's page is made of."""
    said = await insights(db, user_id=user, organization=organization, at=END)
    return await read_page(db, user, organization, END, said)


async def read_all(database_url: str, users: list[int]) -> dict[int, PageData]:
    """What each learner's page is made of."""
    engine = database.engine(database_url, poolclass=NullPool)
    async with AsyncSession(engine) as db:
        found = {user: await page_of(db, user, None) for user in users}
    await engine.dispose()
    return found


class Away(Exception):
    """Postgres is away."""

    status = 503
    headers = {"Retry-After": "2"}  # noqa: RUF012 - read only


def _refusal(error: Exception) -> Refusal | None:
    return error if isinstance(error, Away) else None


def app_on(database_url: str) -> FastAPI:
    """The page in an app of its own: ``learner-7`` is learner 7, ``service`` may see everyone."""
    engine = database.engine(database_url, poolclass=NullPool)

    async def authorize(request: Request, user_id: int) -> Viewer:
        token = token_of(request)
        if token is None:
            raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"})
        if token == GONE:
            raise Away
        if token not in ("Bearer service", f"Bearer learner-{user_id}"):
            raise HTTPException(403)
        return Viewer(None, own=token != "Bearer service")

    async def read(user_id: int, viewer: Annotated[Viewer, Depends(authorize)]) -> PageData:
        async with AsyncSession(engine) as db:
            return await page_of(db, user_id, viewer.organization)

    app = FastAPI(openapi_url=None)
    app.include_router(create_router(read, authorize, refusal_of=_refusal))
    return app


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """The app on a free port of this machine, stopped afterwards."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            end = time.monotonic() + 30
            while not server.started:
                assert thread.is_alive(), "the server ended"
                assert time.monotonic() < end, "the server did not start"
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(30)


@contextmanager
def site(database_url: str, folder: Path) -> Iterator[Site]:
    """A site over a fresh database."""
    upgrade(database_url)
    replay = replayed(folder)
    asyncio.run(fill(database_url, replay))
    users: list[int] = replay.engine.state.learners.rows["user"][: len(replay.engine.state.learners)].tolist()
    data = asyncio.run(read_all(database_url, [*users, NOBODY]))
    with serving(app_on(database_url)) as url:
        yield Site(url, data)

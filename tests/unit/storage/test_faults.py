"""Which errors the sink waits out, which it finds a record for, and which end it."""

from __future__ import annotations

import asyncpg
import pytest

from lyo.storage.database import async_url, plain_url, shown_url
from lyo.storage.faults import Fault, SinkError, judge, lasting, one_line, waiting_for
from lyo.storage.sink.offsets import Place, Stolen, check_range


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (ConnectionRefusedError(), Fault.PASSING),
        (TimeoutError(), Fault.PASSING),
        (asyncpg.InterfaceError("connection is closed"), Fault.PASSING),
        (asyncpg.ConnectionDoesNotExistError("gone"), Fault.PASSING),
        (asyncpg.CannotConnectNowError("starting up"), Fault.PASSING),
        (asyncpg.AdminShutdownError("going down"), Fault.PASSING),
        (asyncpg.IdleInTransactionSessionTimeoutError("frozen"), Fault.PASSING),
        (asyncpg.DeadlockDetectedError("deadlock"), Fault.PASSING),
        (asyncpg.DiskFullError("full"), Fault.PASSING),
        (asyncpg.StringDataRightTruncationError("too long"), Fault.DATA),
        (asyncpg.NotNullViolationError("null"), Fault.DATA),
        (asyncpg.UntranslatableCharacterError("nul"), Fault.DATA),
        (asyncpg.CardinalityViolationError("twice"), Fault.DATA),
        (asyncpg.ProgramLimitExceededError("index row"), Fault.DATA),
        (asyncpg.ProgramLimitExceededError("zu viele Benachrichtigungen"), Fault.DATA),
        (asyncpg.RaiseError("a trigger's own"), Fault.DATA),
        (asyncpg.ReadOnlySQLTransactionError("a standby"), Fault.PASSING),
        (asyncpg.DataError("not an int"), Fault.DATA),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), Fault.DATA),
        (asyncpg.UndefinedTableError("no table"), Fault.LASTING),
        (asyncpg.InvalidPasswordError("no"), Fault.LASTING),
        (asyncpg.InvalidCatalogNameError("no database"), Fault.LASTING),
        (SinkError("stolen"), Fault.LASTING),
        (KeyError("a bug"), Fault.LASTING),
    ],
)
def test_an_error_is_judged_by_what_can_be_done(error: Exception, fault: Fault) -> None:
    assert judge(error) is fault


def test_a_missing_table_says_what_to_do() -> None:
    assert "run `lyo migrate`" in str(lasting(asyncpg.UndefinedTableError('relation "x"')))
    assert str(lasting(asyncpg.InvalidPasswordError("no"))) == "Postgres refuses: InvalidPasswordError: no"


def test_what_is_waited_for_is_named_by_its_code() -> None:
    assert waiting_for(ConnectionRefusedError("no")) == "Postgres is away: ConnectionRefusedError: no"
    assert waiting_for(asyncpg.CannotConnectNowError("up soon")).startswith("Postgres is away: ")
    refused = asyncpg.ProgramLimitExceededError("voll")
    named = "Postgres stores nothing (SQLSTATE 54000): ProgramLimitExceededError: voll"
    assert waiting_for(refused) == named


def test_an_error_is_one_line() -> None:
    assert one_line(ValueError("a\nb")) == "ValueError: a b"
    assert one_line(TimeoutError()) == "TimeoutError"


def test_an_offset_that_the_log_does_not_have_is_refused() -> None:
    place = Place("lyo.predictions.timing", 3)
    check_range(place, 5, 5, 5)
    check_range(place, 5, 0, 9)
    with pytest.raises(SinkError, match=r"timing-3 ends at offset 4, but 5 was stored.*lyo sink --rebuild"):
        check_range(place, 5, 0, 4)
    with pytest.raises(SinkError, match=r"timing-3 begins at offset 6, but 5 is next.*lyo sink --rebuild"):
        check_range(place, 5, 6, 9)


def test_a_stolen_partition_is_named() -> None:
    assert "another sink has taken over a-1, b-0;" in str(Stolen([Place("b", 0), Place("a", 1)]))


def test_urls_for_asyncpg_for_sqlalchemy_and_for_people() -> None:
    url = "postgresql+psycopg://me:s%40cret@db:5433/lyo"
    assert plain_url(url) == "postgresql://me:s%40cret@db:5433/lyo"
    assert async_url(url).drivername == "postgresql+asyncpg"
    assert async_url(url).password == "s@cret"
    assert shown_url(url) == "postgresql://me:***@db:5433/lyo"

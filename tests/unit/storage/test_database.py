"""Postgres' URL: read by both drivers, shown without its passwords."""

from __future__ import annotations

import pytest

from lyo.storage import database
from lyo.storage.faults import Fault, judge

URL = "postgresql://app:hun%2Fter2@db:5433/lyo?sslmode=require&sslpassword=hunter3&password=hunter4"


def test_a_url_is_shown_without_its_passwords() -> None:
    shown = database.shown_url(URL)
    assert shown.startswith("postgresql://app:***@db:5433/lyo?")
    assert "sslmode=require" in shown
    assert "hun" not in shown


@pytest.mark.parametrize("url", ["postgresql://a:hunter2/lyo", "postgresql://a:hunter2@db:x1/lyo", "hunter2"])
def test_what_is_no_url_is_not_shown(url: str) -> None:
    with pytest.raises(ValueError, match="LYO_DATABASE_URL is no URL") as refused:
        database.plain_url(url)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("name", ["sslrootcert", "sslcert", "sslkey", "sslcrl"])
def test_a_file_that_is_missing_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=rf"LYO_DATABASE_URL: {name}=/nowhere.pem: No such file") as refused:
        database.engine(f"postgresql://app:hunter2@db/lyo?sslmode=require&{name}=/nowhere.pem")
    assert judge(refused.value) is Fault.LASTING


def test_an_engine_shows_no_password_and_no_parameters() -> None:
    shown = repr(database.engine(URL))
    assert "hun" not in shown
    assert "ssl" not in shown

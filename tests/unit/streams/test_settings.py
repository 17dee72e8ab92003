from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import SecretStr, ValidationError

from lyo.cli.main import COMMANDS, lyo
from lyo.streams.clock import Clock, ClockError, parse
from lyo.streams.failpoints import FAILPOINTS, Failpoints
from lyo.streams.settings import Settings, load_settings


def refused(capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        load_settings()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_every_setting_is_described_and_has_a_default() -> None:
    for name, field in Settings.model_fields.items():
        assert not field.is_required(), name
        assert field.description, name
        assert field.description.endswith("."), name


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LYO_PARTITIONS", "0"),
        ("LYO_PARTITIONS", "eight"),
        ("LYO_REPLICATION", "-1"),
        ("LYO_BOOTSTRAP_SERVERS", "localhost"),
        ("LYO_BOOTSTRAP_SERVERS", "localhost:70000"),
        ("LYO_BOOTSTRAP_SERVERS", "a:1,b"),
        ("LYO_BOOTSTRAP_SERVERS", "http://localhost:9092"),
        ("LYO_DATABASE_URL", "mysql://x"),
        ("LYO_APP_ID", ""),
        ("LYO_APP_ID", "with space"),
        ("LYO_TOPIC_PREFIX", "a/b"),
        ("LYO_CLOCK", "2026-01-01T00:00:00"),
        ("LYO_SECURITY_PROTOCOL", "TLS"),
        ("LYO_COMPRESSION", "lz5"),
        ("LYO_CRASH_AT", "here:there"),
        ("LYO_SWEEP_SECONDS", "0"),
    ],
)
def test_a_bad_variable_is_named_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    assert variable in refused(capsys)


def test_a_server_given_as_a_url_is_said_to_be_the_wrong_form(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LYO_BOOTSTRAP_SERVERS", "kafka-1:9092, http://localhost:9092")
    assert "'http://localhost:9092' is a URL; a broker is host:port" in refused(capsys)


def test_a_variable_that_is_no_setting_is_named_and_its_likeness_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("LYO_PARTITION", "LYO_ZZZ", "LYO_HOME", "LYO_TEST_STACK", "LYO_LOG_LEVEL", "LYOTARD"):
        monkeypatch.setenv(name, "error" if name == "LYO_LOG_LEVEL" else "9")
    load_settings()
    assert capsys.readouterr().err.splitlines() == [
        "lyo: LYO_PARTITION is no setting; did you mean LYO_PARTITIONS?",
        "lyo: LYO_ZZZ is no setting",
    ]


def test_sasl_needs_a_user_and_a_password_and_the_password_is_never_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LYO_SECURITY_PROTOCOL", "SASL_SSL")
    monkeypatch.setenv("LYO_SASL_PASSWORD", "hunter2")
    line = refused(capsys)
    assert "LYO_SASL_USERNAME" in line
    assert "hunter2" not in line
    monkeypatch.setenv("LYO_SASL_USERNAME", "app")
    assert "hunter2" not in repr(load_settings())


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"LYO_SASL_PASSWORD": "hunter2"}, "LYO_SASL_PASSWORD"),
        ({"LYO_SASL_USERNAME": "hunter2"}, "LYO_SASL_USERNAME"),
        ({"LYO_SSL_CAFILE": "hunter2"}, "LYO_SSL_CAFILE"),
        ({"LYO_SECURITY_PROTOCOL": "SSL", "LYO_SSL_KEYFILE": "hunter2"}, "LYO_SSL_CERTFILE"),
        ({"LYO_SECURITY_PROTOCOL": "SSL", "LYO_SASL_PASSWORD": "hunter2"}, "LYO_SASL_PASSWORD"),
        ({"LYO_JWT_SECRET": "hunter2"}, "LYO_JWT_SECRET"),
        ({"LYO_DATABASE_URL": "mysql://u:hunter2@x/y"}, "LYO_DATABASE_URL"),
    ],
)
def test_security_that_would_not_be_used_is_refused_without_saying_what_was_given(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variables: dict[str, str],
    named: str,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    line = refused(capsys)
    assert named in line
    assert "hunter2" not in line
    # As a library's caller sees it.
    with pytest.raises(ValidationError) as error:
        Settings()
    assert "hunter2" not in str(error.value)
    assert "hunter2" not in repr(error.value)


def test_no_command_shows_a_secret_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {
        "LYO_SECURITY_PROTOCOL": "SASL_SSL",
        "LYO_SASL_USERNAME": "app",
        "LYO_SASL_PASSWORD": "hunter2-of-kafka",
        "LYO_SSL_CERTFILE": "/nowhere",
        "LYO_SSL_PASSWORD": "hunter2-of-the-key",
        "LYO_JWT_SECRET": "hunter2-of-the-tokens-that-is-long-enough",
        "LYO_DATABASE_URL": "postgresql://app:hunter2@127.0.0.1/lyo?sslpassword=hunter2",
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    assert "hunter2" not in repr(Settings())
    words = [[], ["settings"], ["settings", "--json"], ["settings", "--markdown"]]
    for one in words + [[name, "--help"] for name in COMMANDS]:
        done = CliRunner().invoke(lyo, one or ["--help"])
        assert done.exit_code == 0, (one, done.output)
        assert "hunter2" not in done.output, one


def test_the_database_url_is_not_part_of_the_settings_text() -> None:
    assert "hunter2" not in repr(Settings(database_url="postgresql://u:hunter2@127.0.0.1/x"))


def test_servers_are_split() -> None:
    assert Settings(bootstrap_servers="a:1, b:2").servers == ["a:1", "b:2"]


def test_a_clock_stands_still_or_follows_its_file_or_runs(tmp_path: Path) -> None:
    assert Clock("2026-03-01T12:00:00.250Z").now() == 1_772_366_400_250
    assert Clock("2026-03-01T13:00:00+01:00").now() == 1_772_366_400_000
    file = tmp_path / "clock"
    file.write_text("2026-03-01T12:00:00Z\n")
    clock = Clock(f"@{file}")
    assert clock.now() == 1_772_366_400_000
    file.write_text("2026-03-01T12:00:01Z")
    assert clock.now() == 1_772_366_401_000
    assert Clock().now() > 1_772_366_400_000


@pytest.mark.parametrize("text", ["", "noon", "2026-03-01T12:00:00", "2026-13-01T12:00:00Z"])
def test_a_time_without_an_offset_or_sense_is_refused(text: str) -> None:
    with pytest.raises(ClockError):
        parse(text)


def test_a_clock_whose_file_is_missing_says_so(tmp_path: Path) -> None:
    with pytest.raises(ClockError, match="cannot be read"):
        Clock(f"@{tmp_path / 'none'}").now()


def test_steps_do_nothing_unless_asked_for_and_know_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr("os._exit", ended.append)
    for step in FAILPOINTS:
        Failpoints()(step)
    assert ended == []
    failpoints = Failpoints("rows_sent:2")
    failpoints("begun")
    failpoints("rows_sent")
    assert ended == []
    failpoints("rows_sent")
    assert ended == [137]
    frozen: list[tuple[int, int]] = []
    monkeypatch.setattr("os.kill", lambda *call: frozen.append(call))
    failpoints = Failpoints("sink_rows:2:stop")
    for _ in range(3):
        failpoints("sink_rows")
    assert (frozen, ended) == ([(os.getpid(), signal.SIGSTOP)], [137])
    with pytest.raises(ValueError, match=re.escape("no step 'nowhere'")):
        Failpoints("nowhere")


def test_the_secret_of_tokens_is_not_part_of_the_settings_text() -> None:
    assert "hunter2" not in repr(Settings(jwt_secret=SecretStr("hunter2" * 5)))


def test_a_secret_set_to_nothing_is_no_secret() -> None:
    assert Settings.model_validate({"jwt_secret": ""}).jwt_secret is None

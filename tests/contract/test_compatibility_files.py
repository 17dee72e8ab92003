"""The committed contract is what the code writes, and `lyo contracts` says where it is not."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner
from openapi_spec_validator import validate

from lyo.cli.files.contracts import contracts
from lyo.streams.settings import Settings
from lyo.streams.topics import specs
from lyo.tools.contracts import document, openapi
from lyo.tools.contracts.asyncapi import asyncapi_document, channel_breaks
from lyo.tools.contracts.messages import VERSION

ROOT = Path(__file__).parents[2] / document.DEFAULT_FOLDER


def test_the_committed_contract_is_what_the_code_writes() -> None:
    assert document.drifted(ROOT) == []


def test_the_code_keeps_what_was_released() -> None:
    assert document.broken(ROOT) == []


def test_the_present_version_is_released_and_no_later_one() -> None:
    assert [path.name for path in document.released(ROOT)] == [f"v{n}" for n in range(1, VERSION + 1)]


# -- the command -------------------------------------------------------------------------------------------


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(contracts, arguments)
    return result.exit_code, result.output


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A contract that was written and released."""
    assert run("--out", str(tmp_path))[0] == 0
    assert run("--out", str(tmp_path), "--release")[0] == 0
    return tmp_path


def test_what_was_written_passes_the_check(folder: Path) -> None:
    code, said = run("--out", str(folder), "--check")
    assert code == 0
    assert "no release is broken" in said


def test_an_edited_a_missing_and_a_stray_file_are_drift(folder: Path) -> None:
    (folder / "schemas" / "sessions.json").write_text("{}")
    (folder / "asyncapi.json").unlink()
    (folder / "schemas" / "applause.json").write_text("{}")
    code, said = run("--out", str(folder), "--check")
    assert code == 1
    assert [line.split(":")[1].strip() for line in said.splitlines()] == [
        "asyncapi.json",
        "schemas/applause.json",
        "schemas/sessions.json",
    ]
    assert run("--out", str(folder))[0] == 0
    assert run("--out", str(folder), "--check")[0] == 0
    assert not (folder / "schemas" / "applause.json").exists()


def test_a_release_that_said_more_fails_the_check(folder: Path) -> None:
    path = folder / f"v{VERSION}" / "schemas" / "sentiment.json"
    released = json.loads(path.read_text())
    released["properties"]["mood"] = {"type": "string"}
    released["properties"]["sentiment"]["maximum"] = 2
    path.write_text(json.dumps(released))
    code, said = run("--out", str(folder), "--check", "--json")
    assert code == 1
    assert json.loads(said)["broken"] == [
        f"v{VERSION} sentiment.sentiment: maximum was 2, is 1",
        f"v{VERSION} sentiment (whole): the field mood is gone",
    ]


def test_a_message_that_is_gone_fails_the_check(folder: Path) -> None:
    (folder / f"v{VERSION}" / "schemas" / "applause.json").write_text('{"title": "Applause"}')
    code, said = run("--out", str(folder), "--check")
    assert code == 1
    assert "applause: the message is gone" in said


def test_a_version_is_released_once(folder: Path) -> None:
    code, said = run("--out", str(folder), "--release")
    assert code == 1
    assert "needs a new VERSION" in said


def test_a_new_version_that_breaks_an_older_one_is_not_released(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(document, "VERSION", VERSION + 1)
    path = folder / f"v{VERSION}" / "schemas" / "sentiment.json"
    kept = path.read_text()
    path.write_text(kept.replace('"maximum": 1', '"maximum": 2'))
    code, said = run("--out", str(folder), "--release")
    assert code == 1
    assert f"v{VERSION} sentiment.sentiment: maximum was 2, is 1" in said
    path.write_text(kept)
    assert run("--out", str(folder), "--release")[0] == 0
    assert [version.name for version in document.released(folder)] == [f"v{VERSION}", f"v{VERSION + 1}"]
    assert run("--out", str(folder), "--check")[0] == 0


def test_without_a_release_the_check_says_what_to_do(tmp_path: Path) -> None:
    assert run("--out", str(tmp_path))[0] == 0
    code, said = run("--out", str(tmp_path), "--check")
    assert code == 1
    assert "lyo contracts --release" in said


def test_check_and_release_together_are_bad_usage(tmp_path: Path) -> None:
    assert run("--out", str(tmp_path), "--check", "--release")[0] == 2


# -- AsyncAPI -----------------------------------------------------------------------------------------------


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    whole = asyncapi_document()

    def follow(part: Any) -> int:
        if isinstance(part, list):
            return sum(map(follow, part))
        if not isinstance(part, dict):
            return 0
        count = 0
        if "$ref" in part:
            found: Any = whole
            for step in part["$ref"].removeprefix("#/").split("/"):
                found = found[step]
            assert found
            count = 1
        return count + sum(map(follow, part.values()))

    assert follow(whole) > 60


def test_every_topic_is_a_channel_with_one_message_and_its_key() -> None:
    whole = asyncapi_document()
    topics = {spec.name: spec.config for spec in specs(Settings.model_construct())}
    channels = {channel["address"]: channel for channel in whole["channels"].values()}
    assert channels.keys() == topics.keys()
    for topic, channel in channels.items():
        kafka = channel["bindings"]["kafka"]
        assert kafka["topicConfiguration"]["cleanup.policy"] == topics[topic]["cleanup.policy"].split(",")
        assert len(channel["messages"]) == 1
    for message in whole["components"]["messages"].values():
        assert message["bindings"]["kafka"]["key"]["pattern"]
    assert {operation["action"] for operation in whole["operations"].values()} == {"receive", "send"}


def test_a_channel_that_is_used_otherwise_fails_the_check(folder: Path) -> None:
    path = folder / f"v{VERSION}" / "asyncapi.json"
    released = json.loads(path.read_text())
    sentiment = released["channels"]["sentiment"]
    sentiment["address"] = "lyo.feelings"
    sentiment["bindings"]["kafka"]["topicConfiguration"]["cleanup.policy"] = ["compact"]
    message = released["components"]["messages"]["sentiment"]
    message["bindings"]["kafka"]["key"]["pattern"] = "^org|user$"
    message["contentType"] = "text/plain"
    # Internal: another layout of the rows may have another key.
    released["components"]["messages"]["skill-rows"]["bindings"]["kafka"]["key"]["pattern"] = "^x$"
    released["channels"]["applause"] = sentiment
    released["operations"]["read-applause"] = released["operations"]["read-sentiment"] | {
        "channel": {"$ref": "#/channels/applause"}
    }
    path.write_text(json.dumps(released))
    code, said = run("--out", str(folder), "--check", "--json")
    assert code == 1
    assert json.loads(said)["broken"] == [
        f"v{VERSION} sentiment: the address was lyo.feelings, is lyo.sentiment",
        f"v{VERSION} sentiment: the cleanup policy was compact, is delete",
        f"v{VERSION} sentiment: the key's pattern was ^org|user$, is ^[1-9][0-9]{{0,18}}$",
        f"v{VERSION} sentiment: the content type was text/plain, is application/json",
        f"v{VERSION} applause: the channel is gone",
    ]


@pytest.mark.parametrize(
    ("name", "was", "now", "breaking"),
    [
        ("dead-letters", ["delete"], ["compact", "delete"], False),
        ("dead-letters", ["compact", "delete"], ["delete"], True),
        ("dead-letters", ["delete"], ["compact"], True),
        ("sentiment", ["delete"], ["compact", "delete"], True),
    ],
)
def test_only_what_is_read_may_be_compacted_as_well(
    name: str, was: list[str], now: list[str], breaking: bool
) -> None:
    old, new = asyncapi_document(), asyncapi_document()
    for whole, policy in ((old, was), (new, now)):
        whole["channels"][name]["bindings"]["kafka"]["topicConfiguration"]["cleanup.policy"] = policy
    expected = f"{name}: the cleanup policy was {','.join(was)}, is {','.join(now)}"
    assert channel_breaks(old, new) == ([expected] if breaking else [])


# -- OpenAPI -----------------------------------------------------------------------------------------------


def api_of(monkeypatch: pytest.MonkeyPatch, paths: dict[str, Any] | None) -> None:
    """Let the API be one with these paths; None: let it be no part of this version."""
    module = None
    if paths is not None:
        module = ModuleType("lyo.predictive.api.app")
        module.openapi = lambda: {"openapi": "3.1.0", "paths": paths}  # type: ignore[attr-defined]
    monkeypatch.setattr(openapi, "_module", lambda: module)


def test_the_api_is_released_and_kept_with_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    risk = {"get": {"responses": {"200": {"description": "The risk."}}}}
    api_of(monkeypatch, {"/risk": risk})
    assert run("--out", str(tmp_path))[0] == 0
    assert run("--out", str(tmp_path), "--release")[0] == 0
    assert json.loads((tmp_path / "openapi.json").read_text())["paths"] == {"/risk": risk}
    assert run("--out", str(tmp_path), "--check")[0] == 0
    api_of(monkeypatch, {"/risk": risk, "/more": risk})
    code, said = run("--out", str(tmp_path), "--check")
    assert (code, said.split(" (")[0]) == (1, "drift: openapi.json: is not what this code writes")
    api_of(monkeypatch, {"/more": risk})
    code, said = run("--out", str(tmp_path), "--check", "--json")
    assert json.loads(said)["broken"] == [f"v{VERSION} GET /risk: the operation is gone"]


def test_an_api_that_comes_or_goes_after_the_release_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api_of(monkeypatch, None)
    assert "openapi.json is missing" in run("--out", str(tmp_path))[1]
    run("--out", str(tmp_path), "--release")
    assert run("--out", str(tmp_path), "--check")[0] == 0
    api_of(monkeypatch, {})
    assert run("--out", str(tmp_path))[0] == 0
    code, said = run("--out", str(tmp_path), "--check")
    assert code == 1
    assert f"v{VERSION} openapi.json: " in said


def test_what_the_api_says_of_itself_is_valid_openapi() -> None:
    described = openapi.openapi_document()
    if described is None:
        pytest.skip("the API is not part of this version")
    validate(described)
    for path, item in described["paths"].items():
        assert path.startswith("/")
        for operation in item.values():
            assert operation["operationId"]
            assert operation["summary"]

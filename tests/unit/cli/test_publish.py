"""Event files: cut into lines, validated line by line, counted and reported, without Kafka."""

import gzip
import io
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from lyo.cli.files.evaluate import evaluate
from lyo.cli.files.publish import publish
from lyo.cli.files.replay import replay
from lyo.models.events.decode import Kind
from lyo.streams.event_files.reader import EventFile, Piece, check, opened
from lyo.streams.kafka.input_records import LONGEST
from lyo.tools.simulation import Plan, generate

NOW = 1_772_366_400_000  # 2026-03-01T12:00:00Z
SESSION = b'{"type":"session","event_id":"e1","user_id":7,"started_at":"2026-03-01T12:00:00Z"}'
CONTENT = b'{"type":"content","content_id":"c1","skills":[]}'
ORGANIZATION = b'{"type":"organization","organization_id":3}'


def file_of(data: bytes, step: Callable[[int], int] = lambda most: most) -> EventFile:
    stream = io.BytesIO(data)
    return EventFile("memory", len(data), lambda most: stream.read(step(most)), stream.tell)


def checked(*lines: bytes) -> tuple[list[tuple[Kind, bytes, int]], list[tuple[int, str]]]:
    result = check(Piece(1, list(lines), 0), NOW)
    return [(r.kind, r.key, r.user) for r in result.records], [(b.line, b.reason) for b in result.bad]


@given(
    st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b""))),
    st.booleans(),
    st.integers(1, 9),
)
def test_a_file_is_cut_into_its_lines_however_it_is_read(lines: list[bytes], closed: bool, step: int) -> None:
    lines = [SESSION, *lines]
    data = b"\n".join(lines) + (b"\n" if closed else b"")
    found, number = [], 1
    for piece in file_of(data, lambda _: step).pieces():
        assert piece.first == number
        found += piece.lines
        number += len(piece.lines)
    assert [line for line in found if line] == [line for line in lines if line]
    assert b"\n".join(found).rstrip(b"\n") == data.rstrip(b"\n")


def test_a_line_without_end_is_reported_once_and_not_held() -> None:
    total = 60_000_000
    left = total
    head = [SESSION + b"\n"]
    tail = [b"x\n" + SESSION + b"\n"]

    def read(most: int) -> bytes:
        nonlocal left
        if head:
            return head.pop()
        if left > 0:
            left -= most
            return b"a" * most
        return tail.pop() if tail else b""

    tracemalloc.start()
    lines: list[tuple[int, bytes]] = []
    for piece in EventFile("endless", None, read, lambda: 0).pieces():
        lines += [(piece.first + index, line[:90]) for index, line in enumerate(piece.lines)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert lines == [(1, SESSION), (2, b"a" * 90), (3, SESSION)]
    assert peak < total / 4


def test_lines_keep_their_order_and_get_their_keys() -> None:
    other = SESSION.replace(b"7", b"12345678901")
    good, bad = checked(ORGANIZATION, SESSION, CONTENT, other, SESSION)
    assert bad == []
    assert good == [
        (Kind.ORGANIZATION, b"3", 0),
        (Kind.SESSION, b"7", 7),
        (Kind.CONTENT, b"c1", 0),
        (Kind.SESSION, b"12345678901", 12345678901),
        (Kind.SESSION, b"7", 7),
    ]


def test_a_record_is_its_line_as_it_was() -> None:
    line = b' {"more": [1, "\xc3\xa4"],' + SESSION[1:] + b" \r"
    assert [record.value for record in check(Piece(1, [line], 0), NOW).records] == [line]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "not valid JSON"),
        (b"[]", "expected object"),
        (b"7", "expected object"),
        (b'{"user_id": 7}', "type: required"),
        (b'{"type": "applause"}', "type: invalid enum value 'applause'"),
        (b'{"type": 7}', "type: expected str"),
        (SESSION.replace(b"7", b'"7"'), "user_id: expected int"),
        (SESSION.replace(b"Z", b""), "started_at: expected datetime with a timezone"),
        (SESSION.replace(b"2026-03-01", b"2026-03-03"), "started_at: more than a day after"),
        (SESSION.replace(b"e1", b"\xff"), "not valid UTF-8"),
        (SESSION.replace(b"e1", b"\\u0000"), "event_id: holds a NUL"),
        (CONTENT.replace(b"[]", b"null"), "skills: expected array"),
        (ORGANIZATION.replace(b"3", b"0"), "organization_id: expected int >= 1"),
        (b'{"type":"session","more":' + b"[" * 100_000, "nested too deeply"),
        (b"\0\0\0\1\2" + SESSION, "schema registry's header (magic byte 0, schema 258): send plain JSON"),
        (b"\0", "not valid JSON"),
        (SESSION + b" " * LONGEST, "longer than 800,000 bytes"),
    ],
)
def test_a_bad_line_is_named_and_the_others_go_on(line: bytes, reason: str) -> None:
    good, bad = checked(SESSION, b"", line, b"  \r", SESSION)
    assert len(good) == 2
    assert [number for number, _ in bad] == [3]
    assert reason.lower() in bad[0][1].lower()


@given(st.lists(st.binary(max_size=60) | st.sampled_from([SESSION, CONTENT, ORGANIZATION])))
def test_any_lines_are_answered(lines: list[bytes]) -> None:
    good, bad = checked(*lines)
    assert len(good) + len(bad) == sum(not line.isspace() and line != b"" for line in lines)
    assert len(good) >= sum(line in (SESSION, CONTENT, ORGANIZATION) for line in lines)


def test_plain_and_compressed_files_give_the_same_lines(tmp_path: Path) -> None:
    data = b"".join(generate(Plan(30, 30, 1, NOW // 86_400_000 * 86_400_000)))
    (tmp_path / "a.jsonl").write_bytes(data)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(data))
    for name in ("a.jsonl", "a.jsonl.gz"):
        path = tmp_path / name
        with opened(path) as file:
            pieces = list(file.pieces())
        assert b"\n".join(line for piece in pieces for line in piece.lines) == data.rstrip(b"\n")
        positions = [piece.position for piece in pieces]
        assert positions == sorted(positions)
        assert positions[-1] == file.size == path.stat().st_size


def test_compression_is_told_by_the_content_and_may_have_several_members(tmp_path: Path) -> None:
    packed = gzip.compress(SESSION + b"\n") + gzip.compress(CONTENT + b"\n")
    for name in ("a.gz", "a.GZ", "a.jsonl"):
        (tmp_path / name).write_bytes(packed)
        result = run(str(tmp_path / name))
        assert result.exit_code == 0
        assert "2 records valid" in result.stdout


def test_a_mark_of_utf_8_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "marked.jsonl"
    for data, records in ((b"", 0), (SESSION, 1), (b"oops\n" + SESSION, 1)):
        path.write_bytes(b"\xef\xbb\xbf" + data)
        assert f"{records} record" in run(str(path)).stdout


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (SESSION.decode().encode("utf-16"), "UTF-16"),
        (SESSION.decode().encode("utf-16-le"), "UTF-16"),
        (SESSION.decode().encode("utf-16-be"), "UTF-16"),
        (SESSION.decode().encode("utf-32"), "UTF-32"),
        (SESSION + b"\r" + SESSION + b"\r", "CR alone"),
        (b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR\n\n\n" * 400, "binary"),
    ],
)
def test_what_is_no_event_file_at_all_is_refused_in_one_line(
    tmp_path: Path, data: bytes, reason: str
) -> None:
    path = tmp_path / "odd.jsonl"
    path.write_bytes(data)
    for command, options in ((publish, ["--dry-run"]), (replay, []), (evaluate, ["--task", "timing"])):
        result = CliRunner().invoke(command, [str(path), *options])
        assert result.exit_code == 1
        (line,) = result.stderr.strip().splitlines()
        assert f"{path} cannot be read: " in line
        assert reason in line


def test_a_line_with_a_control_character_stays_one_bad_line(tmp_path: Path) -> None:
    path = tmp_path / "one.jsonl"
    path.write_bytes(SESSION.replace(b"e1", b"\x00") + b"\n" + SESSION + b"\n")
    result = run(str(path))
    assert [line.partition(": ")[0] for line in result.stderr.splitlines()] == ["line 1"]
    assert "1 record" in result.stdout


def run(*arguments: str, given: bytes | None = None) -> Result:
    return CliRunner().invoke(publish, ["--dry-run", *arguments], input=given)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    path = tmp_path / "mixed.jsonl"
    path.write_bytes(b"\n".join([CONTENT, SESSION, b"oops", SESSION.replace(b"7", b"-7"), b"", SESSION]))
    return path


def test_bad_lines_are_named_on_standard_error_and_the_exit_code_is_1(mixed: Path) -> None:
    result = run(str(mixed))
    assert result.exit_code == 1
    told = result.stderr.splitlines()
    assert [line.partition(": ")[0] for line in told] == ["line 3", "line 4"]
    assert "user_id" in told[1]
    assert "3 records valid" in result.stdout
    assert "2 bad lines" in result.stdout


def test_json_gives_the_counts_by_type(mixed: Path) -> None:
    counts: dict[str, Any] = json.loads(run("--json", str(mixed)).stdout)
    assert counts.pop("seconds") >= 0
    assert counts == {"lines": 6, "records": 3, "bad": 2, "by_type": {"session": 2, "content": 1}}


def test_a_file_without_bad_lines_gives_exit_code_0() -> None:
    result = run("-", "--json", given=SESSION + b"\n" + CONTENT + b"\n")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["records"] == 2
    assert run("-", given=b"").exit_code == 0


def test_a_file_that_cannot_be_read_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    broken, short = tmp_path / "broken.gz", tmp_path / "short.gz"
    broken.write_bytes(b"not gzip")
    short.write_bytes(gzip.compress(SESSION * 1000)[:-20])
    for path in (tmp_path / "missing.jsonl", tmp_path, broken, short):
        result = run(str(path))
        assert result.exit_code == 1
        assert len(result.stderr.strip().splitlines()) == 1
        assert f"{path} cannot be read" in result.stderr
        assert "after line 0" not in result.stderr


def test_no_file_is_bad_usage() -> None:
    assert run().exit_code == 2

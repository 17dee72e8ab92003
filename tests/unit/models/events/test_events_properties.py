"""Whatever bytes arrive, decoding answers; whatever is valid comes back as it was."""

import json
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

import msgspec
from aiokafka.partitioner import murmur2 as kafka_murmur2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lyo.models.events.decode import (
    EventError,
    Kind,
    decode,
    decode_content,
    decode_organization,
    event_id_hash,
    partition,
)
from lyo.models.events.identity import event_id_hashes, homes, murmur2, partitions

# A busy machine is no reason to fail.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
EVENT_KINDS = [kind for kind in Kind if kind not in (Kind.CONTENT, Kind.ORGANIZATION)]
FAR = 9_000_000_000_000
FIELDS = [
    "event_id",
    "request_id",
    "user_id",
    "organization_id",
    "occurred_at",
    "started_at",
    "ended_at",
    "updated_at",
    "requested_at",
    "content_id",
    "content_metadata",
    "skills",
    "sentiment",
    "kind",
    "timezone",
    "quiet_hours",
    "score",
]
NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=100)
NUMBERS = st.integers(1, 2**63 - 1)
# Whole milliseconds: that is what the columns hold.
MOMENTS = st.integers(0, 7_258_118_399_999).map(lambda ms: (ms, iso(ms)))
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("2026-03-01T12:00:00Z"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=4,
)


def iso(ms: int) -> str:
    whole = datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{ms % 1000:03d}Z"


@patient
@given(st.sampled_from(EVENT_KINDS), st.lists(st.tuples(st.none() | st.binary(), st.none() | st.binary())))
def test_any_bytes_are_answered(kind: Kind, records: list[tuple[bytes | None, bytes | None]]) -> None:
    keys, values = [key for key, _ in records], [value for _, value in records]
    columns, rejected = decode(kind, keys, values, [FAR] * len(records))
    assert sorted([*columns.index.tolist(), *(one.index for one in rejected)]) == list(range(len(records)))


@patient
@given(
    st.sampled_from(EVENT_KINDS),
    st.lists(st.dictionaries(st.sampled_from(FIELDS), ANYTHING, max_size=5), max_size=4),
)
def test_any_json_is_answered(kind: Kind, objects: list[dict[str, object]]) -> None:
    values = [json.dumps(one).encode("utf-8", "surrogatepass") for one in objects]
    columns, rejected = decode(kind, None, values, [FAR] * len(values))
    assert len(columns.rows) + len(rejected) == len(values)
    assert all("\0" not in one.reason for one in rejected)
    assert all(
        len(column) == len(columns.rows) for column in (columns.user, columns.org, columns.at, columns.id)
    )


@patient
@given(st.binary() | ANYTHING.map(lambda one: json.dumps({"content_id": "c", "skills": one}).encode()))
def test_any_catalogue_record_is_answered(value: bytes) -> None:
    for reader in (decode_content, decode_organization):
        try:
            reader(None, value)
        except EventError as error:
            assert error.reason  # noqa: PT017


@patient
@given(
    st.fixed_dictionaries(
        {
            "event_id": NAMES,
            "user_id": NUMBERS,
            "content_id": NAMES,
            "skills": st.lists(NAMES, max_size=50),
            "moment": MOMENTS,
        },
        optional={
            "organization_id": NUMBERS,
            "score": st.floats(0, 1),
            "struggled": st.booleans(),
            "duration_seconds": st.floats(0, 2**31 - 1),
            "topic": NAMES,
            "prerequisites": st.lists(NAMES, max_size=50),
        },
    )
)
def test_a_valid_completion_comes_back_as_it_was(fields: dict[str, Any]) -> None:
    ms, text = fields.pop("moment")
    value = json.dumps(fields | {"occurred_at": text}, ensure_ascii=False).encode()
    columns, rejected = decode(Kind.LESSON_COMPLETION, [b"%d" % fields["user_id"]], [value], [FAR])
    assert rejected == []
    assert columns.at.tolist() == [ms]
    back = msgspec.to_builtins(columns.rows[0])
    assert {name: back[name] for name in fields} == fields
    assert columns.skills == list(dict.fromkeys(fields["skills"]))


@patient
@given(st.lists(st.sampled_from(["good", "broken", "late", "key"])))
def test_one_batch_is_the_same_as_batches_of_one(sorts: list[str]) -> None:
    values, keys = [], []
    for number, sort in enumerate(sorts):
        moment = "2199-01-01T00:00:00Z" if sort == "late" else "2026-03-01T12:00:00Z"
        fields = {"event_id": f"e{number}", "user_id": number + 1, "started_at": moment}
        values.append(json.dumps(fields).encode()[: -1 if sort == "broken" else None])
        keys.append(b"0" if sort == "key" else b"%d" % (number + 1))
    stamps = [1_800_000_000_000] * len(values)
    columns, rejected = decode(Kind.SESSION, keys, values, stamps)
    single = [decode(Kind.SESSION, [k], [v], [s]) for k, v, s in zip(keys, values, stamps, strict=True)]
    assert columns.index.tolist() == [number for number, sort in enumerate(sorts) if sort == "good"]
    assert columns.rows == [row for one, _ in single for row in one.rows]
    assert columns.id.tolist() == [name for one, _ in single for name in one.id.tolist()]
    assert [one.reason for one in rejected] == [one.reason for _, bad in single for one in bad]


@patient
@given(st.lists(NAMES))
def test_event_ids_are_named_by_48_bits(names: list[str]) -> None:
    expected = [int.from_bytes(blake2b(n.encode(), digest_size=6).digest(), "little") for n in names]
    assert [event_id_hash(name) for name in names] == expected
    assert event_id_hashes(names).tolist() == expected


@patient
@given(st.binary(max_size=40))
def test_murmur2_is_kafkas(data: bytes) -> None:
    assert murmur2(data) == kafka_murmur2(data) & 0xFFFFFFFF


def test_murmur2_gives_the_values_of_kafkas_own_test() -> None:
    # UtilsTest.testMurmur2 of Apache Kafka
    known = {
        b"21": -973932308,
        b"foobar": -790332482,
        b"a-little-bit-long-string": -985981536,
        b"a-little-bit-longer-string": -1486304829,
        b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
        b"abc": 479470107,
    }
    assert {data: murmur2(data) for data in known} == {data: h & 0xFFFFFFFF for data, h in known.items()}


@patient
@given(NUMBERS, st.integers(1, 1000))
def test_a_users_partition_is_the_default_partitioners(user: int, count: int) -> None:
    assert partition(user, count) == (kafka_murmur2(str(user).encode()) & 0x7FFFFFFF) % count


@patient
@given(st.lists(st.binary(max_size=20).filter(lambda name: name[-1:] != b"\0")), st.integers(1, 1000))
def test_many_partitions_at_once_are_those_of_each(names: list[bytes], count: int) -> None:
    expected = [(kafka_murmur2(name) & 0x7FFFFFFF) % count for name in names]
    assert partitions(names, count).tolist() == expected


@patient
@given(st.lists(NUMBERS), st.integers(1, 1000))
def test_the_home_of_a_key_is_its_users(users: list[int], count: int) -> None:
    expected = [partition(user, count) for user in users]
    assert homes([b"%d" % user for user in users], count).tolist() == expected
    assert homes([b"%d|a|b" % user for user in users], count).tolist() == expected
    assert homes([b"#history|%d" % user for user in users], count).tolist() == expected


def test_what_names_no_user_has_no_home() -> None:
    assert homes([None, b"", b"#sweep", b"#erased|x", b"07", b"a|7", b"1" * 20], 6).tolist() == [-1] * 7

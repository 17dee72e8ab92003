"""What a run must end with: the fold of the same events in order, by one engine, in one process."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np

from lyo.models.backfill import HISTORY_KEY
from lyo.models.engine import Engine
from lyo.models.erasure import ErasureMarkers
from lyo.models.events.decode import Columns, Kind, Rejected, decode
from lyo.models.predictions.records import IDENTITY_FREE
from lyo.models.state.catalogue import Catalogue
from lyo.streams.dead_letters import encode
from tests.support.faults.agreement import rows as rows_of
from tests.support.learners.building import ms
from tests.support.simulation.kafka.log import Stored
from tests.support.simulation.table_oracle import current, differing_tables
from tests.support.simulation.tally import Tally, total
from tests.support.simulation.world import Failed, World

Place = tuple[str, int, int]


def check(world: World) -> dict[str, int]:
    """Compare everything, key by key; gives the figures of the run.

    Raises:
        Failed: what differs, with how many events were lost or counted twice.
    """
    engine, refused = _folded(world)
    rows, wrong_rows = _rows(world, engine)
    said = wrong_rows + _predictions(world, engine, refused) + _ids(world) + _letters(world, refused)
    said += differing_tables(world) + _once(world) + _erased(world)
    said += _early(world, refused) if isinstance(engine, Tally) else _unsettled(world)
    if said:
        lost = _lost(world, rows) if isinstance(engine, Tally) else ""
        raise Failed(f"{len(said)} differences{lost}: " + "; ".join(said[:6]))
    return {"events": len(world.published), "refused": len(refused), "rows": len(rows)}


def _lost(world: World, rows: dict[bytes, bytes]) -> str:
    found = [record.value or b"" for record in current(world, world.names.learner_rows).values()]
    wanted = [value for key, value in rows.items() if b"|" not in key]
    return f" ({total(wanted)} events published, {total(found)} counted)"


# ------------------------------------------------------------ the fold


def _folded(world: World) -> tuple[Any, Counter[Place]]:
    """The engine after all published events, and the places of those that are refused."""
    known = Catalogue()
    refused: Counter[Place] = Counter()
    for name, kind in world.names.catalogue.items():
        for record in _all(world, name):
            bad = (
                Rejected(0, "key is missing", "key")
                if record.key is None
                else known.put(kind, record.key, record.value)
            )
            if bad is not None:
                refused[record.topic, record.partition, record.offset] += 1
    markers = world.markers
    engine: Any = (
        Engine(known, with_interventions=False, markers=markers) if world.plan.real_engine else Tally(markers)
    )
    by_kind: dict[Kind, list[Stored]] = {}
    for record in world.published:
        by_kind.setdefault(world.names.inputs[record.topic], []).append(record)
    batches = []
    for kind, everything in by_kind.items():
        _, bad_ones = _decoded(kind, everything)
        refused.update(_place(everything[bad.index]) for bad in bad_ones)
        # What is published again within the promised distance counts once: the reference never sees it.
        by_kind[kind] = _first(everything) if world.plan.real_engine else everything
        batches.append(_decoded(kind, by_kind[kind])[0])
    changes = engine.apply(batches)
    refused.update(_place(by_kind[kind][bad.index]) for kind, bad in changes.rejected)
    engine.commit(changes)
    while engine.due(world.now()):
        engine.commit(engine.sweep(world.now()))
    return engine, refused


def _decoded(kind: Kind, some: list[Stored]) -> tuple[Columns, list[Rejected]]:
    keys, values, times = [r.key for r in some], [r.value for r in some], [r.timestamp for r in some]
    return decode(kind, keys, values, times)


def _first(some: list[Stored]) -> list[Stored]:
    """The first of records that are alike."""
    found: dict[tuple[bytes | None, bytes | None], Stored] = {}
    for record in some:
        found.setdefault((record.key, record.value), record)
    return list(found.values())


def _place(record: Stored) -> Place:
    return record.topic, record.partition, record.offset


def _all(world: World, topic: str) -> list[Stored]:
    return [r for tp, log in world.broker.logs.items() if tp.topic == topic for r in log.committed(tp)[0]]


# ------------------------------------------------------------ the topics


def _rows(world: World, engine: Any) -> tuple[dict[bytes, bytes], list[str]]:
    wanted: dict[bytes, bytes] = engine.rows() if isinstance(engine, Tally) else rows_of(engine)
    found: dict[bytes, bytes | None] = {}
    for topic in (world.names.learner_rows, world.names.skill_rows):
        found |= {key: record.value for key, record in current(world, topic).items()}
    said = []
    for key in sorted(wanted.keys() | found.keys()):
        if key not in found or key not in wanted:
            said.append(f"row {key!r} is {'missing' if key in wanted else 'too much'}")
        elif wanted[key] != found[key]:
            said.append(f"row {key!r} differs")
    return wanted, said


def _predictions(world: World, engine: Any, refused: Counter[Place]) -> list[str]:
    wanted = {(kind, key): _comparable(value) for kind, key, value in engine.current()}
    found = {
        (kind, key): _comparable(record.value or b"")
        for kind, topic in world.names.predictions.items()
        for key, record in current(world, topic).items()
    }
    asked = _asked(world, refused)
    said = [f"prediction {key} is missing" for key in wanted.keys() - found.keys()]
    said += [f"prediction {key} is too much" for key in found.keys() - wanted.keys() - asked]
    for key in wanted.keys() & found.keys():
        names = [name for name in wanted[key] if wanted[key][name] != found[key].get(name)]
        if names:
            said.append(f"prediction {key} differs in {', '.join(names)}")
    return sorted(said)


def _comparable(value: bytes) -> dict[str, Any]:
    return {name: what for name, what in json.loads(value).items() if name not in IDENTITY_FREE}


def _asked(world: World, refused: Counter[Place]) -> set[tuple[str, bytes]]:
    """The keys of all questions: an answered one that no longer follows the learner only has to be there."""
    found = set()
    for record in world.published:
        if world.names.inputs[record.topic] is Kind.STRUGGLE_REQUEST and not refused[_place(record)]:
            body = json.loads(record.value or b"")
            marker = world.markers.get(body["user_id"])
            if marker is not None and not marker.lets(np.array([ms(body["requested_at"])]))[0]:
                continue
            content = body["content_metadata"].get("content_id") or body["request_id"]
            found.add(("struggle", f"{body['user_id']}|{content}".encode()))
    return found


def _ids(world: World) -> list[str]:
    """No id of a prediction carries two contents."""
    said = []
    for topic in world.names.predictions.values():
        contents: dict[str, bytes] = {}
        for record in _all(world, topic):
            if record.value is not None:
                name = json.loads(record.value)["prediction_id"]
                if contents.setdefault(name, record.value) != record.value:
                    said.append(f"{topic}: id {name} has two contents")
    return said


def _letters(world: World, refused: Counter[Place]) -> list[str]:
    found: Counter[Place] = Counter()
    for record in _all(world, world.names.dead_letters):
        if record.value is not None:
            body = json.loads(record.value)
            found[body["topic"], body["partition"], body["offset"]] += 1
    # Of those who were erased at some time, letters may be gone, or never have been written.
    perhaps = {
        _place(record)
        for record in world.published
        if any(world.markers.get(user) for user in encode.learners(record.key, record.value))
    }
    wrong = sorted(
        place
        for place in refused | found
        if refused[place] != found[place] and not (place in perhaps and found[place] < refused[place])
    )
    return [f"dead letters of {place}: {found[place]}" for place in wrong]


def _early(world: World, refused: Counter[Place]) -> list[str]:
    """A backlog is not silence: what was published before a boundary is in the predictions as of it."""
    times: dict[int, list[int]] = {}
    for record in world.published:
        if not refused[_place(record)] and world.markers.get(int(record.key or b"")) is None:
            times.setdefault(int(record.key or b""), []).append(record.timestamp)
    said = []
    for record in _all(world, world.names.prediction("dropout-risk")):
        if record.value is None:
            continue
        body = json.loads(record.value)
        known = total([json.dumps(body["row"]).encode()])
        published = sum(at < body["as_of"] for at in times.get(body["user_id"], ()))
        if known < published:
            said.append(f"swept with {known} of {published} events of learner {body['user_id']}")
    return said


def _unsettled(world: World) -> list[str]:
    """History that came long ago has settled, and the changelog says of nobody any more that it comes."""
    rows = world.broker.newest(world.names.learner_rows)
    return [
        f"{key!r} is still held"
        for key, record in rows.items()
        if key is not None and key.startswith(HISTORY_KEY) and record.value is not None
    ]


# ------------------------------------------------------------ the erased


def _erased(world: World) -> list[str]:
    """Nothing of an erased learner remains, and nothing comes back; who is known anew begins then."""
    names, said = world.names, []
    newest = world.broker.newest(names.topic(Kind.ERASURE))
    outputs = (*names.predictions.values(), names.interventions, names.learner_rows, names.skill_rows)
    for user, marker in world.markers.items():
        record = newest.get(b"%d" % user)
        told = ErasureMarkers()
        if record is not None:
            told.put(record.key, record.value, record.timestamp)
        if (last := told.get(user)) is None or last.counts_from != marker.counts_from:
            said.append(f"the newest record about {user} says {last}, not {marker}")
        if marker.is_open:
            continue
        said += [
            f"{topic} still holds {key!r} of an erased learner"
            for topic in outputs
            for key in current(world, topic)
            if int(key.partition(b"|")[0]) == user
        ]
        said += [
            f"the letter {key!r} is about the erased learner {user}"
            for key, letter in current(world, names.dead_letters).items()
            if user in encode.learners_of(letter.value or b"")
        ]
        said += [
            f"table {table} still holds {key} of an erased learner"
            for table, rows in world.database.tables.items()
            if table not in {"sink_offsets", "erasure_fences", "contents", "organizations"}
            for key in rows
            if key[0] == user
        ]
    return said


def _once(world: World) -> list[str]:
    """Offsets never go back, and no record is stored in two transactions."""
    said = [f"committed offset went back: {one}" for one in world.broker.backward]
    said += [f"stored offset went back: {one}" for one in world.database.backward]
    stored = sorted(world.database.stored.items())
    said += [f"stored {count} times: {where}" for where, count in stored if count > 1]
    return said

"""Simulated events as lines of an event file."""

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lyo.tools.simulation.catalogue import CATALOGUE, ZONES
from lyo.tools.simulation.day import (
    CAP,
    CLEARED,
    COMPLETION,
    GAVE_UP,
    LANGUAGE,
    OUTCOME,
    OUTCOMES,
    PREFERENCES,
    QUIET,
    REQUEST,
    SENTIMENT,
    SESSION,
    STRUGGLED,
    STRUGGLED_KNOWN,
    TIMEZONE,
    Events,
)
from lyo.tools.simulation.plan import Plan

TAIL: Final = ',"simulated":true}\n'
LANGUAGES: Final = (
    "de",
    "en-US",
    "en-IN",
    "pt-BR",
    "ja",
    "en-AU",
    "sw",
    "en-US",
    "en-GB",
    "en-NZ",
    "ne",
    "en",
)
# Ways in which a line may be of no use, each named by `lyo publish` and by the dead letters.
BROKEN: Final = (
    '{"type":"lesson_completion","event_id":"bad","user_id":1,',
    '{"type":"session","event_id":"bad","user_id":1,"started_at":"2026-03-01T12:00:00"' + TAIL.rstrip(),
    '{"type":"sentiment","event_id":"bad","user_id":1,"occurred_at":"2026-03-01T12:00:00Z","sentiment":7'
    + TAIL.rstrip(),
    '{"type":"lesson_completion","event_id":"bad","user_id":"1","content_id":"c","skills":[]' + TAIL.rstrip(),
    '{"type":"applause","event_id":"bad","user_id":1' + TAIL.rstrip(),
    "not an object",
)

_OPTIONS: Final = tuple(
    "".join(
        [
            f',"struggled":{"true" if extra & STRUGGLED else "false"}' if extra & STRUGGLED_KNOWN else "",
            ',"gave_up":true' if extra & GAVE_UP else "",
        ]
    )
    for extra in range(8)
)
_SCORES: Final = tuple(f"{number / 100:g}" for number in range(101))
_EVENT: Final = tuple("," + content.event for content in CATALOGUE)
_METADATA: Final = tuple(f',"content_metadata":{content.metadata}' for content in CATALOGUE)
_CONTENT_ID: Final = tuple(f',"content_id":"{content.fields["content_id"]}"' for content in CATALOGUE)
_SKILL_ID: Final = tuple(f',"skill_id":"{content.fields["skills"][0]}"' for content in CATALOGUE)


class Writer:
    """Turns events into lines for one plan; `organizations` and `zones` are those of all learners, (n,)."""

    def __init__(self, plan: Plan, organizations: NDArray[np.uint8], zones: NDArray[np.uint8]) -> None:
        self._plan = plan
        self._organizations = organizations
        self._zones = zones
        self._builders: dict[int, Callable[[Events, list[str], list[str]], Iterator[str]]] = {
            COMPLETION: self._completions,
            SESSION: self._sessions,
            SENTIMENT: self._sentiment,
            OUTCOME: self._outcomes,
            PREFERENCES: self._preferences,
            REQUEST: self._requests,
        }

    def lines(self, events: Events) -> list[str]:
        """Return one line for each event, in the order given, each with its line feed."""
        texts = np.empty(len(events), object)
        for kind, build in self._builders.items():
            mask = events["kind"] == kind
            some = events[mask]
            if len(some):
                texts[mask] = list(build(some, self._heads(some), _times(some["at"])))
        lines: list[str] = texts.tolist()
        return lines

    def _heads(self, events: Events) -> list[str]:
        """Return what the lines have in common: `<id>","user_id":7,"organization_id":3`."""
        run, first = self._plan.run, self._plan.first_user
        organizations = self._organizations[events["who"]].tolist()
        return [
            f'{run}-{number:x}","user_id":{who + first},"organization_id":{organization}'
            if organization
            else f'{run}-{number:x}","user_id":{who + first}'
            for number, who, organization in zip(
                events["number"].tolist(), events["who"].tolist(), organizations, strict=True
            )
        ]

    @staticmethod
    def _completions(events: Events, heads: list[str], times: list[str]) -> Iterator[str]:
        columns = (events[name].tolist() for name in ("content", "score", "seconds", "extra"))
        for head, at, content, score, seconds, extra in zip(heads, times, *columns, strict=True):
            scored = "" if score < 0 else f',"score":{_SCORES[score]}'
            yield (
                f'{{"type":"lesson_completion","event_id":"{head},"occurred_at":"{at}Z"{_EVENT[content]}{scored}'
                f'{_OPTIONS[extra]},"duration_seconds":{seconds}{TAIL}'
            )

    @staticmethod
    def _sessions(events: Events, heads: list[str], times: list[str]) -> Iterator[str]:
        seconds = events["seconds"]
        ends = _times(events["at"] + seconds * 1000)
        for head, at, end, length in zip(heads, times, ends, seconds.tolist(), strict=True):
            closed = "" if length < 0 else f',"ended_at":"{end}Z"'
            yield f'{{"type":"session","event_id":"{head},"started_at":"{at}Z"{closed}{TAIL}'

    @staticmethod
    def _sentiment(events: Events, heads: list[str], times: list[str]) -> Iterator[str]:
        for head, at, feeling in zip(heads, times, events["score"].tolist(), strict=True):
            yield (
                f'{{"type":"sentiment","event_id":"{head},"occurred_at":"{at}Z","sentiment":{feeling / 100:g}'
                f',"source":"chat"{TAIL}'
            )

    @staticmethod
    def _outcomes(events: Events, heads: list[str], times: list[str]) -> Iterator[str]:
        columns = (events[name].tolist() for name in ("extra", "content", "seconds"))
        for head, at, kind, content, seconds in zip(heads, times, *columns, strict=True):
            name = OUTCOMES[kind].value
            about = "" if content < 0 else _SKILL_ID[content] if name == "reviewed" else _CONTENT_ID[content]
            took = "" if seconds < 0 else f',"completion_time_seconds":{seconds}'
            yield (
                f'{{"type":"outcome","event_id":"{head},"occurred_at":"{at}Z","kind":"{name}"{about}{took}{TAIL}'
            )

    def _preferences(self, events: Events, heads: list[str], times: list[str]) -> Iterator[str]:
        zones = self._zones[events["who"]].tolist()
        for head, at, zone, extra in zip(heads, times, zones, events["extra"].tolist(), strict=True):
            fields = f',"timezone":"{ZONES[zone]}"' if extra & TIMEZONE else ""
            fields += f',"language":"{LANGUAGES[zone]}"' if extra & LANGUAGE else ""
            fields += ',"quiet_hours":{"from":"21:30","to":"06:30"}' if extra & QUIET else ""
            fields += f',"max_nudges_per_day":{extra % 5}' if extra & CAP else ""
            fields += ',"quiet_hours":null,"max_nudges_per_day":null' if extra & CLEARED else ""
            yield f'{{"type":"preferences","event_id":"{head},"updated_at":"{at}Z"{fields}{TAIL}'

    @staticmethod
    def _requests(events: Events, heads: list[str], times: list[str]) -> Iterator[str]:
        for head, at, content in zip(heads, times, events["content"].tolist(), strict=True):
            yield (
                f'{{"type":"struggle_request","request_id":"{head},"requested_at":"{at}Z"{_METADATA[content]}{TAIL}'
            )


def _times(moments: NDArray[np.int64]) -> list[str]:
    """Return times, ms, as RFC 3339 without the Z."""
    text: list[str] = np.datetime_as_string(moments.astype("M8[ms]"), unit="ms").tolist()
    return text

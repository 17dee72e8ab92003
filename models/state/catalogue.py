"""The catalogue: contents and organizations, read whole before anything is predicted."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from lyo.models.arrays.coefficients import Hazard
from lyo.models.arrays.zones import Zones, known
from lyo.models.events.decode import (
    Content,
    EventError,
    Kind,
    Organization,
    Rejected,
    decode_content,
    decode_organization,
)
from lyo.models.state.learner import quiet_minutes

__all__ = ["UTC", "Catalogue", "Defaults", "zones_of"]

UTC = "UTC"
ZONE_SOURCES = ("learner", "organization", "default", "unknown")
"""Who named a learner's time zone. Default: nobody, so it is UTC. Unknown: an older record does not say."""
_MASK = (1 << 64) - 1
_MOST_RESOLVED = 100_000


class Defaults(NamedTuple):
    """Quiet hours in minutes of the local day, and most nudges a day; -1 = not set."""

    quiet_from: int = -1
    quiet_to: int = -1
    most_per_day: int = -1


class Catalogue:
    """Contents by id and organizations by id; the newest record of a key counts.

    Args:
        hazard: fitted coefficients of dropout that predictions are made with; None: the shipped ones.
    """

    def __init__(self, hazard: Hazard | None = None) -> None:
        self.hazard = hazard
        self.contents: dict[str, Content] = {}
        self.organizations: dict[int, Organization] = {}
        self.revision = 0
        self._fingerprints: dict[tuple[Kind, bytes], int] = {}
        self._topics: dict[str, list[Content]] | None = None
        self._skills: dict[str, Content] = {}
        self._resolved: dict[tuple[tuple[str, ...], int], tuple[str, ...]] = {}

    def put(self, kind: Kind, key: bytes | None, value: bytes | None) -> Rejected | None:
        """Load one record of the content or organizations topic.

        A tombstone, or a value that cannot be used, removes the record that the key names: compaction deletes
        the record before, so only "no record" is the same for every reader of the topic.

        Returns:
            Why the record was refused, if it was.
        """
        if key is None:
            return Rejected(0, "the record has no key", None)
        self._topics = None
        self._resolved.clear()
        self.revision = (self.revision - self._fingerprints.pop((kind, key), 0)) & _MASK
        self._remove(kind, key)
        if value is None:
            return None
        try:
            record = self._store(kind, key, value)
        except EventError as error:
            return Rejected(0, error.reason, error.field)
        self._fingerprints[kind, key] = fingerprint = _fingerprint(kind, key, record)
        self.revision = (self.revision + fingerprint) & _MASK
        return None

    def timezone(self, organization: int) -> str:
        """IANA name of an organization's time zone, UTC where it has none."""
        record = self.organizations.get(organization)
        return UTC if record is None or record.timezone is None else record.timezone

    def names_zone(self, organization: int) -> bool:
        """Whether an organization has a time zone."""
        record = self.organizations.get(organization)
        return record is not None and record.timezone is not None

    def limits(self, organization: int) -> Defaults:
        """Quiet hours and daily cap of an organization."""
        record = self.organizations.get(organization)
        if record is None:
            return Defaults()
        most = -1 if record.max_nudges_per_day is None else record.max_nudges_per_day
        hours = record.quiet_hours
        if hours is None:
            return Defaults(most_per_day=most)
        return Defaults(*quiet_minutes(hours), most)

    def content(self, content_id: str, organization: int) -> Content | None:
        """A content that this organization may see; None if there is none."""
        content = self.contents.get(content_id)
        return content if content is not None and _visible(content, organization) else None

    def skills_of(self, names: Iterable[str], organization: int) -> tuple[str, ...]:
        """Distinct skills that content ids, topics or skills stand for, looked up in that order."""
        key = (tuple(names), organization)
        skills = self._resolved.get(key)
        if skills is None:
            if len(self._resolved) >= _MOST_RESOLVED:
                self._resolved.clear()
            skills = self._resolved[key] = self._resolve(*key)
        return skills

    def _resolve(self, names: tuple[str, ...], organization: int) -> tuple[str, ...]:
        skills: dict[str, None] = {}
        for name in names:
            by_id = self.content(name, organization)
            contents = [by_id] if by_id is not None else self._by_topic(name, organization)
            for content in contents:
                skills.update(dict.fromkeys(content.skills))
            if not contents:
                skills[name] = None
        return tuple(skills)

    def skill_name(self, skill: str, organization: int) -> str:
        """A skill's display name; its id where the catalogue has none."""
        content = self._by_skill(skill, organization)
        names = (content.skill_names or {}) if content is not None else {}
        return names.get(skill) or skill

    def topic_of(self, skill: str, organization: int) -> str | None:
        """The topic under which a skill is taught; None if the catalogue has none."""
        content = self._by_skill(skill, organization)
        return None if content is None else content.topic

    def prerequisites_of(self, skill: str, organization: int) -> list[str]:
        """Skills that the content of a skill builds on."""
        content = self._by_skill(skill, organization)
        return list(content.prerequisites or ()) if content is not None else []

    def _remove(self, kind: Kind, key: bytes) -> None:
        text = key.decode(errors="replace")
        if kind is Kind.CONTENT:
            self.contents.pop(text, None)
        elif text.isdecimal():
            self.organizations.pop(int(text), None)

    def _store(self, kind: Kind, key: bytes, value: bytes) -> Content | Organization:
        if kind is Kind.CONTENT:
            content = decode_content(key, value)
            self.contents[content.content_id] = content
            return content
        organization = decode_organization(key, value)
        self.organizations[organization.organization_id] = organization
        return organization

    def _by_topic(self, topic: str, organization: int) -> list[Content]:
        if self._topics is None:
            self._index()
        assert self._topics is not None
        return [content for content in self._topics.get(topic, ()) if _visible(content, organization)]

    def _by_skill(self, skill: str, organization: int) -> Content | None:
        if self._topics is None:
            self._index()
        content = self._skills.get(skill)
        return content if content is not None and _visible(content, organization) else None

    def _index(self) -> None:
        """Look-ups by topic and skill; the content with the smallest id speaks for a skill."""
        topics: dict[str, list[Content]] = {}
        skills: dict[str, Content] = {}
        for content_id in sorted(self.contents):
            content = self.contents[content_id]
            if content.topic is not None:
                topics.setdefault(content.topic, []).append(content)
            for skill in content.skills:
                skills.setdefault(skill, content)
        self._topics, self._skills = topics, skills


def zones_of(rows: NDArray[np.void], catalogue: Catalogue) -> Zones:
    """Time zones of LEARNER rows ``(n,)``: the learner's own, else the organization's, else UTC.

    A zone that this version's time zone data does not have counts as not set.
    """
    names, sources = [], []
    for own, organization in zip(rows["zone"].tolist(), rows["organization"].tolist(), strict=True):
        name, source = own.decode(), ZONE_SOURCES[0]
        if not name or not known(name):
            name = catalogue.timezone(organization)
            source = ZONE_SOURCES[1 if catalogue.names_zone(organization) else 2]
        names.append(name)
        sources.append(source)
    return Zones(names, sources)


def _visible(content: Content, organization: int) -> bool:
    return content.organization_id is None or content.organization_id == organization


def _fingerprint(kind: Kind, key: bytes, record: Content | Organization) -> int:
    """Hash of a record's fields, not of its bytes, so that the fields kept in Postgres give the same."""
    known = msgspec.json.encode(record, order="sorted")
    digest = blake2b(known, digest_size=8, key=kind.encode()[:64], salt=b"")
    digest.update(key)
    return int.from_bytes(digest.digest(), "little")

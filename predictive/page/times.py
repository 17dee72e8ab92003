"""Formats instants in the learner's zone, in English whatever the locale."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from lyo.models.arrays.tzif import info

__all__ = ["DAY_NAMES", "Clock", "Moment", "in_days"]

DAY_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = ("Jan", "Feb", "March", "April", "May", "June", "July", "Aug", "Sept", "Oct", "Nov", "Dec")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Moment:
    """An instant as text for people, and as RFC 3339 with the zone's offset."""

    text: str
    iso: str


class Clock:
    """Reads instants in ms in one IANA zone."""

    def __init__(self, zone: str) -> None:
        self.zone = zone
        self._zone = info(zone)

    def local(self, at: int) -> datetime:
        """The local time of an instant in ms."""
        return (_EPOCH + timedelta(milliseconds=at)).astimezone(self._zone)

    def ms(self, moment: datetime) -> int:
        """An aware time as an instant in ms."""
        return (moment - _EPOCH) // timedelta(milliseconds=1)

    def date(self, at: int) -> Moment:
        """``12 May 2026``."""
        local = self.local(at)
        return Moment(f"{local.day} {_MONTHS[local.month - 1]} {local.year}", self._iso(local))

    def short(self, at: int) -> str:
        """``12 May``, for the axis of a chart."""
        local = self.local(at)
        return f"{local.day} {_MONTHS[local.month - 1]}"

    def time(self, at: int) -> Moment:
        """``Tuesday 12 May 2026, 19:00``."""
        local, date = self.local(at), self.date(at)
        return Moment(f"{DAY_NAMES[local.weekday()]} {date.text}, {local:%H:%M}", date.iso)

    def offset(self, at: int) -> str:
        """The offset from UTC at an instant: ``UTC+2``, ``UTC−3:30``."""
        shift = self.local(at).utcoffset() or timedelta(0)
        minutes = round(shift.total_seconds() / 60)
        if minutes == 0:
            return "UTC"
        hours, rest = divmod(abs(minutes), 60)
        return f"UTC{'+' if minutes > 0 else '−'}{hours}" + (f":{rest:02d}" if rest else "")

    def days_until(self, at: int, later: int) -> int:
        """Local calendar days from one instant to another."""
        return (self.local(later).date() - self.local(at).date()).days

    @staticmethod
    def _iso(local: datetime) -> str:
        return local.isoformat(timespec="seconds")


def in_days(days: int) -> str:
    """How far a day is from today, in words."""
    if days == 0:
        return "today"
    if abs(days) == 1:
        return "tomorrow" if days > 0 else "yesterday"
    return f"in {days} days" if days > 0 else f"{-days} days ago"

"""Windows: spans of local time in which models are unloaded."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import math
import re
import zoneinfo
from collections.abc import Iterator
from typing import Final

from stentor.days import DAY_S

WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
DEFAULT_ZONE: Final = "UTC"
#: Days to look back for a window that has begun: it lasts up to a day, and local dates differ from UTC's by up to one.
LOOK_BACK_DAYS: Final = 3
#: Days to look ahead at first: a clock change can skip a window of one weekday once.
LOOK_AHEAD_DAYS: Final = 16
#: A window that lasts this many days has passed every change of daylight-saving time, and never ends.
FOR_EVER_DAYS: Final = 400
#: Python's ordinal of the first day of the epoch.
EPOCH_ORDINAL: Final = datetime.date(1970, 1, 1).toordinal()

_TIME = r"\d{1,2}:\d\d(?::\d\d)?"
_WINDOW = re.compile(
    rf"(?:(?P<days>[A-Za-z][A-Za-z,\s-]*?)\s+)?(?P<start>{_TIME})\s*-\s*(?P<end>{_TIME})(?:\s+(?P<zone>\S+))?"
)
_SHAPE = "Use `[weekdays] HH:MM-HH:MM [time zone]`, such as `02:00-05:00 Asia/Shanghai` or `Sat,Sun 00:00-24:00`."


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spell:
    """A stretch of time within windows; windows that touch or overlap make one. Seconds since the epoch."""

    start: float
    #: The first moment after it; ``math.inf`` if it never ends.
    end: float
    #: Its windows, as they were written.
    text: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Span:
    """A window: a span of local time on some weekdays."""

    text: str
    #: Weekdays on which it begins, 0 for Monday.
    weekdays: frozenset[int]
    #: Local time in seconds from midnight; the end is later, and may be on the next day.
    start_s: int
    end_s: int
    zone: zoneinfo.ZoneInfo

    @classmethod
    def parse(cls, text: str) -> Span:
        """The window that the text describes.

        Raises:
            ValueError: the text is invalid; the sentence says why.
        """
        found = _WINDOW.fullmatch(text)
        if not found:
            raise ValueError(f"Invalid window {text!r}. {_SHAPE}")
        start_s, end_s = _time_s(found["start"]), _time_s(found["end"])
        if start_s == DAY_S:
            raise ValueError(f"Window {text!r} begins at 24:00. It must begin from 00:00 to 23:59:59.")
        return cls(
            text=" ".join(text.split()),
            weekdays=_weekdays(found["days"]) if found["days"] else frozenset(range(7)),
            start_s=start_s,
            end_s=end_s if end_s > start_s else end_s + DAY_S,
            zone=_zone(found["zone"] or DEFAULT_ZONE),
        )

    def spells(self, first_day: int, days: int) -> Iterator[Spell]:
        """Its spells on these local days, counted from the epoch; none on a day where the clock skips it."""
        for ordinal in range(EPOCH_ORDINAL + first_day, EPOCH_ORDINAL + first_day + days):
            date = datetime.date.fromordinal(ordinal)
            if date.weekday() in self.weekdays:
                start, end = _moment(date, self.start_s, self.zone, 0), _moment(date, self.end_s, self.zone, 1)
                if start < end:
                    yield Spell(start=start, end=end, text=self.text)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Windows:
    """All windows of a deployment; ``text`` is their text."""

    text: str = ""
    spans: tuple[Span, ...] = ()

    @classmethod
    def parse(cls, text: str | None) -> Windows:
        """The windows of ``STENTOR_UNLOAD_WINDOWS``; none for None.

        Raises:
            ValueError: the text is invalid; the sentence says why.
        """
        parts = [part.strip() for part in (text or "").split(";")]
        return cls(text=text or "", spans=tuple(Span.parse(part) for part in parts if part))

    def at(self, now: float) -> Spell | None:
        """The spell that contains ``now`` (seconds since the epoch), if any."""
        day = math.floor(now / DAY_S)
        for ahead in (LOOK_AHEAD_DAYS, FOR_EVER_DAYS):
            found = next((one for one in _spells(self.spans, day, ahead) if one.start <= now < one.end), None)
            # A spell at the end of the searched days may last longer: later days were not searched.
            if found is None or found.end < (day + ahead - 1) * DAY_S:
                return found
        return found and dataclasses.replace(found, end=math.inf)

    def end_of(self, now: float) -> float | None:
        """The end of the spell that contains ``now``; None outside of all windows.

        Both are seconds since the epoch; ``math.inf`` for windows that never end.
        """
        found = self.at(now)
        return found.end if found else None


@functools.lru_cache(maxsize=16)
def _spells(spans: tuple[Span, ...], day: int, ahead: int) -> tuple[Spell, ...]:
    """The spells around a day (UTC, since the epoch), in order. Cached, because it is called once a second."""
    first, days = day - LOOK_BACK_DAYS, LOOK_BACK_DAYS + ahead
    merged: list[Spell] = []
    for spell in sorted((one for span in spans for one in span.spells(first, days)), key=lambda one: one.start):
        if merged and spell.start <= merged[-1].end:
            merged[-1] = _join(merged[-1], spell)
        else:
            merged.append(spell)
    return tuple(merged)


def _join(one: Spell, other: Spell) -> Spell:
    texts = dict.fromkeys([*one.text.split("; "), other.text])
    return Spell(start=one.start, end=max(one.end, other.end), text="; ".join(texts))


def _moment(date: datetime.date, local_s: int, zone: zoneinfo.ZoneInfo, fold: int) -> float:
    """When a local clock shows that time, in seconds since the epoch; of two moments the first (``fold`` 0) or second.

    For a time that a clock change skips, the moment of the change.
    """
    local = datetime.datetime.combine(date, datetime.time()) + datetime.timedelta(seconds=local_s)
    before, after = local.replace(tzinfo=zone, fold=0), local.replace(tzinfo=zone, fold=1)
    if before.utcoffset() < after.utcoffset():  # type: ignore[operator]
        # PEP 495: in a gap the two use the offsets before and after the change, which is between them.
        return _jump(math.floor(after.timestamp()), math.floor(before.timestamp()), zone)
    return (after if fold else before).timestamp()


def _jump(early: int, late: int, zone: zoneinfo.ZoneInfo) -> float:
    """When the offset of the zone changes between two moments."""
    old = datetime.datetime.fromtimestamp(early, zone).utcoffset()
    while late - early > 1:
        middle = (early + late) // 2
        same = datetime.datetime.fromtimestamp(middle, zone).utcoffset() == old
        early, late = (middle, late) if same else (early, middle)
    return float(late)


def _time_s(text: str) -> int:
    """``HH:MM`` or ``HH:MM:SS`` in seconds from midnight, up to 24:00."""
    hours, minutes, seconds = [*map(int, text.split(":")), 0][:3]
    time_s = hours * 3600 + minutes * 60 + seconds
    if minutes > 59 or seconds > 59 or time_s > DAY_S:
        raise ValueError(f"Invalid time {text}. Use HH:MM or HH:MM:SS from 00:00 to 24:00.")
    return time_s


def _weekdays(text: str) -> frozenset[int]:
    """``Mon``, ``Mon-Fri``, ``Sat,Sun`` or any mix of them; a range may contain Sunday in its middle."""
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = (name.strip() for name in part.partition("-"))
        begin, end = _weekday(first), _weekday(last if dash else first)
        found.update((begin + step) % 7 for step in range((end - begin) % 7 + 1))
    return frozenset(found)


def _weekday(name: str) -> int:
    if name.capitalize() not in WEEKDAYS:
        raise ValueError(
            f"Invalid weekday {name!r}. Use {', '.join(WEEKDAYS)}, a range such as `Mon-Fri`, or a list with `,`."
        )
    return WEEKDAYS.index(name.capitalize())


def _zone(name: str) -> zoneinfo.ZoneInfo:
    try:
        return zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError, OSError) as exc:
        raise ValueError(
            f"Unknown time zone {name!r}. Use a name of the IANA database, such as Asia/Shanghai."
        ) from exc

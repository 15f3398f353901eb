"""Windows: how they are written, and when they are, over midnight and over clocks that jump."""

from __future__ import annotations

import datetime
import math
import zoneinfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stentor.devices.windows import Windows
from stentor.errors import SettingInvalid
from stentor.settings import Settings
from tests.support.work.windows import next_start

DAY_S = 86_400
DAYS = "Use Mon, Tue, Wed, Thu, Fri, Sat, Sun, a range such as `Mon-Fri`, or a list with `,`."
SHAPE = "Use `[weekdays] HH:MM-HH:MM [time zone]`, such as `02:00-05:00 Asia/Shanghai` or `Sat,Sun 00:00-24:00`."


def utc(text: str) -> float:
    """Seconds since the epoch of a moment as ``2026-03-29 01:00``."""
    return datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC).timestamp()


def shown(moment: float | None) -> str | None:
    """The same back."""
    if moment is None or math.isinf(moment):
        return None if moment is None else "never"
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).strftime("%Y-%m-%d %H:%M")


def spells(text: str, since: str, until: str) -> list[tuple[str, str]]:
    """All windows that begin in a span of time: when they begin and end, in UTC, without the year."""
    windows, now, found = Windows.parse(text), utc(since), []
    while (start := next_start(windows, now)) is not None and start < utc(until):
        found.append((str(shown(start))[5:], str(shown(windows.end_of(start)))[5:]))
        now = start
    return found


# --- how they are written


@pytest.mark.parametrize("text", [None, "", " ", ";"])
def test_nothing_written_is_no_window(text: str | None) -> None:
    windows = Windows.parse(text)
    assert (windows.spans, windows.end_of(utc("2026-11-25 03:00")), next_start(windows, 0.0)) == ((), None, None)


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("02:00-05:00", [0, 1, 2, 3, 4, 5, 6]),
        ("Mon 02:00-05:00", [0]),
        ("mon-FRI 02:00-05:00", [0, 1, 2, 3, 4]),
        ("Sat,Sun 02:00-05:00", [5, 6]),
        ("Mon-Wed, Fri 02:00-05:00", [0, 1, 2, 4]),
        ("Fri-Mon 02:00-05:00", [0, 4, 5, 6]),
        ("Mon - Tue , Sun 02:00-05:00", [0, 1, 6]),
    ],
)
def test_weekdays_are_names_ranges_and_lists(text: str, days: list[int]) -> None:
    assert sorted(Windows.parse(text).spans[0].weekdays) == days


@pytest.mark.parametrize(
    ("text", "start_s", "end_s"),
    [
        ("02:00-05:00", 7200, 18_000),
        ("2:00 - 5:00", 7200, 18_000),
        ("02:00:10-05:00:20", 7210, 18_020),
        ("00:00-24:00", 0, 86_400),
        ("00:00-00:00", 0, 86_400),
        ("23:00-01:00", 82_800, 90_000),
        ("12:00-12:00", 43_200, 129_600),
    ],
)
def test_an_end_that_is_not_after_the_start_is_on_the_next_day(text: str, start_s: int, end_s: int) -> None:
    span = Windows.parse(text).spans[0]
    assert (span.start_s, span.end_s) == (start_s, end_s)


def test_each_window_has_a_zone_of_its_own_or_utc() -> None:
    windows = Windows.parse("02:00-05:00 Asia/Shanghai; Sat,Sun 00:00-24:00;")
    assert [span.zone.key for span in windows.spans] == ["Asia/Shanghai", "UTC"]
    assert [span.text for span in windows.spans] == ["02:00-05:00 Asia/Shanghai", "Sat,Sun 00:00-24:00"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("25:00-05:00", "Invalid time 25:00. Use HH:MM or HH:MM:SS from 00:00 to 24:00."),
        ("02:00-24:01", "Invalid time 24:01. Use HH:MM or HH:MM:SS from 00:00 to 24:00."),
        ("02:60-03:00", "Invalid time 02:60. Use HH:MM or HH:MM:SS from 00:00 to 24:00."),
        ("24:00-05:00", "Window '24:00-05:00' begins at 24:00. It must begin from 00:00 to 23:59:59."),
        (
            "Mon- 02:00-05:00",
            f"Invalid weekday ''. {DAYS}",
        ),
        (
            "Mon-Wed-Fri 02:00-05:00",
            f"Invalid weekday 'Wed-Fri'. {DAYS}",
        ),
        (
            "02:00-05:00 asia/Atlantis",
            "Unknown time zone 'asia/Atlantis'. Use a name of the IANA database, such as Asia/Shanghai.",
        ),
        ("02:00-05:00 America", "Unknown time zone 'America'. Use a name of the IANA database, such as Asia/Shanghai."),
        (
            "02:00-05:00 ../../etc/passwd",
            "Unknown time zone '../../etc/passwd'. Use a name of the IANA database, such as Asia/Shanghai.",
        ),
        *(
            (
                text,
                f"Invalid window {text!r}. {SHAPE}",
            )
            for text in ("2-5", "Mon-Fri", "02:00", "02:00-05:00, 12:00-13:00", "02:00-05:00 Asia/Shanghai Mon")
        ),
    ],
)
def test_an_invalid_window_is_refused_with_the_allowed_form(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=r"\.$") as raised:
        Windows.parse(f"01:00-02:00; {text}")
    assert str(raised.value) == sentence


def test_a_bad_window_stops_the_start_by_name() -> None:
    with pytest.raises(SettingInvalid) as raised:
        Settings.from_environ({"STENTOR_UNLOAD_WINDOWS": "02:00-26:00"})
    assert raised.value.detail == (
        "STENTOR_UNLOAD_WINDOWS is '02:00-26:00': Invalid time 26:00. Use HH:MM or HH:MM:SS from 00:00 to 24:00."
    )


# --- when they are


@pytest.mark.parametrize(
    ("text", "now", "end", "start"),
    [
        # Shanghai is 8 hours ahead of UTC, all year.
        ("02:00-05:00 Asia/Shanghai", "2026-11-25 17:59", None, "2026-11-25 18:00"),
        ("02:00-05:00 Asia/Shanghai", "2026-11-25 18:00", "2026-11-25 21:00", "2026-11-26 18:00"),
        ("02:00-05:00 Asia/Shanghai", "2026-11-25 20:59", "2026-11-25 21:00", "2026-11-26 18:00"),
        ("02:00-05:00 Asia/Shanghai", "2026-11-25 21:00", None, "2026-11-26 18:00"),
        # Over midnight; a Friday's belongs to Friday.
        ("Fri 22:00-06:00", "2026-11-27 23:00", "2026-11-28 06:00", "2026-12-04 22:00"),
        ("Fri 22:00-06:00", "2026-11-28 05:59", "2026-11-28 06:00", "2026-12-04 22:00"),
        ("Fri 22:00-06:00", "2026-11-27 05:59", None, "2026-11-27 22:00"),
        ("Fri 22:00-06:00", "2026-11-28 22:30", None, "2026-12-04 22:00"),
        # A weekday is the zone's: Monday begins in Auckland when it is Sunday in UTC.
        ("Mon 00:00-01:00 Pacific/Auckland", "2026-11-22 11:30", "2026-11-22 12:00", "2026-11-29 11:00"),
        ("Mon 00:00-01:00 Pacific/Honolulu", "2026-11-23 10:30", "2026-11-23 11:00", "2026-11-30 10:00"),
        # Those that touch or overlap are one.
        ("Sat,Sun 00:00-24:00", "2026-11-28 12:00", "2026-11-30 00:00", "2026-12-05 00:00"),
        ("01:00-03:00; 02:00-05:00; 05:00-06:00", "2026-11-25 01:30", "2026-11-25 06:00", "2026-11-26 01:00"),
        ("01:00-05:00; 02:00-03:00", "2026-11-25 02:30", "2026-11-25 05:00", "2026-11-26 01:00"),
        ("01:00-02:00; 02:01-03:00", "2026-11-25 01:30", "2026-11-25 02:00", "2026-11-25 02:01"),
        ("22:00-24:00 UTC; 08:00-10:00 Asia/Shanghai", "2026-11-25 23:00", "2026-11-26 02:00", "2026-11-26 22:00"),
        # Those that never end.
        ("00:00-24:00", "2026-11-25 12:00", "never", None),
        ("12:00-12:00 Europe/Berlin", "2026-11-25 12:00", "never", None),
        ("Mon-Fri 00:00-24:00; Sat,Sun 00:00-24:00", "2026-11-25 12:00", "never", None),
        # One whole day until the clocks change: in winter noon of UTC is 13:00 in Berlin.
        ("00:00-12:00; 14:00-02:00 Europe/Berlin", "2026-06-01 12:00", "2026-10-25 12:00", "2026-10-25 13:00"),
    ],
)
def test_windows_begin_and_end(text: str, now: str, end: str | None, start: str | None) -> None:
    windows = Windows.parse(text)
    assert (shown(windows.end_of(utc(now))), shown(next_start(windows, utc(now)))) == (end, start)


@pytest.mark.parametrize(
    ("text", "since", "until", "found"),
    [
        # Berlin, 29 March 2026: at 02:00 it becomes 03:00, which is 01:00 UTC. The first three hours are two.
        ("01:00-04:00 Europe/Berlin", "03-28 12:00", "03-29 12:00", [("03-29 00:00", "03-29 02:00")]),
        # 02:30 does not exist: it is the moment of the jump.
        ("02:30-05:00 Europe/Berlin", "03-28 12:00", "03-29 12:00", [("03-29 01:00", "03-29 03:00")]),
        ("01:00-02:30 Europe/Berlin", "03-28 12:00", "03-29 12:00", [("03-29 00:00", "03-29 01:00")]),
        # What lies in the hour that is left out is left out.
        (
            "02:10-02:50 Europe/Berlin",
            "03-27 12:00",
            "03-30 12:00",
            [("03-28 01:10", "03-28 01:50"), ("03-30 00:10", "03-30 00:50")],
        ),
        ("Sun 02:00-03:00 Europe/Berlin", "03-22 12:00", "04-06 00:00", [("04-05 00:00", "04-05 01:00")]),
        # 25 October 2026: 02:00 to 03:00 comes twice. Begin with the first, end with the second.
        ("02:00-05:00 Europe/Berlin", "10-24 12:00", "10-25 12:00", [("10-25 00:00", "10-25 04:00")]),
        ("02:30-02:45 Europe/Berlin", "10-24 12:00", "10-25 12:00", [("10-25 00:30", "10-25 01:45")]),
        ("23:00-02:30 Europe/Berlin", "10-24 12:00", "10-25 12:00", [("10-24 21:00", "10-25 01:30")]),
        # Two that touch at a time that comes twice, or never, are one on these days, too.
        (
            "01:00-02:30 Europe/Berlin; 02:30-04:00 Europe/Berlin",
            "10-24 12:00",
            "10-25 12:00",
            [("10-24 23:00", "10-25 03:00")],
        ),
        (
            "01:00-02:30 Europe/Berlin; 02:30-04:00 Europe/Berlin",
            "03-28 12:00",
            "03-29 12:00",
            [("03-29 00:00", "03-29 02:00")],
        ),
        # New York, 8 March and 1 November 2026, at 02:00 local: 07:00 and 06:00 UTC.
        ("02:00-05:00 America/New_York", "03-07 12:00", "03-08 12:00", [("03-08 07:00", "03-08 09:00")]),
        ("01:30-05:00 America/New_York", "10-31 12:00", "11-01 12:00", [("11-01 05:30", "11-01 10:00")]),
        ("00:00-01:30 America/New_York", "10-31 12:00", "11-01 12:00", [("11-01 04:00", "11-01 06:30")]),
        # Lord Howe's clock jumps by half an hour: 4 October 2026 at 02:00 to 02:30, 5 April at 02:00 to 01:30.
        ("02:10-04:00 Australia/Lord_Howe", "10-03 00:00", "10-04 00:00", [("10-03 15:30", "10-03 17:00")]),
        ("01:00-04:00 Australia/Lord_Howe", "10-03 00:00", "10-04 00:00", [("10-03 14:30", "10-03 17:00")]),
        ("01:45-04:00 Australia/Lord_Howe", "04-04 00:00", "04-05 00:00", [("04-04 14:45", "04-04 17:30")]),
        ("01:00-01:45 Australia/Lord_Howe", "04-04 00:00", "04-05 00:00", [("04-04 14:00", "04-04 15:15")]),
        # Cairo's day of 24 April 2026 begins at 01:00: its midnight is the moment of the jump.
        ("Thu 22:00-24:00 Africa/Cairo", "04-23 12:00", "04-24 12:00", [("04-23 20:00", "04-23 22:00")]),
        ("Fri 00:00-02:00 Africa/Cairo", "04-23 12:00", "04-24 12:00", [("04-23 22:00", "04-23 23:00")]),
        # Shanghai has no daylight-saving time.
        ("02:00-05:00 Asia/Shanghai", "03-28 12:00", "03-29 12:00", [("03-28 18:00", "03-28 21:00")]),
    ],
)
def test_a_window_is_right_on_the_day_on_which_the_clock_jumps(
    text: str, since: str, until: str, found: list[tuple[str, str]]
) -> None:
    assert spells(text, f"2026-{since}", f"2026-{until}") == found


# --- any windows


zones = st.sampled_from(
    ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Shanghai", "Pacific/Apia", "Africa/Cairo")
)
minutes = st.integers(0, 1439)


@st.composite
def written(draw: st.DrawFn) -> tuple[str, int, int, zoneinfo.ZoneInfo]:
    """A daily window with its start and end in minutes."""
    start, end, zone = draw(minutes), draw(minutes), draw(zones)
    text = f"{start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02} {zone}"
    return text, start, end, zoneinfo.ZoneInfo(zone)


@settings(max_examples=60, deadline=None)
@given(st.lists(written(), min_size=1, max_size=3), st.integers(0, 365 * 1440))
def test_a_moment_is_in_a_window_if_the_wall_clock_says_so(
    several: list[tuple[str, int, int, zoneinfo.ZoneInfo]], minute: int
) -> None:
    now = utc("2026-01-01 00:00") + minute * 60
    windows = Windows.parse("; ".join(text for text, _, _, _ in several))

    def says(start: int, end: int, zone: zoneinfo.ZoneInfo) -> bool:
        local = datetime.datetime.fromtimestamp(now, zone)
        clock = local.hour * 60 + local.minute
        return start <= clock < end if start < end else clock >= start or clock < end

    def steady(zone: zoneinfo.ZoneInfo) -> bool:
        """Whether no clock jumps near: then the wall clock alone decides."""
        around = (datetime.datetime.fromtimestamp(now + days * DAY_S, zone).utcoffset() for days in (-2, 0, 2))
        return len(set(around)) == 1

    if all(steady(zone) for _, _, _, zone in several):
        assert (windows.end_of(now) is not None) == any(says(start, end, zone) for _, start, end, zone in several)


@settings(max_examples=60, deadline=None)
@given(st.lists(written(), min_size=1, max_size=3), st.integers(0, 365 * 1440))
def test_a_window_lasts_until_its_end_and_is_over_then(
    several: list[tuple[str, int, int, zoneinfo.ZoneInfo]], minute: int
) -> None:
    windows = Windows.parse("; ".join(text for text, _, _, _ in several))
    now = utc("2026-01-01 00:00") + minute * 60
    end, start = windows.end_of(now), next_start(windows, now)
    if end is None:
        assert start is not None
        assert windows.end_of(start - 1) is None
        assert windows.end_of(start) is not None
    elif not math.isinf(end):
        assert now < end
        assert windows.end_of(end - 1) == end
        assert windows.end_of(end) is None

"""The policy through weeks of a small world: random work, windows, zones, changes of the clock, settings and wishes."""

from __future__ import annotations

import dataclasses
import datetime
import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.plan import Clocks, Rules
from stentor.devices.overrides import Override
from stentor.devices.windows import Windows
from stentor.jobs.job import PRIORITIES
from tests.support.work.week import WEEK_S, Change, SimDevice, World

HOUR_S = 3600
#: Mondays; in all weeks but the first and last a clock jumps in one of the zones.
WEEKS = ("2026-01-12", "2026-03-02", "2026-03-23", "2026-03-30", "2026-09-28", "2026-10-19", "2026-10-26", "2026-11-23")
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Shanghai")

times = st.integers(0, 95).map(lambda quarter: f"{quarter // 4:02}:{quarter % 4 * 15:02}")
weekdays = st.sampled_from(("", "", "", "Mon-Fri ", "Sat,Sun ", "Sun "))
windows = st.just("00:00-24:00") | st.builds("{}{}-{} {}".format, weekdays, times, times, st.sampled_from(ZONES))
some_rules = st.builds(
    Rules,
    windows=st.lists(windows, max_size=3).map("; ".join).map(Windows.parse),
    window_bulk=st.sampled_from(("hold", "hold", "run")),
    unload_grace_s=st.sampled_from((10.0, 60.0, 300.0)),
    idle_unload_s=st.sampled_from((None, None, 120.0, 3600.0)),
    prewarm_s=st.sampled_from((0.0, 60.0, 120.0, 1800.0)),
    idle_clocks_s=st.sampled_from((0.0, 30.0, 300.0)),
    dwell_s=st.sampled_from((300.0, 1200.0, 3600.0)),
)
#: Spells of work per hour, of one priority.
rates = st.sampled_from((0.02, 0.1, 0.5))
wishes = st.builds(
    Override,
    residency=st.sampled_from(("auto", "resident", "unloaded")),
    clocks=st.sampled_from(("auto", "low", "normal")),
    by=st.just("ann"),
)


def most_changes(dwell_s: float) -> float:
    """``N`` of docs/why/decisions/when-models-unload.md: how many changes an hour may see."""
    return 2 * HOUR_S / dwell_s + 2


def in_one_hour(changes: Sequence[Change]) -> int:
    """The most changes in any hour."""
    return max((sum(one.at <= other.at <= one.at + HOUR_S for other in changes) for one in changes), default=0)


def a_world(start: float, rules: Rules, *, load_s: float, seed: int) -> World:
    # Each has what only it can speak, and what others can, too.
    models = (("joe", "ann"), ("joe",), ("bea", "joe"))
    devices = [
        SimDevice(
            id=f"host/cuda:{number}",
            models=one,
            started_at=start,
            state_at=start,
            clocks=Clocks(state="normal", since=start),
        )
        for number, one in enumerate(models)
    ]
    return World(start=start, rules=rules, devices=devices, load_s=load_s, seed=seed)


def submissions(world: World, rates_per_hour: Sequence[float]) -> None:
    """Texts of each priority come at random moments of the week: one, or many that are minutes apart."""
    chance = world.random
    for priority, rate in zip(PRIORITIES, rates_per_hour, strict=True):
        spell = world.start
        while (spell := spell + chance.expovariate(rate / HOUR_S)) < world.start + WEEK_S:
            model, pause_s, now = chance.choice(("joe", "ann", "bea")), chance.choice((20.0, 200.0)), spell
            for _ in range(chance.choice((1, 1, 40))):
                world.at(now, lambda model=model, priority=priority: world.submit(model, priority))  # type: ignore[misc]
                now += chance.uniform(1, 2 * pause_s)


def wish(world: World, wanted: Sequence[Override]) -> None:
    """A person wants this and that of the first device, each for a day at most."""
    chance = random.Random(len(wanted))
    for override in wanted:
        begins = world.start + chance.uniform(0, WEEK_S)
        expiring = dataclasses.replace(override, at=begins, expires_at=begins + chance.uniform(60, 86_400))
        world.at(begins, lambda expiring=expiring: setattr(world.devices[0], "override", expiring))  # type: ignore[misc]


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(
    week=st.sampled_from(WEEKS),
    rules=some_rules,
    rates_per_hour=st.tuples(rates, rates, rates),
    load_s=st.sampled_from((2.0, 45.0)),
    wanted=st.lists(wishes, max_size=4),
    seed=st.integers(0, 2**32),
)
def test_through_any_week_work_is_spoken_and_changes_are_few_and_have_reasons(
    week: str,
    rules: Rules,
    rates_per_hour: tuple[float, float, float],
    load_s: float,
    wanted: list[Override],
    seed: int,
) -> None:
    start = datetime.datetime.fromisoformat(week).replace(tzinfo=datetime.UTC).timestamp()
    world = a_world(start, rules, load_s=load_s, seed=seed)
    submissions(world, rates_per_hour)
    wish(world, wanted)
    world.run(start + WEEK_S + 6 * HOUR_S)
    # Bulks of the last window are held until its end, and a window may be a working week.
    world.run(start + 3 * WEEK_S, done=lambda: world.spoken == world.came)
    assert world.spoken == world.came
    assert world.waiting == {}

    wished, *others = world.devices
    for device in others:
        assert in_one_hour(device.residency_changes) <= most_changes(rules.dwell_s)
        assert in_one_hour(device.clock_changes) <= most_changes(rules.dwell_s)
    # Whom a person wants unloaded waits for the grace time only.
    assert in_one_hour(wished.residency_changes) <= most_changes(min(rules.dwell_s, rules.unload_grace_s))
    for device in world.devices:
        assert all(change.reason for change in (*device.residency_changes, *device.clock_changes))
        states = [change.to for change in device.residency_changes]
        assert states == [("resident", "unloaded")[number % 2] for number in range(len(states))]


def test_the_world_sees_windows_work() -> None:
    """Else the promises above might hold because nothing ever happens."""
    start = datetime.datetime(2026, 10, 19, tzinfo=datetime.UTC).timestamp()
    rules = Rules(windows=Windows.parse("02:00-05:00 Europe/Berlin"))
    world = a_world(start, rules, load_s=20.0, seed=1)
    # One interactive text in the middle of the first window, one bulk row just after it began.
    world.at(start + 2 * HOUR_S, lambda: world.submit("joe", "interactive"))
    world.at(start + HOUR_S, lambda: world.submit("bea", "bulk"))
    world.run(start + WEEK_S)
    woken, silent, held = world.devices
    assert [change.to for change in silent.residency_changes] == ["resident"] + 7 * ["unloaded", "resident"]
    assert [change.to for change in woken.residency_changes] == ["resident"] + 8 * ["unloaded", "resident"]
    # 02:58 in Berlin, in UTC, and the time to load.
    assert held.residency_changes[2].at == start + 2 * HOUR_S + 58 * 60 + 20
    assert (world.came, world.spoken) == (2, 2)
    # Being unloaded and loaded is no work.
    assert [change.to for change in silent.clock_changes] == ["low"]
    assert [change.to for change in woken.clock_changes] == ["low", "normal", "low"]

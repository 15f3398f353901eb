"""The policy for devices: literal cases, and properties that hold for all of them."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.plan import Clocks, DeviceView, Plan, Rules
from scheduler.policy import decide
from stentor.devices.overrides import Override
from stentor.devices.registry import DeviceStatus
from stentor.devices.windows import Windows
from stentor.jobs.job import PRIORITIES
from stentor.jobs.lanes import Lane, LaneState
from stentor.settings import Settings

#: 2026-11-25, 00:00 UTC.
MIDNIGHT = datetime.datetime(2026, 11, 25, tzinfo=datetime.UTC).timestamp()
#: Of which the last two minutes are for loading.
NIGHT = Windows.parse("02:00-05:00 UTC")
IN, PREWARM, OUT = MIDNIGHT + 3 * 3600, MIDNIGHT + 5 * 3600 - 60, MIDNIGHT + 12 * 3600


def status(
    now: float,
    state: str = "idle",
    *,
    idle_s: float = 1000,
    loaded_s: float | None = 5000,
    loading_s: float | None = None,
) -> DeviceStatus:
    resident = state in {"idle", "busy"}
    return DeviceStatus(
        id="host/cuda:0",
        pid=7,
        state=state,
        models=("joe",),
        model="joe" if resident else None,
        started_at=now - 9000,
        seen_at=now,
        state_at=now - idle_s,
        spoke_at=now - idle_s,
        loaded_at=None if loaded_s is None or not resident else now - loaded_s,
        loading_at=None if loading_s is None else now - loading_s,
    )


def lane(priority: str, waiting: int = 3, wait_s: float = 4, model: str = "joe") -> LaneState:
    """A lane whose oldest text has waited so long at 0; see ``at``."""
    return LaneState(lane=Lane(model=model, priority=priority, length=2), waiting=waiting, oldest_at=-wait_s)


def at(now: float, lanes: Sequence[LaneState]) -> list[LaneState]:
    """The same lanes as ``now`` seconds later, with texts that came so much later."""
    return [state._replace(oldest_at=now + state.oldest_at) for state in lanes]


def residency(now: float, state: str = "idle", lanes: Sequence[LaneState] = (), **more: Any) -> tuple[str | None, str]:
    override = more.pop("override", Override())
    rules = Rules(**{"windows": NIGHT, **more.pop("rules", {})})
    view = DeviceView(status=status(now, state, **more), override=override)
    want = decide(now, rules, at(now, lanes), [view]).wants["host/cuda:0"]
    return want.residency, want.residency_reason


WINDOW = "window 02:00-05:00 UTC ends in 2 h 0 min"
IDLE_UNLOAD = {"idle_unload_s": 600.0}


@pytest.mark.parametrize(
    ("case", "wanted"),
    [
        ({"now": OUT}, ("resident", "no window")),
        ({"now": OUT, "state": "unloaded"}, ("resident", "no window")),
        ({"now": IN}, ("unloaded", f"idle for 17 min; {WINDOW}")),
        ({"now": IN, "state": "unloaded"}, ("unloaded", WINDOW)),
        ({"now": IN, "idle_s": 20}, ("resident", f"{WINDOW}, in 40 s if nothing comes")),
        ({"now": IN, "loaded_s": 100}, ("resident", f"{WINDOW}, but it was loaded 100 s ago")),
        ({"now": IN, "state": "busy"}, ("resident", "the device is busy")),
        ({"now": IN, "lanes": [lane("interactive")]}, ("resident", "3 texts wait, interactive, for 4 s")),
        (
            {"now": IN, "state": "unloaded", "lanes": [lane("standard", 1)]},
            ("resident", "1 text waits, standard, for 4 s"),
        ),
        ({"now": IN, "lanes": [lane("interactive", model="ann")]}, ("unloaded", f"idle for 17 min; {WINDOW}")),
        ({"now": IN, "lanes": [lane("bulk", wait_s=9000)]}, ("unloaded", f"idle for 17 min; {WINDOW}")),
        (
            {"now": IN, "lanes": [lane("bulk", wait_s=9000)], "rules": {"window_bulk": "run"}},
            ("resident", "3 texts wait, bulk, for 2 h 30 min"),
        ),
        ({"now": PREWARM, "state": "unloaded"}, ("resident", "the window ends soon")),
        ({"now": PREWARM, "state": "unloaded", "lanes": [lane("bulk")]}, ("resident", "3 texts wait, bulk, for 4 s")),
        (
            {"now": OUT, "rules": IDLE_UNLOAD},
            ("unloaded", "idle for 17 min; models unload after 10 min without work"),
        ),
        (
            {"now": IN, "override": Override(residency="resident", by="ann")},
            ("resident", "ann ordered it to stay loaded"),
        ),
        (
            {"now": OUT, "override": Override(residency="unloaded", by="ann"), "loaded_s": 100},
            ("unloaded", "idle for 100 s; ann ordered it to unload"),
        ),
        (
            {"now": OUT, "override": Override(residency="unloaded", by="ann"), "lanes": [lane("standard")]},
            ("resident", "3 texts wait, standard, for 4 s"),
        ),
        (
            {"now": OUT, "override": Override(residency="unloaded", by="ann", expires_at=OUT)},
            ("resident", "no window"),
        ),
        (
            {"now": IN, "override": Override(residency="resident")},
            ("resident", "an operator ordered it to stay loaded"),
        ),
        ({"now": IN, "loaded_s": None}, ("unloaded", f"idle for 17 min; {WINDOW}")),
        (
            {"now": PREWARM, "state": "unloaded", "rules": IDLE_UNLOAD},
            ("unloaded", "models unload after 10 min without work"),
        ),
        (
            {"now": OUT, "state": "unloaded", "rules": IDLE_UNLOAD},
            ("unloaded", "models unload after 10 min without work"),
        ),
        (
            {"now": OUT, "idle_s": 590, "rules": IDLE_UNLOAD},
            ("resident", "models unload after 10 min without work, in 10 s if nothing comes"),
        ),
        (
            {"now": OUT, "state": "unloaded", "rules": IDLE_UNLOAD, "lanes": [lane("bulk")]},
            ("resident", "3 texts wait, bulk, for 4 s"),
        ),
        ({"now": IN, "state": "failed"}, (None, "the device is failed")),
        ({"now": IN, "state": "starting"}, (None, "the device is starting")),
        ({"now": IN, "state": "gone"}, (None, "the device is gone")),
    ],
)
def test_residency_is_wanted_as_the_clock_the_work_and_people_say(
    case: dict[str, Any], wanted: tuple[str | None, str]
) -> None:
    assert residency(**case) == wanted


@pytest.mark.parametrize(
    ("day", "time", "wanted"),
    [
        # At 01:00 UTC it becomes 03:00 in Berlin, so that there the window is the two hours from then on.
        ("2026-03-29", "00:59", ("resident", "no window")),
        ("2026-03-29", "01:00", ("unloaded", "idle for 17 min; window 02:00-05:00 Europe/Berlin ends in 2 h 0 min")),
        ("2026-03-29", "02:57", ("unloaded", "idle for 17 min; window 02:00-05:00 Europe/Berlin ends in 3 min")),
        ("2026-03-29", "02:58", ("resident", "the window ends soon")),
        ("2026-03-29", "03:00", ("resident", "no window")),
        # At 01:00 UTC it becomes 02:00 again, so that it is four hours.
        ("2026-10-25", "00:00", ("unloaded", "idle for 17 min; window 02:00-05:00 Europe/Berlin ends in 4 h 0 min")),
        ("2026-10-25", "01:30", ("unloaded", "idle for 17 min; window 02:00-05:00 Europe/Berlin ends in 2 h 30 min")),
        ("2026-10-25", "03:58", ("resident", "the window ends soon")),
        ("2026-10-25", "04:00", ("resident", "no window")),
    ],
)
def test_a_window_lasts_as_the_clock_on_the_wall_says_when_it_jumps(
    day: str, time: str, wanted: tuple[str, str]
) -> None:
    now = datetime.datetime.fromisoformat(f"{day} {time}+00:00").timestamp()
    rules = {"windows": Windows.parse("02:00-05:00 Europe/Berlin")}
    assert residency(now, rules=rules) == wanted


def clocks(now: float, was: Clocks | None, state: str = "idle", **more: Any) -> tuple[str | None, str]:
    override, lanes = more.pop("override", Override()), more.pop("lanes", ())
    rules = Rules(windows=Windows(), **more.pop("rules", {}))
    view = DeviceView(status=status(now, state, **more), override=override, clocks=was)
    want = decide(now, rules, at(now, lanes), [view]).wants["host/cuda:0"]
    return want.clocks, want.clocks_reason


LOW, NORMAL = Clocks(state="low", since=OUT - 10), Clocks(state="normal", since=OUT - 4000)


@pytest.mark.parametrize(
    ("case", "wanted"),
    [
        ({"was": None}, (None, "the scheduler of its own host sets its clocks")),
        ({"was": Clocks(state="unavailable", since=0, reason="no driver")}, (None, "no driver")),
        ({"was": NORMAL}, ("low", "idle for 17 min")),
        ({"was": NORMAL, "state": "unloaded"}, ("low", "idle for 17 min")),
        ({"was": NORMAL, "idle_s": 299}, ("normal", "idle for 5 min of 5 min")),
        ({"was": Clocks(state="normal", since=OUT - 30)}, ("normal", "its clocks became normal 30 s ago")),
        ({"was": LOW}, ("low", "idle for 17 min")),
        # It has a new process, as after unloading; that is no work.
        ({"was": LOW, "state": "unloaded", "idle_s": 20}, ("low", "idle for 20 s")),
        ({"was": LOW, "idle_s": 20}, ("low", "idle for 20 s")),
        # It spoke after they had become low, between two ticks.
        ({"was": LOW, "idle_s": 5}, ("normal", "idle for 5 s of 5 min")),
        ({"was": NORMAL, "state": "unloaded", "idle_s": 20}, ("normal", "idle for 20 s of 5 min")),
        ({"was": NORMAL, "state": "failed", "idle_s": 400}, ("low", "idle for 7 min")),
        ({"was": NORMAL, "state": "gone"}, ("normal", "idle for 0 s of 5 min")),
        (
            {"was": NORMAL, "override": Override(clocks="low", expires_at=OUT), "idle_s": 9},
            ("normal", "idle for 9 s of 5 min"),
        ),
        ({"was": LOW, "state": "unloaded", "loading_s": 2}, ("normal", "it loads its model")),
        ({"was": LOW, "state": "busy"}, ("normal", "the device is busy")),
        ({"was": LOW, "state": "starting"}, ("normal", "the device is starting")),
        ({"was": LOW, "lanes": [lane("bulk")]}, ("normal", "3 texts wait, bulk, for 4 s")),
        ({"was": LOW, "lanes": [lane("bulk")], "state": "failed"}, ("low", "idle for 17 min")),
        ({"was": LOW, "rules": {"idle_clocks_s": 0.0}}, ("normal", "STENTOR_IDLE_CLOCKS_S is 0")),
        (
            {"was": NORMAL, "state": "busy", "override": Override(clocks="low", by="ann")},
            ("low", "ann ordered these clocks"),
        ),
    ],
)
def test_clocks_are_wanted_as_the_work_and_people_say(case: dict[str, Any], wanted: tuple[str | None, str]) -> None:
    assert clocks(OUT, **case) == wanted


@pytest.mark.parametrize(
    ("texts", "fast"),
    [
        # Who has the model comes first, and of those who has normal clocks anyway.
        (1, {"cuda:2"}),
        (2, {"cuda:1", "cuda:2"}),
        (3, {"cuda:0", "cuda:1", "cuda:2"}),
        (9, {"cuda:0", "cuda:1", "cuda:2"}),
    ],
)
def test_no_more_gpus_get_their_clocks_back_than_texts_wait(texts: int, fast: set[str]) -> None:
    def view(number: int, was: Clocks, state: str = "idle", **more: Any) -> DeviceView:
        seen = dataclasses.replace(status(OUT, state), id=f"host/cuda:{number}", **more)
        return DeviceView(status=seen, clocks=was)

    views = [
        view(0, LOW, "unloaded"),
        view(1, LOW),
        view(2, Clocks(state="normal", since=OUT - 5000)),
        view(3, LOW, models=("ann",), model="ann"),
        view(4, LOW, "failed"),
        view(5, Clocks(state="unavailable", since=0, reason="no driver")),
    ]
    wants = decide(OUT, Rules(windows=Windows()), at(OUT, [lane("standard", waiting=texts)]), views).wants
    assert {name.partition("/")[2] for name, want in wants.items() if want.clocks == "normal"} == fast


def test_bulks_are_held_in_a_window_and_not_in_its_last_minutes() -> None:
    rules = Rules(windows=NIGHT)
    plan = decide(IN, rules, [], [])
    assert (plan.held, plan.held_reason) == (frozenset({"bulk"}), f"{WINDOW}; bulks wait for it to end")
    assert decide(PREWARM, rules, [], []) == Plan(wants={}, held_reason="the window ends soon")
    assert decide(OUT, rules, [], []) == Plan(wants={}, held_reason="no window")
    run = Rules(windows=NIGHT, window_bulk="run")
    assert decide(IN, run, [], []) == Plan(wants={}, held_reason=f"{WINDOW}; bulks run")


def test_a_window_that_never_ends_holds_no_bulk_for_ever() -> None:
    always = Rules(windows=Windows.parse("00:00-24:00"))
    held_reason = "window 00:00-24:00 never ends; bulks run"
    assert decide(IN, always, [], []) == Plan(wants={}, held_reason=held_reason)


def test_the_rules_are_those_that_were_set() -> None:
    made = Rules.of(
        Settings.from_environ(
            {
                "STENTOR_UNLOAD_WINDOWS": "02:00-05:00 UTC",
                "STENTOR_WINDOW_BULK": "run",
                "STENTOR_UNLOAD_GRACE_S": "1",
                "STENTOR_IDLE_UNLOAD_S": "2",
                "STENTOR_PREWARM_S": "3",
                "STENTOR_IDLE_CLOCKS_S": "4",
                "STENTOR_DWELL_S": "5",
            }
        )
    )
    assert made == Rules(
        windows=NIGHT,
        window_bulk="run",
        unload_grace_s=1,
        idle_unload_s=2,
        prewarm_s=3,
        idle_clocks_s=4,
        dwell_s=5,
    )
    assert Rules.of(Settings()) == Rules(windows=Windows())


STATES = ("starting", "idle", "busy", "unloaded", "failed", "gone")
moments = st.floats(MIDNIGHT, MIDNIGHT + 86_400)
ages = st.floats(0, 20_000)
some_lanes = st.lists(
    st.builds(
        lane,
        priority=st.sampled_from(PRIORITIES),
        waiting=st.integers(1, 50),
        wait_s=ages,
        model=st.sampled_from(("joe", "ann")),
    ),
    max_size=4,
)
some_rules = st.builds(
    Rules,
    windows=st.sampled_from(
        (Windows(), NIGHT, Windows.parse("00:00-24:00"), Windows.parse("23:30-00:30 Europe/Berlin"))
    ),
    window_bulk=st.sampled_from(("hold", "run")),
    unload_grace_s=st.floats(0, 600),
    idle_unload_s=st.none() | st.floats(1, 600),
    prewarm_s=st.floats(0, 600),
    idle_clocks_s=st.floats(0, 600),
    dwell_s=st.floats(0, 600),
)
overrides = st.builds(
    Override,
    residency=st.sampled_from(("auto", "resident", "unloaded")),
    clocks=st.sampled_from(("auto", "low", "normal")),
    by=st.just("ann"),
)


@settings(max_examples=400, deadline=None)
@given(
    moments, some_rules, some_lanes, st.sampled_from(STATES), ages, ages, overrides, st.sampled_from(("low", "normal"))
)
def test_nothing_leaves_and_nothing_slows_while_there_is_work(
    now: float,
    rules: Rules,
    lanes: list[LaneState],
    state: str,
    idle_s: float,
    loaded_s: float,
    override: Override,
    was: str,
) -> None:
    seen = status(now, state, idle_s=idle_s, loaded_s=loaded_s)
    view = DeviceView(status=seen, override=override, clocks=Clocks(state=was, since=now - loaded_s))
    plan = decide(now, rules, at(now, lanes), [view])
    want = plan.wants[seen.id]
    assert want.residency_reason
    assert want.clocks_reason
    assert plan.held <= {"bulk"}
    claimable = any(one.lane.model == "joe" and one.lane.priority not in plan.held for one in lanes)
    if claimable or state == "busy":
        assert want.residency != "unloaded"
    if (claimable and state not in {"gone", "failed"}) or state == "busy":
        assert want.clocks == "normal" or override.clocks == "low"
    if want.clocks == "low" and was == "normal" and override.clocks == "auto":
        assert loaded_s >= rules.dwell_s
        assert idle_s >= rules.idle_clocks_s
    if want.residency == "unloaded" and state == "idle" and override.residency == "auto":
        assert loaded_s >= rules.dwell_s

"""The bill's arithmetic: literal days, and identities that hold for all of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.cost.curves import MIN_PASSES
from api.cost.figures import Prices
from api.cost.fitting import determines, non_negative
from api.cost.report import CostReport, report
from stentor.bill import STATES, UNKNOWN, MeterRecord
from stentor.devices.passes import NAMES, combine_sums, sums_of
from stentor.owners.usage import Usage

PRICES = Prices(kwh=0.30, gpu_hour=1.50)
DAY, NEXT = date(2026, 11, 24), date(2026, 11, 25)
GPU, OTHER = "gpu-1/cuda:0", "gpu-1/cuda:1"
#: Watts of the literal day.
POWER = {"busy": 300.0, "idle": 60.0, "idle_low": 30.0, "unloaded": 50.0, "unloaded_low": 20.0, "starting": 100.0}


def of_passes(passes: list[list[int]], *, fixed: float, longest: float, padded: float) -> dict[str, float]:
    """The amounts of passes over rows of these costs that take as long as the curve says."""
    sums: tuple[float, ...] = ()
    for costs in passes:
        p = max(costs) * len(costs)
        took_s = fixed + longest * max(costs) + padded * p
        sums = combine_sums(sums, sums_of(costs, padded_cost=p, took_s=took_s))
    found = {f"sum:m:{name}": value for name, value in zip(NAMES, sums, strict=True)}
    return {**found, "pass_s": found["sum:m:t"], "batches": found["sum:m:n"], "rows": found["sum:m:rows"]}


def pure(seconds: Mapping[str, float], power: Mapping[str, float] = POWER) -> dict[str, float]:
    """The amounts of ticks that each lay in one state."""
    found: dict[str, float] = {"counter_s": sum(seconds.values()), "energy_j": 0.0}
    for state, spent_s in seconds.items():
        found |= {f"s:{state}": spent_s, f"pure_s:{state}": spent_s, f"pure_j:{state}": spent_s * power[state]}
        found["energy_j"] += spent_s * power[state]
    return found


#: Twenty passes of 2, 4, 6, 8 rows: 0.1 s + 0.01 s x longest + 0.001 s x padded.
PASSES = [[10 + n % 5] * (2 + 2 * (n % 4)) for n in range(20)]
SPOKEN = of_passes(PASSES, fixed=0.1, longest=0.01, padded=0.001)
BUSY_S = SPOKEN["pass_s"]
#: What its 100 rows would have taken one by one, less that.
SAVED_S = sum(0.1 + 0.011 * cost for costs in PASSES for cost in costs) - BUSY_S
SECONDS = {
    "busy": BUSY_S,
    "idle": 3600.0,
    "idle_low": 7200.0,
    "unloaded": 300.0,
    "unloaded_low": 3600.0,
    "starting": 10.0,
}
WHOLE_DAY = {**pure(SECONDS), **SPOKEN, "audio_s": 1800.0}
USAGE = {
    "acme": [
        Usage(date=DAY, key_id="a", key_name="shop", jobs=9, characters=20_000, audio_s=1500.0, device_s=3.0),
        Usage(date=NEXT, key_id="a", key_name="shop", characters=5000),
    ],
    "zeta": [Usage(date=DAY, key_id="z", key_name="", jobs=1, characters=5000, audio_s=300.0, device_s=1.0)],
}


def bill(
    *records: MeterRecord,
    usage: Mapping[str, list[Usage]] = USAGE,
    prices: Prices = PRICES,
) -> CostReport:
    return report(records, usage, since=DAY, until=NEXT, prices=prices)


def a_record(amounts: Mapping[str, float], device: str = GPU, day: date = DAY) -> MeterRecord:
    return MeterRecord(device=device, date=day, amounts=amounts)


def test_a_day_costs_what_its_states_took() -> None:
    total = bill(a_record(WHOLE_DAY)).total
    joules = BUSY_S * 300 + 3600 * 60 + 7200 * 30 + 300 * 50 + 3600 * 20 + 10 * 100
    assert total.energy_j == pytest.approx(joules)
    assert total.device_s == pytest.approx(14_710 + BUSY_S)
    assert total.energy_from == "counter"
    assert total.energy_by_state_j["idle_low"] == pytest.approx(216_000)
    assert total.j_per_audio_hour == pytest.approx(2 * joules)
    assert total.characters == 30_000
    assert total.j_per_million_characters == pytest.approx(joules / 0.03)
    assert total.energy_money == pytest.approx(joules / 3.6e6 * 0.30)
    assert total.device_money == pytest.approx((14_710 + BUSY_S) / 3600 * 1.50)
    assert total.money == pytest.approx((total.energy_money or 0) + (total.device_money or 0))
    assert total.reasons == {}


def test_each_trick_saved_what_its_formula_says() -> None:
    (device,) = bill(a_record(WHOLE_DAY)).devices
    saved = device.figures.savings
    assert device.watts.by_state == pytest.approx(POWER)
    assert saved.clocks.energy_j == pytest.approx(7200 * (60 - 30) + 3600 * (50 - 20))
    assert saved.unloading.energy_j == pytest.approx((300 + 3600) * (60 - 50) + 10 * (60 - 100))
    assert saved.unloading.device_s == 3900
    assert saved.merging.device_s == pytest.approx(SAVED_S)
    assert saved.merging.energy_j == pytest.approx(SAVED_S * (300 - 60))
    (curve,) = device.curves
    assert (curve.fixed_s, curve.per_longest_s, curve.per_padded_s) == pytest.approx((0.1, 0.01, 0.001))


def test_always_on_is_every_row_alone_and_the_rest_idle() -> None:
    (device,) = bill(a_record(WHOLE_DAY)).devices
    solo_s = BUSY_S + SAVED_S
    assert device.figures.always_on_j == pytest.approx(solo_s * 300 + (device.figures.device_s - solo_s) * 60)


def test_a_device_that_is_unloaded_only_at_low_clocks_is_compared_with_idling_at_low_clocks() -> None:
    """Nobody has seen it unloaded at normal clocks; both orders of the tricks come to the same sum."""
    seconds = {**SECONDS, "unloaded": 0.0}
    (device,) = bill(a_record({**pure(seconds), **SPOKEN})).devices
    saved = device.figures.savings
    assert saved.clocks.energy_j == pytest.approx((7200 + 3600) * (60 - 30))
    assert saved.unloading.energy_j == pytest.approx(3600 * (30 - 20) + 10 * (60 - 100))
    solo_s = BUSY_S + SAVED_S
    assert device.figures.always_on_j == pytest.approx(solo_s * 300 + (device.figures.device_s - solo_s) * 60)


def test_passes_shorter_than_a_tick_are_what_is_left_of_mixed_ticks() -> None:
    mixed = {"s:busy": 25.0, "s:idle": 175.0, "pure_s:idle": 100.0, "pure_j:idle": 6000.0, "counter_s": 200.0}
    mixed |= {"mixed_s:busy": 25.0, "mixed_s:idle": 75.0, "mixed_j": 25 * 300 + 75 * 60}
    mixed["energy_j"] = mixed["mixed_j"] + 6000
    (device,) = bill(a_record(mixed)).devices
    assert device.watts["busy"] == pytest.approx(300)
    assert device.figures.energy_by_state_j["busy"] == pytest.approx(7500)
    assert device.figures.energy_by_state_j["idle"] == pytest.approx(175 * 60)


def test_a_moment_of_low_clocks_that_was_no_whole_tick_leaves_the_rest_known() -> None:
    """It counts as idle: a second in four hours."""
    seconds = {state: spent_s for state, spent_s in SECONDS.items() if state not in {"idle_low", "unloaded_low"}}
    moment = {**pure({**seconds, "idle": 14_000.0}), **SPOKEN, "s:idle_low": 0.5}
    moment |= {"mixed_s:idle_low": 0.5, "mixed_s:busy": 0.5, "mixed_j": 0.5 * 60 + 0.5 * 300}
    (device,) = bill(a_record(moment)).devices
    assert device.watts.by_state["idle_low"] is None
    assert device.watts.reasons["idle_low"].endswith("such a short time counts as idle")
    assert device.watts["busy"] == pytest.approx(300)
    assert device.figures.savings.clocks.energy_j == 0
    assert device.figures.savings.merging.energy_j == pytest.approx(SAVED_S * 240)


def test_what_was_never_measured_is_unknown_and_says_why() -> None:
    """A CPU: it speaks, and nobody measures its energy."""
    amounts = {"s:busy": BUSY_S, "s:idle": 1000.0, "s:unloaded": 500.0, "audio_s": 1800.0, **SPOKEN}
    cost = bill(a_record(amounts, device="vm/cpu"))
    (device,) = cost.devices
    figures = device.figures
    assert (figures.energy_j, figures.j_per_audio_hour, figures.energy_money, figures.money) == (None, None, None, None)
    assert figures.device_money == pytest.approx((BUSY_S + 1500) / 3600 * 1.5)
    assert figures.reasons["energy_j"] == "no energy was measured: NVML is missing or does not report it"
    assert set(figures.energy_by_state_j.values()) == {None}
    assert (figures.savings.unloading.energy_j, figures.savings.unloading.device_s) == (None, 500)
    assert figures.savings.unloading.reason == "energy was measured in 0 of 500 s"
    assert figures.savings.merging.energy_j is None
    assert figures.savings.merging.device_s == pytest.approx(SAVED_S)
    assert "no energy was measured on this device" in figures.savings.merging.reason
    assert figures.always_on_j is None
    assert cost.total.energy_j is None
    assert cost.total.reasons["j_per_million_characters"] == "no energy was measured on vm/cpu"


def test_what_was_measured_in_part_is_told_with_how_much_of_it() -> None:
    half = {**WHOLE_DAY, "s:unknown": 14_000.0}
    cost = bill(a_record(half))
    figures = cost.devices[0].figures
    assert figures.energy_j == bill(a_record(WHOLE_DAY)).total.energy_j
    told = f"energy was measured in {14_710 + BUSY_S:,.0f} of {28_710 + BUSY_S:,.0f} s"
    assert figures.reasons == {"energy_j": told}
    assert cost.total.reasons == {"energy_j": f"{GPU}: {told}"}
    assert bill(a_record({**WHOLE_DAY, "s:unknown": 100.0})).total.reasons == {}


def test_beside_a_device_without_energy_the_others_is_told_as_theirs() -> None:
    silent = {"s:idle": 1000.0, "audio_s": 1800.0}
    total = bill(a_record(WHOLE_DAY), a_record(silent, device="vm/cpu")).total
    alone = bill(a_record(WHOLE_DAY)).total
    assert (total.energy_j, total.j_per_audio_hour) == (alone.energy_j, alone.j_per_audio_hour)
    assert total.reasons["energy_j"] == "no energy was measured on vm/cpu"
    assert (total.j_per_million_characters, total.device_s) == (None, alone.device_s + 1000)
    assert total.savings.merging.energy_j == alone.savings.merging.energy_j


@pytest.mark.parametrize(
    ("prices", "known"),
    [
        (Prices(), (False, False, False)),
        (Prices(kwh=0.3), (True, False, True)),
        (Prices(gpu_hour=1.5), (False, True, True)),
        (Prices(kwh=0.0, gpu_hour=0.0), (True, True, True)),
    ],
)
def test_without_a_price_there_is_no_money(prices: Prices, known: tuple[bool, ...]) -> None:
    total = bill(a_record(WHOLE_DAY), prices=prices).total
    assert tuple(money is not None for money in (total.energy_money, total.device_money, total.money)) == known
    assert [name in total.reasons for name in ("energy_money", "device_money", "money")] == [not one for one in known]


@pytest.mark.parametrize(
    ("passes", "saved", "why"),
    [
        ([[10], [20], [30]] * 5, 0.0, ""),
        ([[10, 10], [20]], None, "2 passes are too few for a curve; it needs 10"),
        ([[10, 10]] * 20, None, "its passes were too similar to compute how long one row takes alone"),
        # Rows all alike, passes not: what is fixed and what goes by the longest row are one, and that one is known.
        ([[10] * 2, [10] * 4] * 10, pytest.approx(10 * (1 + 3) * (0.1 + 0.01 * 10)), ""),
    ],
    ids=["no rows merged", "too few passes", "all passes alike", "all rows alike"],
)
def test_what_merging_saved_is_known_only_if_the_passes_tell(
    passes: list[list[int]], saved: float | None, why: str
) -> None:
    amounts = {**WHOLE_DAY, **of_passes(passes, fixed=0.1, longest=0.01, padded=0.001)}
    (device,) = bill(a_record(amounts)).devices
    (curve,) = device.curves
    merging = device.figures.savings.merging
    assert merging.device_s == (saved if saved is None else pytest.approx(saved, abs=1e-6))
    assert curve.reason == why
    assert merging.reason == (f"m: {why}" if why else "")


def test_a_device_that_was_never_idle_cannot_say_what_idling_takes() -> None:
    (device,) = bill(a_record({**pure({"busy": BUSY_S}), **SPOKEN})).devices
    assert device.watts.reasons["idle"] == "the device was never idle"
    assert device.figures.savings.merging.energy_j is None
    assert device.figures.savings.merging.reason == "the power of idle is unknown: the device was never idle"
    assert device.figures.reasons["always_on_j"] == "some savings are unknown"


def test_starting_is_no_price_of_unloading_where_nothing_was_unloaded() -> None:
    (device,) = bill(a_record({**pure({"idle": 100.0, "starting": 10.0})})).devices
    assert device.figures.savings.unloading.energy_j == 0


def test_unknown_time_is_paid_for_and_saves_nothing() -> None:
    gap = {**WHOLE_DAY, "s:unknown": 600.0}
    gap |= {"energy_j": WHOLE_DAY["energy_j"] + 50_000, "counter_s": WHOLE_DAY["counter_s"] + 600}
    with_gap, without = bill(a_record(gap)).total, bill(a_record(WHOLE_DAY)).total
    assert with_gap.energy_j == pytest.approx((without.energy_j or 0) + 50_000)
    assert with_gap.energy_by_state_j[UNKNOWN] == pytest.approx(50_000)
    assert with_gap.savings == without.savings
    assert with_gap.device_s == without.device_s + 600


def test_keys_share_the_money_by_what_they_used_of_devices() -> None:
    cost = bill(a_record(WHOLE_DAY))
    shop, revoked = cost.keys
    assert (shop.owner, shop.key_id, shop.key_name, shop.characters, shop.audio_s) == (
        "acme",
        "a",
        "shop",
        25_000,
        1500,
    )
    assert (revoked.owner, revoked.key_id, revoked.key_name) == ("zeta", "z", "")
    assert (shop.share, revoked.share) == (0.75, 0.25)
    assert shop.money == pytest.approx(0.75 * (cost.total.money or 0))


def test_of_a_period_without_devices_nothing_is_known() -> None:
    cost = bill(usage={})
    assert (cost.total.energy_j, cost.total.money, cost.total.device_s) == (None, None, 0)
    assert cost.total.reasons["energy_j"] == "no device was running"
    assert (cost.days, cost.devices, cost.keys) == ({}, [], [])


def test_of_days_the_savings_are_those_of_the_period() -> None:
    second = {**pure({**SECONDS, "idle_low": 1000.0}), **SPOKEN, "audio_s": 10.0}
    cost = bill(a_record(WHOLE_DAY), a_record(second, day=NEXT), a_record(WHOLE_DAY, device=OTHER))
    assert list(cost.days) == [DAY, NEXT]
    for trick in ("clocks", "unloading", "merging"):
        of_days = [getattr(day.savings, trick).energy_j for day in cost.days.values()]
        assert sum(of_days) == pytest.approx(getattr(cost.total.savings, trick).energy_j)
    assert sum(day.energy_j or 0 for day in cost.days.values()) == pytest.approx(cost.total.energy_j)
    assert sum(day.money or 0 for day in cost.days.values()) == pytest.approx(cost.total.money)
    assert [day.characters for day in cost.days.values()] == [25_000, 5000]


# --- identities

SPANS = st.floats(1, 80_000)
WATTS = st.floats(5, 1000)
RESTS = [state for state in STATES if state not in ("busy", UNKNOWN)]


@st.composite
def days(draw: st.DrawFn) -> dict[str, float]:
    """A day of pure and mixed ticks in which each state draws a power of its own, and passes of a curve of its own."""
    power = {state: draw(WATTS) for state in RESTS} | {"busy": draw(st.floats(1000, 2000))}
    seconds = {state: draw(SPANS) for state in power}
    amounts = pure(seconds, power)
    mixed = {state: draw(st.floats(0, 5000)) for state in power}
    mixed_j = sum(mixed[state] * power[state] for state in mixed)
    for state, spent_s in mixed.items():
        amounts |= {f"mixed_s:{state}": spent_s, f"s:{state}": amounts[f"s:{state}"] + spent_s}
    amounts |= {"mixed_j": mixed_j, "energy_j": amounts["energy_j"] + mixed_j}
    amounts["counter_s"] += sum(mixed.values())
    rows = draw(st.lists(st.lists(st.integers(1, 500), min_size=1, max_size=8), min_size=MIN_PASSES, max_size=30))
    curve = draw(st.tuples(st.floats(0, 1), st.floats(0, 0.1), st.floats(0, 0.01)))
    spoken = of_passes(rows, fixed=curve[0], longest=curve[1], padded=curve[2])
    return {**amounts, **spoken, "audio_s": draw(SPANS)}


@given(days())
def test_what_was_saved_is_always_on_less_what_was_used(amounts: dict[str, float]) -> None:
    (device,) = bill(a_record(amounts)).devices
    figures, saved = device.figures, device.figures.savings
    parts = [saved.clocks.energy_j, saved.unloading.energy_j, saved.merging.energy_j]
    if figures.always_on_j is None:
        # The passes were too similar; nothing else can be unknown here.
        assert parts[2] is None
        assert None not in parts[:2]
        return
    solo_s = figures.seconds["busy"] + (saved.merging.device_s or 0)
    busy_w, idle_w = device.watts["busy"] or 0, device.watts["idle"] or 0
    always_on_j = solo_s * busy_w + (figures.device_s - solo_s) * idle_w
    scale = abs(always_on_j) + sum(abs(part or 0) for part in parts)
    assert figures.always_on_j == pytest.approx(always_on_j, abs=1e-6 * scale)
    assert sum(part or 0 for part in parts) == pytest.approx(always_on_j - (figures.energy_j or 0), abs=1e-6 * scale)


@given(days())
def test_all_energy_is_given_out_to_states_and_no_more(amounts: dict[str, float]) -> None:
    (device,) = bill(a_record(amounts)).devices
    by_state = device.figures.energy_by_state_j
    assert sum(joules or 0 for joules in by_state.values()) == pytest.approx(device.figures.energy_j)
    assert sum(device.figures.seconds.values()) == pytest.approx(device.figures.device_s)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.floats(0.001, 1e6)), min_size=1))
def test_shares_of_keys_add_up_to_the_whole(used: list[tuple[str, str, float]]) -> None:
    usage: dict[str, list[Usage]] = {}
    for owner, key_id, device_s in used:
        usage.setdefault(owner, []).append(Usage(date=DAY, key_id=key_id, key_name="", device_s=device_s))
    cost = bill(a_record(WHOLE_DAY), usage=usage)
    assert sum(key.share or 0 for key in cost.keys) == pytest.approx(1)
    assert sum(key.money or 0 for key in cost.keys) == pytest.approx(cost.total.money)


# --- least squares

CURVES = st.tuples(*[st.one_of(st.just(0.0), st.floats(0.001, 10)) for _ in range(3)])
FEATURES = st.lists(
    st.tuples(st.just(1.0), st.floats(1, 500), st.floats(1, 5000)).map(lambda row: (row[0], row[1], row[1] + row[2])),
    min_size=10,
    max_size=40,
)


def products(features: list[tuple[float, ...]], times_s: list[float]) -> tuple[list[list[float]], list[float]]:
    gram = [[sum(row[i] * row[j] for row in features) for j in range(3)] for i in range(3)]
    return gram, [sum(row[i] * t for row, t in zip(features, times_s, strict=True)) for i in range(3)]


@given(FEATURES, CURVES)
def test_a_curve_is_found_again_where_the_passes_determine_it(
    features: list[tuple[float, ...]], curve: tuple[float, ...]
) -> None:
    gram, moments = products(features, [sum(x * f for x, f in zip(curve, row, strict=True)) for row in features])
    found = non_negative(gram, moments)
    assert min(found) >= 0
    for row in features:
        wanted = sum(x * f for x, f in zip(curve, row, strict=True))
        assert sum(x * f for x, f in zip(found, row, strict=True)) == pytest.approx(wanted, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize(
    ("features", "weights", "answer"),
    [
        ([(1, 10, 20), (1, 20, 30), (1, 30, 90)], (5, 1, 0), True),
        ([(1, 10, 10), (1, 20, 20), (1, 30, 30)], (1, 0, 0), True),
        ([(1, 10, 10), (1, 20, 20), (1, 30, 30)], (0, 1, 0), False),
        ([(1, 10, 10), (1, 20, 20), (1, 30, 30)], (0, 1, 1), True),
        ([(1, 10, 20), (1, 10, 20)], (1, 0, 0), False),
        ([], (1, 0, 0), False),
        ([], (0, 0, 0), True),
    ],
)
def test_what_passes_determine(features: list[tuple[float, ...]], weights: tuple[float, ...], answer: bool) -> None:
    assert determines(products(features, [0.0] * len(features))[0], weights) is answer


@pytest.mark.parametrize(
    ("times_s", "wanted"),
    [
        ([1, 2, 3, 4], (0, 1, 0)),
        # The best straight line falls; none that falls is a curve of passes.
        ([4, 3, 2, 1], (2.5, 0, 0)),
        ([0, 0, 0, 0], (0, 0, 0)),
    ],
)
def test_no_coefficient_is_negative(times_s: list[float], wanted: tuple[float, ...]) -> None:
    features: list[tuple[float, ...]] = [(1, 1, 0), (1, 2, 0), (1, 3, 0), (1, 4, 0)]
    assert non_negative(*products(features, times_s)) == pytest.approx(wanted, abs=1e-9)


def test_a_report_is_made_of_plain_data() -> None:
    assert dataclasses.asdict(bill(a_record(WHOLE_DAY)))["devices"][0]["id"] == GPU

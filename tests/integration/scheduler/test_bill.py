"""The meter and the bill's records, on a real Redis."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, date, datetime

import pytest
import redis
from pydantic import SecretStr
from structlog.testing import capture_logs

from api.cost.figures import Prices
from api.cost.report import report
from scheduler.bill.meter import FLUSH_EVERY_S, Meter
from scheduler.plan import Clocks
from stentor.bill import ADDED, OVERTAKEN, THERE, BillStore, Charge
from stentor.devices.registry import DeviceState
from stentor.errors import RedisUnavailable
from stentor.redis import keys
from stentor.redis.client import connect
from stentor.settings import Settings
from tests.support.work.metering import GPU, Metered, a_reading, seconds

DAY = date(2026, 11, 24)
#: Ten in the morning of that day.
AT = datetime(2026, 11, 24, 10, tzinfo=UTC).timestamp()
MIDNIGHT = datetime(2026, 11, 25, tzinfo=UTC).timestamp()


@pytest.fixture
def device(client: redis.Redis, settings: Settings) -> Metered:
    made = Metered(client, settings, at=AT)
    made.tick()
    return made


def amounts(client: redis.Redis, day: date = DAY) -> dict[str, float]:
    """What is on the device's bill of that day."""
    found = [record for record in BillStore(client).days(since=day, until=day) if record.device == "testhost/cuda:0"]
    return dict(found[0].amounts) if found else {}


def charged(device: Metered, day: date = DAY) -> dict[str, float]:
    """The same after all that was counted has been charged."""
    device.meter.flush()
    return amounts(device.client, day)


def test_time_and_energy_go_to_the_state_that_the_device_is_in(device: Metered) -> None:
    device.spend(10, watts=60)
    device.set_clocks("low")
    device.spend(20, watts=30)
    device.turn(DeviceState.UNLOADED, model=None)
    device.spend(5, watts=20)
    device.set_clocks("normal")
    device.spend(4, watts=25)
    device.turn(DeviceState.STARTING)
    device.spend(3, watts=80)
    bill = charged(device)
    assert seconds(bill) == {"idle": 10, "idle_low": 20, "starting": 3, "unloaded": 4, "unloaded_low": 5}
    assert bill["energy_j"] == 10 * 60 + 20 * 30 + 5 * 20 + 4 * 25 + 3 * 80
    assert {state: bill[f"pure_j:{state}"] / bill[f"pure_s:{state}"] for state in seconds(bill)} == {
        "idle": 60, "idle_low": 30, "starting": 80, "unloaded": 25, "unloaded_low": 20,
    }  # fmt: skip


def test_a_long_pass_that_is_told_at_its_end_was_busy_from_its_beginning(device: Metered) -> None:
    device.spend(5, watts=60)
    device.speak([100, 120], took_s=30.4, watts=300)
    device.spend(10, watts=60)
    bill = charged(device)
    assert seconds(bill) == {"busy": 30.4, "idle": pytest.approx(15, abs=0.001)}
    assert bill["pure_j:busy"] / bill["pure_s:busy"] == pytest.approx(300)
    assert bill["pure_j:idle"] / bill["pure_s:idle"] == pytest.approx(60)


def test_while_a_pass_runs_its_time_is_on_no_bill(device: Metered) -> None:
    device.spend(5, watts=60)
    device.turn(DeviceState.BUSY)
    device.spend(20, watts=300)
    assert seconds(charged(device)) == {"idle": 5}


def test_passes_one_after_the_other_leave_no_gap_between_them(device: Metered) -> None:
    device.spend(2.5, watts=60)
    for _ in range(4):
        device.speak([50], took_s=3.2, watts=300, then=DeviceState.BUSY)
    device.turn(DeviceState.IDLE)
    device.spend(5, watts=60)
    bill = charged(device)
    assert seconds(bill) == {"busy": 12.8, "idle": 7.5}
    assert bill["pure_j:busy"] / bill["pure_s:busy"] == pytest.approx(300)
    assert bill["pure_j:idle"] / bill["pure_s:idle"] == pytest.approx(60)


def test_a_short_pass_makes_its_tick_a_mixed_one(device: Metered) -> None:
    device.speak([50], took_s=0.25, watts=300)
    device.spend(0.75, watts=60)
    device.spend(3, watts=60)
    bill = charged(device)
    assert seconds(bill) == {"busy": 0.25, "idle": 3.75}
    assert (bill["mixed_s:busy"], bill["mixed_s:idle"], bill["pure_s:idle"]) == (0.25, 0.75, 3)
    assert bill["mixed_j"] == 0.25 * 300 + 0.75 * 60


def test_work_is_counted_with_the_sums_of_its_passes(device: Metered) -> None:
    device.speak([40, 60], took_s=2, watts=300)
    device.speak([30], took_s=1, watts=300)
    device.spend(1, watts=60)
    bill = charged(device)
    assert (bill["batches"], bill["rows"], bill["cost"], bill["padded_cost"]) == (2, 3, 130, 150)
    assert (bill["audio_s"], bill["pass_s"]) == (13, 3)
    assert (bill["sum:m:n"], bill["sum:m:l"], bill["sum:m:lt"]) == (2, 90, 60 * 2 + 30)


def test_a_process_that_took_anothers_place_counts_from_nought(device: Metered) -> None:
    device.speak([40], took_s=2, watts=300)
    device.spend(1, watts=60)
    device.status = dataclasses.replace(
        device.status,
        pid=2,
        started_at=device.now,
        state=DeviceState.IDLE,
        state_at=device.now,
        batches=1,
        busy_s=0.5,
        audio_s=3.0,
    )
    device.spend(1, watts=60)
    bill = charged(device)
    assert (bill["batches"], bill["audio_s"], bill["pass_s"]) == (2, 7, 2.5)


def test_what_a_process_did_that_died_in_a_pass_is_unknown(device: Metered) -> None:
    device.turn(DeviceState.BUSY)
    device.spend(8, watts=300)
    device.status = dataclasses.replace(
        device.status, pid=2, started_at=device.now, state=DeviceState.STARTING, state_at=device.now, model=None
    )
    device.spend(2, watts=80)
    bill = charged(device)
    assert seconds(bill) == {"starting": 2, "unknown": 8}
    assert bill["energy_j"] == 8 * 300 + 2 * 80


def test_a_woken_device_is_starting_until_it_has_spoken(device: Metered) -> None:
    device.turn(DeviceState.UNLOADED, model=None, spoke_at=AT)
    device.spend(10, watts=25)
    device.turn(DeviceState.BUSY)
    device.spend(6, watts=80)
    device.speak([50], took_s=2, watts=300)
    device.turn(DeviceState.IDLE, model="m")
    device.spend(3, watts=60)
    assert seconds(charged(device)) == {"busy": 2, "idle": 3, "starting": 6, "unloaded": 10}


def test_a_model_that_is_loaded_before_its_text_comes_is_starting(device: Metered) -> None:
    """So it is before a window ends: the device is still called unloaded."""
    device.turn(DeviceState.UNLOADED, model=None)
    device.spend(10, watts=25)
    device.turn(DeviceState.UNLOADED, loading_at=device.now)
    device.spend(6.5, watts=80)
    device.turn(DeviceState.IDLE, model="m", loading_at=None, loaded_at=device.now)
    device.spend(3.5, watts=60)
    assert seconds(charged(device)) == {"idle": 3.5, "starting": 6.5, "unloaded": 10}


def test_a_gap_is_time_of_which_nobody_knows(device: Metered) -> None:
    device.spend(10, watts=60)
    device.spend(100, watts=70, tick_s=100)
    device.spend(10, watts=60)
    bill = charged(device)
    assert seconds(bill) == {"idle": 20, "unknown": 100}
    assert bill["energy_j"] == 20 * 60 + 100 * 70
    assert bill["pure_j:idle"] == 20 * 60


def test_a_scheduler_that_starts_anew_counts_from_where_the_last_one_was(device: Metered) -> None:
    device.spend(10, watts=60)
    charged(device)
    device.now += 4
    device.energy_j = (device.energy_j or 0) + 4 * 60
    device.meter = Meter(device.client, device.settings)
    device.tick()
    device.spend(6, watts=60)
    bill = charged(device)
    assert seconds(bill) == {"idle": 20}
    assert bill["energy_j"] == 20 * 60


def test_a_scheduler_that_starts_anew_in_a_pass_knows_when_it_began(device: Metered) -> None:
    device.spend(5, watts=60)
    device.turn(DeviceState.BUSY)
    device.spend(10, watts=300)
    charged(device)
    device.meter = Meter(device.client, device.settings)
    device.tick()
    began = device.status.state_at
    device.speak([50], took_s=6, watts=300)
    device.status = dataclasses.replace(device.status, busy_s=16.0)
    device.spend(5, watts=60)
    assert began == AT + 5
    bill = charged(device)
    assert seconds(bill) == {"busy": 16, "idle": 10}
    assert bill["energy_j"] == 16 * 300 + 10 * 60


def test_after_a_scheduler_was_down_for_long_a_new_process_is_billed_from_its_start(device: Metered) -> None:
    device.spend(10, watts=60)
    charged(device)
    device.now += 3600
    device.energy_j = 5.0
    device.status = dataclasses.replace(
        device.status, pid=2, started_at=device.now - 100, state_at=device.now - 100, busy_s=0.0
    )
    device.meter = Meter(device.client, device.settings)
    device.tick()
    device.spend(10, watts=60)
    bill = charged(device)
    assert seconds(bill) == {"idle": 20, "unknown": 100}
    assert bill["energy_j"] == 20 * 60


def test_a_device_that_is_gone_is_not_billed(device: Metered) -> None:
    device.spend(10, watts=60)
    device.turn(DeviceState.GONE)
    device.spend(50, watts=60)
    device.turn(DeviceState.IDLE)
    device.spend(10, watts=60)
    assert seconds(charged(device)) == {"idle": 19}


def test_devices_of_other_hosts_are_left_to_their_schedulers(client: redis.Redis, settings: Settings) -> None:
    other = Metered(client, settings, at=AT, device="elsewhere/cuda:0")
    other.tick()
    other.spend(20, watts=60)
    other.meter.flush()
    assert BillStore(client).devices() == []


def test_without_nvml_time_is_counted_and_no_energy(device: Metered) -> None:
    device.energy_j = None
    device.status = dataclasses.replace(device.status, pid=3)
    device.tick()
    device.spend(10, watts=60)
    bill = charged(device)
    assert seconds(bill) == {"idle": 10}
    assert not [field for field in bill if field.endswith(("_j", "counter_s"))]


def test_without_a_counter_power_is_sampled(client: redis.Redis, settings: Settings) -> None:
    status = Metered(client, settings, at=AT).status
    meter = Meter(client, settings)
    for second, power_w in enumerate((50.0, 70.0, 70.0)):
        meter.sample(AT + second, [status], {status.id: a_reading(None, power_w)}, {})
    meter.flush()
    bill = amounts(client)
    assert (bill["energy_j"], bill["samples_s"]) == (60 + 70, 2)
    assert "counter_s" not in bill


def test_a_counter_that_begins_anew_takes_nothing_back(client: redis.Redis, settings: Settings) -> None:
    status = Metered(client, settings, at=AT).status
    meter = Meter(client, settings)
    for second, energy_j in enumerate((1000.0, 1060.0, 5.0, 65.0)):
        meter.sample(AT + second, [status], {status.id: a_reading(energy_j)}, {})
    meter.flush()
    bill = amounts(client)
    assert (bill["energy_j"], bill["counter_s"]) == (120, 2)
    assert seconds(bill) == {"idle": 3}


def test_two_devices_on_one_gpu_share_its_energy_and_its_time(client: redis.Redis, settings: Settings) -> None:
    one = Metered(client, settings, at=AT).status
    other = dataclasses.replace(one, id="testhost/cuda:1", pid=2)
    meter = Meter(client, settings)
    for second in range(3):
        readings = {status.id: a_reading(1000.0 + 90 * second, gpu=GPU) for status in (one, other)}
        meter.sample(AT + second, [one, other], readings, {})
    meter.flush()
    found = BillStore(client).days(since=DAY, until=DAY)
    assert [(record.device, record.amounts["energy_j"], record.amounts["shared_s"]) for record in found] == [
        ("testhost/cuda:0", 90, 1),
        ("testhost/cuda:1", 90, 1),
    ]
    total = report(found, {}, since=DAY, until=DAY, prices=Prices(gpu_hour=3600.0)).total
    assert (total.device_s, total.gpu_s, total.device_money) == pytest.approx((4, 2, 2))


def test_a_tick_over_midnight_is_divided(client: redis.Redis, settings: Settings) -> None:
    device = Metered(client, settings, at=MIDNIGHT - 6)
    device.tick()
    device.spend(16, watts=60, tick_s=8)
    before, after = charged(device), amounts(client, date(2026, 11, 25))
    assert (seconds(before), seconds(after)) == ({"idle": 6}, {"idle": 10})
    assert (before["energy_j"], after["energy_j"]) == pytest.approx((360, 600))
    slots = {(record.date, record.slot): seconds(record.amounts) for record in BillStore(client).slots(DAY)}
    assert slots == {(DAY, 143): {"idle": 6}}
    (first,) = BillStore(client).slots(date(2026, 11, 25))
    assert (first.slot, first.amounts["clock_mhz_s"]) == (0, 15_000)
    assert first.amounts["energy_j"] == pytest.approx(600)


def test_a_charge_that_is_sent_twice_is_added_once(client: redis.Redis) -> None:
    charge = Charge(id="one", device="testhost/cuda:0", amounts={(20_781, 60): {"s:idle": 10.0}}, mark="{}")
    store = BillStore(client)
    assert [store.charge(charge), store.charge(charge)] == [ADDED, THERE]
    assert store.charge(dataclasses.replace(charge, id="two", after="one")) == ADDED
    assert amounts(client) == {"s:idle": 20}


def test_of_two_charges_that_go_on_from_the_same_one_the_first_is_added(client: redis.Redis) -> None:
    charge = Charge(id="one", device="testhost/cuda:0", amounts={(20_781, 60): {"s:idle": 10.0}}, mark="{}")
    store = BillStore(client)
    assert store.charge(charge) == ADDED
    assert [store.charge(dataclasses.replace(charge, id=name, after="one")) for name in ("two", "three")] == [
        ADDED, OVERTAKEN,
    ]  # fmt: skip
    assert store.charge(dataclasses.replace(charge, id="four")) == OVERTAKEN
    assert (amounts(client), store.last("testhost/cuda:0")) == ({"s:idle": 20}, ("two", "{}"))


def test_of_two_schedulers_of_one_machine_each_second_is_billed_once(device: Metered) -> None:
    own, other = device.meter, Meter(device.client, device.settings)
    with capture_logs() as events:
        for second in range(1, 121):
            device.meter = own
            device.spend(1, watts=60)
            if second % 17 == 0:
                device.speak([40], took_s=1.0, watts=300)
            own.flush(device.now)
            device.meter = other
            device.tick()
            other.flush(device.now + (3 if second % 2 else 0))
    own.flush()
    device.meter = own
    device.tick()
    own.flush()
    bill = amounts(device.client)
    assert seconds(bill) == {"busy": pytest.approx(7, abs=0.01), "idle": pytest.approx(120, abs=0.01)}
    assert bill["energy_j"] == pytest.approx(120 * 60 + 7 * 300)
    assert bill["batches"] == 7
    assert "charged_by_another" in {event["event"] for event in events}


def test_what_could_not_be_charged_is_charged_later_and_once(device: Metered, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worst moment: Redis has added it, and its answer is lost."""
    device.spend(10, watts=60)
    charge = BillStore.charge

    def answer_is_lost(store: BillStore, wanted: Charge) -> str:
        charge(store, wanted)
        raise RedisUnavailable("the line was cut")

    with monkeypatch.context() as patched:
        patched.setattr(BillStore, "charge", answer_is_lost)
        for _ in range(2):
            with pytest.raises(RedisUnavailable):
                device.meter.flush()
            device.spend(5, watts=60)
    bill = charged(device)
    assert (seconds(bill), bill["energy_j"]) == ({"idle": 20}, 1200)


def test_redis_away_loses_nothing_that_was_counted(device: Metered, settings: Settings) -> None:
    device.spend(10, watts=60)
    away = connect(settings.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:1/0")}), retries=0)
    device.meter._store = BillStore(away)
    with pytest.raises(RedisUnavailable):
        device.meter.flush()
    device.spend(10, watts=60)
    device.meter._store = BillStore(device.client)
    assert seconds(charged(device)) == {"idle": 20}


def test_a_charge_is_due_every_ten_seconds(device: Metered) -> None:
    device.meter.flush(device.now)
    device.spend(5, watts=60)
    device.meter.flush(device.now)
    assert amounts(device.client) == {}
    device.spend(FLUSH_EVERY_S - 5, watts=60)
    device.meter.flush(device.now)
    assert seconds(amounts(device.client)) == {"idle": 10}


def test_bills_expire_and_the_slots_sooner(device: Metered) -> None:
    device.spend(5, watts=60)
    charged(device)
    day = int(AT // 86_400)
    found = {
        name: round(device.client.ttl(name) / 86_400)
        for name in (keys.bill("testhost/cuda:0", day), keys.bill_slots("testhost/cuda:0", day))
    }
    assert list(found.values()) == [400, 35]
    assert device.client.smembers(keys.BILLED) == {"testhost/cuda:0"}


def test_a_clock_that_was_set_back_bills_no_time(device: Metered) -> None:
    device.spend(10, watts=60)
    device.now -= 5
    device.tick()
    device.spend(5, watts=60)
    assert seconds(charged(device)) == {"idle": 15}


def test_a_mark_of_another_release_is_read(device: Metered) -> None:
    device.spend(5, watts=60)
    charged(device)
    mark = keys.meter("testhost/cuda:0")
    device.client.hset(mark, "mark", json.dumps({**json.loads(str(device.client.hget(mark, "mark"))), "later": 1}))
    device.meter = Meter(device.client, device.settings)
    device.tick()
    device.spend(5, watts=60)
    assert seconds(charged(device)) == {"idle": 10}


def test_a_clock_setting_in_a_tick_divides_it(device: Metered) -> None:
    device.clocks = Clocks(state="low", since=AT + 0.25)
    device.spend(1, watts=60)
    bill = charged(device)
    assert seconds(bill) == {"idle": 0.25, "idle_low": 0.75}
    assert (bill["mixed_s:idle"], bill["mixed_j"]) == (0.25, 60)


def test_clocks_that_are_set_in_a_tick_count_from_that_tick_on(device: Metered) -> None:
    device.now, device.energy_j = AT + 1, 1060.0
    device.set_clocks("low")
    device.tick()
    device.spend(1, watts=30)
    bill = charged(device)
    assert seconds(bill) == {"idle": 1, "idle_low": 1}
    assert (bill["pure_j:idle"], bill["pure_j:idle_low"]) == (60, 30)


def test_a_model_that_comes_for_a_text_ends_the_loading_when_it_comes(device: Metered) -> None:
    device.turn(DeviceState.BUSY, model=None)
    device.spend(1, watts=60)
    device.turn(DeviceState.BUSY, model="m", loaded_at=AT + 1.25)
    device.spend(1, watts=60)
    device.turn(DeviceState.IDLE)
    device.spend(1, watts=60)
    assert seconds(charged(device)) == {"starting": 1.25, "idle": 1.75}

"""The bill: work and energy of each device by day and by ten minutes (UTC), added up by the schedulers' meters.

A record is a flat hash of amounts that are only ever added to. ``<state>`` is one of ``STATES``:

| field                | what it adds up |
|----------------------|-----------------|
| s:<state>            | seconds |
| shared_s             | of those, seconds of the GPU that belong to other devices on it |
| energy_j             | measured joules in all states |
| counter_s, samples_s | seconds with known energy, from the GPU's counter and from samples of its power |
| pure_s:<state>       | of those, seconds of ticks that were in one state throughout, |
| pure_j:<state>       | and their joules |
| mixed_s:<state>      | of those, seconds of ticks in which a device was in several states, |
| mixed_j              | and their joules, of all those states together |
| clock_s, clock_mhz_s | seconds with a known clock, and that clock times the seconds |
| audio_s, batches, rows, cost, padded_cost | as in ``stentor.devices.registry.DeviceStatus`` |
| pass_s               | seconds of forward passes, as the device counted them |
| sum:<model>:<name>   | the sums of ``stentor.devices.passes`` |
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Final

import redis

from stentor.days import DAY_S, USAGE_KEPT_S
from stentor.devices.passes import NAMES
from stentor.owners.usage import PER_TRIP
from stentor.redis import keys
from stentor.redis.client import redis_errors, script, text_list, text_map

BUSY: Final = "busy"
IDLE: Final = "idle"
IDLE_LOW: Final = "idle_low"
UNLOADED: Final = "unloaded"
UNLOADED_LOW: Final = "unloaded_low"
STARTING: Final = "starting"
UNKNOWN: Final = "unknown"
#: What a device spends its time in: forward passes; a loaded model without work, at normal and at low clocks; no model,
#: at normal and at low clocks; loading, or failing to load; and unknown time.
STATES: Final = (BUSY, IDLE, IDLE_LOW, UNLOADED, UNLOADED_LOW, STARTING, UNKNOWN)

#: Results of a charge: it was added, it had been added before, or another charge that it does not know came first.
ADDED: Final = "added"
THERE: Final = "there"
OVERTAKEN: Final = "overtaken"

#: A slot of a day, in seconds: 144 of them make a day.
SLOT_S: Final = 600
#: How long slots are kept, in days. Whole days are kept for ``USAGE_KEPT_DAYS``.
SLOTS_KEPT_DAYS: Final = 35
#: Fields that are also kept by slot: those that a picture of a day shows.
SLOT_FIELDS: Final = frozenset(
    {*(f"s:{state}" for state in STATES), "energy_j", "counter_s", "samples_s", "clock_s", "clock_mhz_s", "audio_s"}
)
_EPOCH = date(1970, 1, 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeterRecord:
    """Work and energy of one device on one day, or in one slot of it."""

    device: str
    date: date
    amounts: Mapping[str, float]
    #: The ten minutes of the day, 0..143; None for the whole day.
    slot: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Charge:
    """An addition to the bill of one device. Sending it twice adds it once."""

    #: No two charges have the same id.
    id: str
    device: str
    #: Id of the charge that this one continues; empty for the first. It is not added if another charge was added since.
    after: str = ""
    #: (day since the epoch, slot) -> amounts to add.
    amounts: Mapping[tuple[int, int], Mapping[str, float]]
    #: Time up to which this charge bills the device, in the meter's terms.
    mark: str


def add_amounts(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    """The sum of two records' amounts."""
    both = dict(one)
    for field, amount in other.items():
        both[field] = both.get(field, 0.0) + amount
    return both


def sums_in(amounts: Mapping[str, float]) -> dict[str, tuple[float, ...]]:
    """Model -> the sums of its passes; see ``stentor.devices.passes``."""
    models = {field[4:].rpartition(":")[0] for field in amounts if field.startswith("sum:")}
    return {
        model: tuple(amounts.get(f"sum:{model}:{name}", 0.0) for name in NAMES) for model in sorted(models) if model
    }


class BillStore:
    """The bill in Redis.

    Raises:
        RedisUnavailable: from every method, when Redis does not answer.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._charge = script(client, "usage/charge")

    def charge(self, charge: Charge) -> str:
        """Add a charge: ``ADDED``, ``THERE`` or ``OVERTAKEN``."""
        parts = [[key, kept_s, _pairs(amounts)] for key, kept_s, amounts in _hashes(charge) if amounts]
        with redis_errors():
            done = self._charge(
                keys=[keys.meter(charge.device), keys.BILLED],
                args=[charge.device, charge.id, charge.mark, USAGE_KEPT_S, charge.after, json.dumps(parts)],
            )
        return str(done)

    def last(self, device_id: str) -> tuple[str, str | None]:
        """The id of the device's last charge, or an empty string, and its mark."""
        with redis_errors():
            found = text_map(self._client.hgetall(keys.meter(device_id)))
        return found.get("charge", ""), found.get("mark")

    def devices(self) -> list[str]:
        """Ids of all devices that were ever billed."""
        with redis_errors():
            return sorted(text_list(self._client.smembers(keys.BILLED)))

    def days(self, *, since: date, until: date) -> list[MeterRecord]:
        """Records of all devices by day, from ``since`` to ``until``, both included, without empty days."""
        days = [since + timedelta(days=number) for number in range((until - since).days + 1)]
        wanted = [(device, day) for device in self.devices() for day in days]
        names = [keys.bill(device, _number(day)) for device, day in wanted]
        found = [_numbers(fields) for fields in self._read_hashes(names)]
        return [
            MeterRecord(device=device, date=day, amounts=amounts)
            for (device, day), amounts in zip(wanted, found, strict=True)
            if amounts
        ]

    def slots(self, day: date) -> list[MeterRecord]:
        """Records of all devices by ten minutes of a day, without empty slots."""
        devices = self.devices()
        names = [keys.bill_slots(device, _number(day)) for device in devices]
        return [
            MeterRecord(device=device, date=day, slot=slot, amounts=amounts)
            for device, fields in zip(devices, self._read_hashes(names), strict=True)
            for slot, amounts in sorted(_by_slot(_numbers(fields)).items())
        ]

    def _read_hashes(self, names: Sequence[str]) -> Iterator[dict[str, str]]:
        for start in range(0, len(names), PER_TRIP):
            pipe = self._client.pipeline(transaction=False)
            for name in names[start : start + PER_TRIP]:
                pipe.hgetall(name)
            with redis_errors():
                answers = pipe.execute()
            yield from map(text_map, answers)


def _hashes(charge: Charge) -> Iterator[tuple[str, int, Mapping[str, float]]]:
    """The hashes that a charge adds to: key, seconds to keep it, and amounts to add."""
    days: dict[int, dict[str, float]] = {}
    slots: dict[int, dict[str, float]] = {}
    for (day, slot), amounts in charge.amounts.items():
        days[day] = add_amounts(days.get(day, {}), amounts)
        kept = {f"{slot}:{field}": amount for field, amount in amounts.items() if field in SLOT_FIELDS}
        slots[day] = add_amounts(slots.get(day, {}), kept)
    for day, amounts in days.items():
        yield keys.bill(charge.device, day), USAGE_KEPT_S, amounts
        yield keys.bill_slots(charge.device, day), SLOTS_KEPT_DAYS * DAY_S, slots[day]


def _pairs(amounts: Mapping[str, float]) -> list[str]:
    """Name, amount, name, amount; as text, because Lua would round numbers to 14 digits."""
    return [part for field, amount in amounts.items() if amount for part in (field, repr(float(amount)))]


def _by_slot(amounts: Mapping[str, float]) -> dict[int, dict[str, float]]:
    slots: dict[int, dict[str, float]] = {}
    for field, amount in amounts.items():
        slot, _, name = field.partition(":")
        slots.setdefault(int(slot), {})[name] = amount
    return slots


def _numbers(fields: Mapping[str, str]) -> dict[str, float]:
    return {field: float(amount) for field, amount in fields.items()}


def _number(day: date) -> int:
    return (day - _EPOCH).days

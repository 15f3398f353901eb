"""How long a tick of the scheduler takes when very much waits: 10,000 lanes and 1,000 devices.

Run with ``python -m tests.bench.tick [ROUNDS]``. A real Valkey of its own; every lane holds texts, in every tenth some
are claimed. Before each look every device reports anew, as devices do that speak, and a fifth of the lanes get a text,
as if each device had drawn from two. The last part is a tick that finds no lane as it was.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis

from scheduler import plan, policy
from scheduler.metrics.gathering import Gatherer
from scheduler.ticks import Scheduler, collect_garbage_later
from stentor.devices.overrides import OverrideStore
from stentor.devices.registry import SIZE_CLASSES, TIME_CLASSES_S, DeviceRegistry, DeviceState, DeviceStatus
from stentor.jobs.job import PRIORITIES
from stentor.jobs.lanes import Lane
from stentor.jobs.store import Backlog
from stentor.redis import keys
from stentor.redis.client import connect, script
from stentor.redis.record import to_json
from stentor.settings import Settings
from tests.bench.engine import cpu_name
from tests.support.servers.neighbours import neighbours

LANES, DEVICES, ROUNDS = 10_000, 1_000, 15
#: Texts in each lane, and lanes of each model: three priorities by ten length classes.
DEEP, LANES_OF_A_MODEL = 5, 30
#: Lanes that get a text between two looks.
CHANGING = 2_000
#: Devices that a person has given an override.
OVERRIDDEN = 20
#: What the issue wants of the whole.
WANTED_MS = 100.0


def run(rounds: int = ROUNDS) -> dict[str, Any]:
    """Medians of the parts of a tick, in ms."""
    with (
        tempfile.TemporaryDirectory(prefix="stentor-tick-") as folder,
        neighbours(Path(folder)) as near,
    ):
        settings = Settings.from_environ(
            {**near.environ, "STENTOR_HOST": "gpu-host-000", "STENTOR_METRICS_BIND": "127.0.0.1:1"}
        )
        client = connect(settings)
        # What is measured is reading: that each line put in waits for the disk would only make the bench longer.
        client.config_set("appendonly", "no")
        bench = _Bench(client, settings)
        bench.fill()
        bench.change(LANES)
        rows = {name: [bench.timed(part) for _ in range(rounds)] for name, part in bench.parts().items()}
        rows["the same, all lanes new"] = [bench.timed(bench.tick, changing=LANES) for _ in range(rounds)]
        inside_ms = bench.inside_ms()
        client.close()
    return {
        "cpu": cpu_name(),
        "lanes": LANES,
        "devices": DEVICES,
        "changing": CHANGING,
        "parts_ms": {name: statistics.median(took_ms) for name, took_ms in rows.items()},
        "least_ms": {name: min(took_ms) for name, took_ms in rows.items()},
        "worst_ms": {name: max(took_ms) for name, took_ms in rows.items()},
        "lanes_inside_ms": inside_ms,
    }


#: Key of a set of lanes that have just changed.
_CHANGED = "bench:changed"


class _Bench:
    def __init__(self, client: redis.Redis, settings: Settings) -> None:
        self._client = client
        self._settings = settings
        self._backlog = Backlog(client, lease_s=settings.lease_s)
        self._registry = DeviceRegistry(client, lease_s=settings.lease_s)
        self._overrides = OverrideStore(client)
        self._scheduler = Scheduler(settings)
        self._note = script(client, "lanes/note_all")
        self._reports = 0

    def tick(self) -> None:
        """One tick of the scheduler."""
        self._scheduler.tick(time.time())

    def parts(self) -> dict[str, Callable[[], object]]:
        """The parts of a tick, by name."""
        ids = [_device_id(number) for number in range(DEVICES)]
        return {
            "Backlog.lanes": self._backlog.lanes,
            "DeviceRegistry.list": self._registry.list,
            "OverrideStore.of": lambda: self._overrides.of(ids),
            "policy.decide": self._decision(),
            "Gatherer.gather": lambda: Gatherer(self._client).gather(time.time()),
            "Scheduler.tick": self.tick,
        }

    def _decision(self) -> Callable[[], object]:
        """The policy's part alone, with what the parts before it have read."""
        rules, lanes = plan.Rules.of(self._settings), self._backlog.lanes()
        views = [plan.DeviceView(status=status) for status in self._registry.list()]
        return lambda: policy.decide(time.time(), rules, lanes, views)

    def timed(self, part: Callable[[], object], *, changing: int = CHANGING) -> float:
        """How long one part takes after all devices have reported anew and so many lanes have changed, in ms."""
        self.change(changing)
        # As in the scheduler, which lets Python look for garbage between two ticks.
        with collect_garbage_later():
            began = time.perf_counter()
            part()
            return (time.perf_counter() - began) * 1000

    def fill(self) -> None:
        """Texts in all lanes, devices, and some overrides."""
        for first in range(0, LANES, 1000):
            pipe = self._client.pipeline(transaction=False)
            for number in range(first, first + 1000):
                key = _lane(number).key
                pipe.sadd(keys.LANES, key)
                pipe.xgroup_create(key, keys.GROUP, "0", mkstream=True)
                for text in range(DEEP):
                    pipe.xadd(key, {"job": f"job_{number}_{text}"})
                if number % 10 == 0:
                    pipe.xreadgroup(keys.GROUP, _device_id(number % DEVICES), {key: ">"}, count=2)
            pipe.execute()
        for number in range(OVERRIDDEN):
            self._overrides.put(_device_id(number), clocks="normal", by="bench")

    def change(self, lanes: int) -> None:
        """Have all devices report anew, and put a text into so many lanes."""
        self._reports += 1
        changing = [_lane(number * LANES // lanes + self._reports % (LANES // lanes)).key for number in range(lanes)]
        pipe = self._client.pipeline(transaction=False)
        pipe.delete(_CHANGED)
        pipe.sadd(_CHANGED, *changing)
        for key in changing:
            pipe.xadd(key, {"job": f"job_more_{self._reports}"})
        self._note(keys=[_CHANGED, keys.BACKLOG], args=[keys.GROUP], client=pipe)
        for number in range(DEVICES):
            status = _status(number, self._reports)
            pipe.hset(keys.device(status.id), mapping={"seen_at": status.seen_at, "report": to_json(status)})
            pipe.sadd(keys.DEVICES, status.id)
        pipe.execute()

    def inside_ms(self) -> float:
        """How long Redis itself takes for a look at all lanes, and nobody else is served."""
        before_ms = self._busy_ms()
        for _ in range(ROUNDS):
            self._backlog.lanes()
        return (self._busy_ms() - before_ms) / ROUNDS

    def _busy_ms(self) -> float:
        """How long Redis has been at the commands that a look at all lanes sends."""
        stats = self._client.info("commandstats")
        return sum(int(stats[f"cmdstat_{name}"]["usec"]) for name in ("smembers", "hvals", "evalsha")) / 1000


def _lane(number: int) -> Lane:
    model, rest = divmod(number, LANES_OF_A_MODEL)
    return Lane(model=f"voice-{model}-medium", priority=PRIORITIES[rest % 3], length=rest // 3)


def _device_id(number: int) -> str:
    return f"gpu-host-{number // 8:03}/cuda:{number % 8}"


def _status(number: int, reports: int) -> DeviceStatus:
    now = time.time()
    model = f"voice-{number % 333}-medium"
    return DeviceStatus(
        id=_device_id(number),
        pid=1000 + number,
        state=DeviceState.BUSY,
        models=tuple(f"voice-{(number + more) % 333}-medium" for more in range(4)),
        model=model,
        started_at=now - 5000,
        seen_at=now,
        state_at=now - 3,
        loaded_at=now - 4990,
        load_s=3.25,
        spoke_at=now - 0.5,
        gpu=f"GPU-{number:08d}-1111-2222-3333-444455556666",
        batches=1000 + reports,
        rows=24_000 + reports * 24,
        cost=712_345.0 + reports,
        padded_cost=798_765.5 + reports,
        sizes=tuple(range(100, 100 + len(SIZE_CLASSES) + 1)),
        times=tuple(range(200, 200 + len(TIME_CLASSES_S) + 1)),
        sums={model: tuple(1234.567891 * part for part in range(11))},
        audio_s=123_456.789 + reports,
        busy_s=4321.987654 + reports,
    )


def report(result: dict[str, Any]) -> None:
    """Print the figures as a table."""
    print(
        f"\n{result['cpu']}; {result['lanes']:,} lanes with texts, {result['devices']:,} devices that all report anew, "
        f"{result['changing']:,} lanes that change"
    )
    print(f"{'part':<24} {'median, ms':>10} {'least':>8} {'at most':>8}")
    for name, took_ms in result["parts_ms"].items():
        print(f"{name:<24} {took_ms:>10.1f} {result['least_ms'][name]:>8.1f} {result['worst_ms'][name]:>8.1f}")
    print(f"{'lanes, inside Redis':<24} {result['lanes_inside_ms']:>10.1f}")


if __name__ == "__main__":
    report(run(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS))

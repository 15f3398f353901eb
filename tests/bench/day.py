"""A day's bill: what a simulated L4 takes in 24 hours of three shapes of arrivals, and what each trick saves of it.

Run with ``python -m tests.bench.day [SHAPE...]``. Time is virtual and the GPU is a stub below NVIDIA's binding; all
that decides, counts and reckons is real (see ``tests/day/day.py``). The bill is held against the simulation's own
ledger, and each day's picture is drawn into ``bench-output/``. A day takes one to three minutes.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import redis
import structlog

from stentor.redis.client import connect
from stentor.settings import Settings
from tests.day.day import WINDOW, Outcome, run_day
from tests.day.power import L4, LEAST_ALONE_W
from tests.day.shapes import SHAPES
from tests.support.servers.neighbours import neighbours

OUTPUT = Path(__file__).parents[2] / "bench-output"
J_PER_KWH = 3_600_000
NAMES = tuple(shape.__name__ for shape in SHAPES)
TRICKS = ("merging", "unloading", "clocks")


def run(names: Sequence[str] = NAMES) -> dict[str, Any]:
    """The bill of each day, and by how much it is off."""
    if unknown := [name for name in names if name not in NAMES]:
        sys.exit(f"there is no shape {', '.join(unknown)}; there are {', '.join(NAMES)}")
    # 10,000 ticks tell a lot.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    OUTPUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="stentor-day-") as folder, neighbours(Path(folder)) as near:
        settings = Settings.from_environ({**near.environ, "STENTOR_HOST": "gpuhost"})
        client = connect(settings)
        days = [_day(client, settings, name, Path(folder)) for name in names]
        client.close()
    return {"window": WINDOW, "days": days}


def _day(client: redis.Redis, settings: Settings, name: str, folder: Path) -> dict[str, Any]:
    client.flushall()
    shape = SHAPES[NAMES.index(name)]()
    done = run_day(client, settings, shape, folder, picture=OUTPUT / f"day-{name}.png")
    ids = sorted(job.id for job in done.submitted)
    assert sorted(done.settled) == ids, f"{len(ids)} texts were submitted, {len(done.settled)} settled"
    return _figures(done)


def _figures(done: Outcome) -> dict[str, Any]:
    true, told = done.true_j, done.reported_j
    waited_s = done.interactive_s
    alone_kwh = done.replay.alone_s * (L4.busy_w - LEAST_ALONE_W) / J_PER_KWH
    return {
        "shape": done.shape.name,
        "title": done.shape.title,
        "texts": len(done.submitted),
        "passes": done.passes,
        "alone_h": done.replay.alone_s / 3600,
        "hours": {state: seconds / 3600 for state, seconds in sorted(done.seconds.items())},
        "kwh": {name: joules / J_PER_KWH for name, joules in true.items()},
        "always_on_least_kwh": true["always_on"] / J_PER_KWH - alone_kwh,
        "off": {name: _off(told[name], true[name]) for name in true},
        "interactive_s": {
            "median": waited_s[len(waited_s) // 2],
            "p99": waited_s[int(len(waited_s) * 0.99)],
            "longest": waited_s[-1],
        },
    }


def _off(told_j: float | None, true_j: float) -> float | None:
    """By which part of the truth the bill is off; None if it does not know."""
    return None if told_j is None else abs(told_j - true_j) / (true_j or 1.0)


def report(result: dict[str, Any]) -> None:
    """Print the figures as tables."""
    print(f"\none simulated L4 for 24 hours, window {result['window']}")
    print(
        f"{'shape':<11} {'texts':>6} {'passes':>6} {'always-on':>10} {'actual':>7} {'saved':>6} "
        f"{'merging':>8} {'unloading':>9} {'clocks':>7} {f'saved if one row draws {LEAST_ALONE_W:.0f} W':>27}"
    )
    for day in result["days"]:
        kwh = day["kwh"]
        shares = {name: kwh[name] / kwh["always_on"] for name in ("saved", *TRICKS)}
        least = 1 - kwh["used"] / day["always_on_least_kwh"]
        print(
            f"{day['shape']:<11} {day['texts']:>6,} {day['passes']:>6,} {kwh['always_on']:>10.3f} {kwh['used']:>7.3f} "
            f"{shares['saved']:>6.1%} {shares['merging']:>8.1%} {shares['unloading']:>9.1%} {shares['clocks']:>7.1%} "
            f"{least:>27.1%}"
        )
    for day in result["days"]:
        hours = ", ".join(f"{state} {hours:.2f}" for state, hours in day["hours"].items())
        waited = day["interactive_s"]
        off = max((off for off in day["off"].values() if off is not None), default=0.0)
        print(
            f"{day['shape']}: hours {hours}; one by one {day['alone_h']:.2f}; interactive texts waited "
            f"{waited['median']:.1f} s (median), {waited['p99']:.1f} (P99), {waited['longest']:.1f} (longest); "
            f"the bill is off by {off:.1e} at most"
        )


if __name__ == "__main__":
    report(run(sys.argv[1:] or NAMES))

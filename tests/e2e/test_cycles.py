"""A model that leaves and comes back again and again under traffic loses no text; ``tests/bench/cycles.py`` has 200."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Measured
from tests.support.stacks.cycles import Cycles, Traffic, running

pytestmark = pytest.mark.faults

#: A cycle takes about 3 s. A machine that is busy with other things does as many cycles as it can in this time.
MOST_S = 60.0


@pytest.mark.parametrize("count", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_cycles_of_unloading_and_loading_under_traffic_lose_nothing(
    programs: None, tmp_path: Path, measured: Measured, count: int
) -> None:
    with running(tmp_path) as rooms:
        with Traffic(rooms) as traffic:
            cycles = Cycles(rooms, traffic)
            cycles.run(count, most_s=MOST_S)
        jobs = cycles.checked()
        unloads = [event["why"] for event in rooms.events("device_unloads")]
    measured(f"{len(cycles.done)} cycles, {len(jobs)} texts, {len(unloads)} processes left")
    assert len(unloads) >= len(cycles.done) >= 2
    assert set(unloads) == {"person", "policy"}

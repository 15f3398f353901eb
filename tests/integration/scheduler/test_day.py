"""A compressed day against a real Redis: the bill is held against what the simulation knows to be true."""

from __future__ import annotations

import contextlib
from collections import Counter
from pathlib import Path

import matplotlib.colors
import matplotlib.image
import pytest

from scheduler.metrics.gathering import Gatherer
from stentor.cli.day_picture import BARS
from stentor.redis.client import connect
from stentor.settings import Settings
from tests.day.day import Outcome, run_day
from tests.day.shapes import Arrival, Shape

#: Two and a half hours, of which one is a window.
HOURS, WINDOW = 2.5, "00:40-01:40 UTC"
WINDOW_BEGINS_S, WINDOW_ENDS_S = 2400, 6000
#: Models come back, and bulks go on, so long before a window ends, in seconds.
PREWARM_S = 120
#: A device speaks what it has in hand when a window begins: eight passes of 8 s at most.
IN_HAND_S = 100


def texts(count: int, *, words: int) -> list[str]:
    return [f"Order {number} {'is on its way ' * words}to you." for number in range(count)]


SHORT = Shape(
    name="short",
    title="a little of everything",
    arrivals=[
        Arrival(at_s=60, priority="standard", texts=texts(40, words=2)),
        Arrival(at_s=95, priority="interactive", texts=texts(1, words=4)),
        Arrival(at_s=1000, priority="standard", texts=texts(9, words=1)),
        # More than is spoken before the window begins.
        Arrival(at_s=2350, priority="bulk", texts=texts(500, words=6)),
        Arrival(at_s=4000, priority="interactive", texts=texts(2, words=3)),
        Arrival(at_s=7400, priority="interactive", texts=texts(3, words=5)),
    ],
)


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("picture") / "day.png"


@pytest.fixture(scope="module")
def day(settings: Settings, picture: Path) -> Outcome:
    """The day, which takes some seconds and is looked at from several sides."""
    with contextlib.closing(connect(settings)) as client:
        client.flushall()
        done = run_day(client, settings, SHORT, picture.parent, hours=HOURS, window=WINDOW, picture=picture)
        assert Gatherer(client).gather(0.0).outcomes == {"succeeded": 555}
    return done


def test_each_text_of_a_day_is_spoken_once(day: Outcome) -> None:
    assert Counter(day.settled) == {job.id: 1 for job in day.submitted}
    assert len(day.submitted) == 555


def test_a_bulk_waits_for_the_window_to_end_and_interactive_texts_do_not(day: Outcome) -> None:
    began = day.submitted[0].created_at - SHORT.arrivals[0].at_s
    bulk_s = [job.created_at - began + day.waited_s[job.id] for job in day.submitted if job.priority == "bulk"]
    late_s = [at_s for at_s in bulk_s if at_s > WINDOW_BEGINS_S + IN_HAND_S]
    assert len(late_s) > 100
    assert min(late_s) > WINDOW_ENDS_S - PREWARM_S
    # A load takes 20 s.
    assert max(day.interactive_s) < 25


@pytest.mark.parametrize("amount", ["merging", "unloading", "clocks", "saved", "used", "always_on"])
def test_the_bill_tells_the_truth_about_energy(day: Outcome, amount: str) -> None:
    assert day.true_j[amount] > 1000
    assert day.reported_j[amount] == pytest.approx(day.true_j[amount], rel=0.01)


@pytest.mark.parametrize("state", ["busy", "idle", "idle_low", "starting", "unloaded_low"])
def test_the_bill_tells_the_truth_about_time(day: Outcome, state: str) -> None:
    assert day.seconds[state] > 30
    assert day.report.total.seconds[state] == pytest.approx(day.seconds[state], rel=0.01)


def test_the_stub_and_the_ledger_integrate_the_same_energy(day: Outcome) -> None:
    assert day.stub_j == pytest.approx(day.replay.actual_j, rel=1e-6)


def test_the_picture_of_a_day_shows_its_states(day: Outcome, picture: Path) -> None:
    pixels = matplotlib.image.imread(picture)[:, :, :3]
    colours = {states[0]: matplotlib.colors.to_rgb(colour) for states, _, colour in BARS}
    shares = {state: (abs(pixels - colour).max(axis=2) < 0.01).mean() for state, colour in colours.items()}
    # All are in the legend, and nothing was unknown.
    assert all(shares[state] > 1.5 * shares["unknown"] for state in ("busy", "idle", "idle_low", "unloaded_low")), (
        shares
    )

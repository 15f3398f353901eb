"""Draws a day of devices as a PNG file. Needs the extra ``bench`` (matplotlib), which is imported when it draws."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from stentor.bill import SLOT_S

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Width, height per device, height of title and legend (inches); resolution (dots per inch).
WIDTH, HEIGHT, HEAD, DPI = 12.0, 4.2, 0.9, 110
#: States as bars, from the bottom: (states drawn as one, label, colour). Paler means cheaper.
BARS: Final = (
    (("busy",), "busy", "#c0392b"),
    (("starting",), "starting", "#e59866"),
    (("idle",), "idle", "#f4d03f"),
    (("idle_low",), "idle, low clocks", "#a9cce3"),
    (("unloaded",), "unloaded", "#7fb3a4"),
    (("unloaded_low",), "unloaded, low clocks", "#cfe8df"),
    (("unknown",), "unknown", "#bdc3c7"),
)
WATTS, CLOCKS = "#1b2631", "#7d3c98"
HOURS: Final = 24


def draw(slots: Sequence[dict[str, Any]], *, day: date, path: Path) -> None:
    """Draw one day of the devices in ``slots`` (from ``GET /v1/cost``), one device below the other.

    Raises:
        ImportError: matplotlib is not installed.
    """
    # Not pyplot: it looks for a screen, and keeps its figures in memory.
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra that only plots need

    devices = sorted({slot["device"] for slot in slots})
    height = HEAD + HEIGHT * len(devices)
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained", facecolor="white")
    rows = figure.subplots(2 * len(devices), 1, sharex=True, squeeze=False, height_ratios=[1, 1.6] * len(devices))
    for number, device in enumerate(devices):
        own = [slot for slot in slots if slot["device"] == device]
        _draw_power(rows[2 * number][0], own, device)
        _draw_states(rows[2 * number + 1][0], own)
    rows[-1][0].set(xlim=(0, HOURS), xticks=range(0, HOURS + 1, 2), xlabel="hour of the day (UTC)")
    figure.suptitle(f"Devices on {day.isoformat()} (UTC), by ten minutes")
    bars, labels = rows[1][0].get_legend_handles_labels()
    figure.legend(bars, labels, loc="outside lower center", ncols=len(BARS), frameon=False)
    figure.savefig(path, format="png")


def _begin_h(slot: dict[str, Any]) -> float:
    begin = datetime.fromisoformat(slot["begin"])
    return begin.hour + begin.minute / 60


def _draw_power(axes: Axes, slots: Sequence[dict[str, Any]], device: str) -> None:
    """Mean power, and the clock on its own axis, with gaps where nothing was measured."""
    axes.set_title(device, loc="left", fontsize="medium")
    axes.grid(alpha=0.3)
    clocks = axes.twinx()
    for at, name, colour, label in ((axes, "watts", WATTS, "power"), (clocks, "clock_mhz", CLOCKS, "clock")):
        edges, values = _steps(slots, name)
        at.stairs(values, edges, baseline=None, color=colour, label=label, linewidth=1.6, alpha=0.9)
        at.set_ylim(0, 1.15 * max((slot[name] for slot in slots if slot[name]), default=1.0))
        at.tick_params(axis="y", labelcolor=colour)
        if all(slot[name] is None for slot in slots):
            at.set_yticks([])
    axes.set_ylabel("mean power, W", color=WATTS)
    clocks.set_ylabel("SM clock, MHz", color=CLOCKS)
    if all(slot["watts"] is None for slot in slots):
        axes.text(HOURS / 2, 0.5, "no energy was measured", ha="center", va="center", color="#7f8c8d")


def _steps(slots: Sequence[dict[str, Any]], name: str) -> tuple[list[float], list[float]]:
    """The edges of the day's slots, and the value in each slot (NaN without one)."""
    count = HOURS * 3600 // SLOT_S
    values = [float("nan")] * count
    for slot in slots:
        if slot[name] is not None:
            values[round(_begin_h(slot) * 3600 / SLOT_S)] = slot[name]
    return [number * SLOT_S / 3600 for number in range(count + 1)], values


def _draw_states(axes: Axes, slots: Sequence[dict[str, Any]]) -> None:
    """Minutes per state in each ten minutes, stacked."""
    begins, floor = [_begin_h(slot) for slot in slots], [0.0] * len(slots)
    for states, label, colour in BARS:
        minutes = [sum(slot["seconds"][state] for state in states) / 60 for slot in slots]
        axes.bar(begins, minutes, SLOT_S / 3600, bottom=floor, align="edge", color=colour, label=label, linewidth=0)
        floor = [below + more for below, more in zip(floor, minutes, strict=True)]
    axes.set(ylabel="minutes of ten", ylim=(0, SLOT_S / 60), yticks=range(0, SLOT_S // 60 + 1, 2))
    axes.set_axisbelow(True)
    axes.grid(alpha=0.3, axis="x")

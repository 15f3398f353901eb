"""Plots of a bench as PNG files. Needs the extra ``bench`` (matplotlib), which is imported when it draws."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from stentor.bench.observed import BenchRecording
from stentor.bench.summary import batches, stretches
from stentor.jobs.job import JobState

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Size in inches, resolution in dots per inch.
SIZE, DPI = (8.0, 4.5), 120
#: Number of bars in the histogram of latencies.
BINS = 60


def draw(recording: BenchRecording, folder: Path, name: str) -> list[Path]:
    """Write ``<name>-latency.png``, ``<name>-batches.png`` and ``<name>-busy.png``, and return their paths.

    Raises:
        ImportError: matplotlib is not installed.
    """
    kinds: dict[str, Callable[[Axes, BenchRecording], None]] = {"latency": _latency, "batches": _batches, "busy": _busy}
    return [_plot(recording, folder / f"{name}-{kind}.png", f"{name}: {kind}", fill) for kind, fill in kinds.items()]


def _plot(recording: BenchRecording, path: Path, title: str, fill: Callable[[Axes, BenchRecording], None]) -> Path:
    # Not pyplot: it looks for a screen, and keeps its figures in memory.
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra that only plots need

    figure = Figure(figsize=SIZE, dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title)
    axes.grid(alpha=0.3)
    fill(axes, recording)
    figure.savefig(path, format="png")
    return path


def _begin(recording: BenchRecording) -> float:
    return min((one.created_at for one in recording.texts if one.created_at is not None), default=0.0)


def _latency(axes: Axes, recording: BenchRecording) -> None:
    """A histogram of the times until texts were stored, by priority, and the cumulative share."""
    good = [one for one in recording.texts if one.state == JobState.SUCCEEDED and one.created_at and one.settled_at]
    share = axes.twinx()
    share.set(ylim=(0, 1.02), ylabel="share of texts stored by then (line)")
    for priority in sorted({one.priority for one in good}):
        spans = sorted((one.settled_at or 0.0) - (one.created_at or 0.0) for one in good if one.priority == priority)
        axes.hist(spans, bins=BINS, alpha=0.5, label=f"{priority} ({len(spans)})")
        share.plot(spans, [(at + 1) / len(spans) for at in range(len(spans))])
    axes.set(xlabel="from POST to stored, in s", ylabel="texts")
    if good:
        axes.legend()


def _batches(axes: Axes, recording: BenchRecording) -> None:
    """The size of each forward pass at the moment its texts were settled."""
    begin, passes = _begin(recording), batches(recording.texts)
    axes.scatter([one.settled_at - begin for one in passes], [one.size for one in passes], s=12)
    axes.set(xlabel="s since the first text", ylabel="segments in the forward pass")
    axes.set_ylim(bottom=0)


def _busy(axes: Axes, recording: BenchRecording) -> None:
    """The share of the time between two reports of a device that it spent in forward passes."""
    begin, found = _begin(recording), stretches(recording.beats)
    for device in sorted({one.device for one in found}):
        own = [one for one in found if one.device == device]
        # There is also a report before the first text, but the plot begins with the texts.
        edges = [max(0.0, own[0].begin_at - begin), *(max(0.0, one.end_at - begin) for one in own)]
        axes.stairs([one.share for one in own], edges, label=device, linewidth=1.5)
    axes.set(xlabel="s since the first text", ylabel="share of time in forward passes", ylim=(0, 1.05))
    if found:
        axes.legend()

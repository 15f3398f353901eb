"""What pytest prints after a run: the figures that tests measured, and where the time went."""

from __future__ import annotations

from collections import Counter
from typing import Any

#: Files in the table of times; the rest is in the table of folders.
SLOWEST_FILES = 15


def print_summary(out: Any) -> None:
    """Print both sections. With xdist the reports of all processes arrive here."""
    reports = [report for found in out.stats.values() for report in found if hasattr(report, "when")]
    _print_figures(out, reports)
    _print_times(out, reports)


def _print_figures(out: Any, reports: list[Any]) -> None:
    figures = [
        (report.nodeid.rpartition("::")[2], sentence)
        for report in reports
        if report.when == "call"
        for name, sentence in report.user_properties
        if name == "measured"
    ]
    if figures:
        out.section("measured")
    for test, sentence in figures:
        out.write_line(f"{test}: {sentence}")


def _print_times(out: Any, reports: list[Any]) -> None:
    """The seconds of each folder and of the slowest files: set-up, calls and tear-down of their tests."""
    files, folders = Counter[str](), Counter[str]()
    for report in reports:
        path = report.nodeid.partition("::")[0]
        files[path] += report.duration
        folders[path.rpartition("/")[0]] += report.duration
    if not files:
        return
    out.section("where the time went (seconds, summed over all processes)")
    for name, took_s in [*sorted(folders.items()), *files.most_common(SLOWEST_FILES)]:
        out.write_line(f"{took_s:8.1f}  {name}")

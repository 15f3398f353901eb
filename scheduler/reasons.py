"""The words in which the policy gives its reasons: windows and durations for a person."""

from __future__ import annotations

import math

from stentor.devices.windows import Spell


def outside_windows(*, prewarms: bool) -> str:
    """Why models are loaded: no window is open, or it ends soon."""
    return "the window ends soon" if prewarms else "no window"


def within_window(window: Spell, now: float) -> str:
    """The window as it was set, and how long it still lasts."""
    ends = "never ends" if math.isinf(window.end) else f"ends in {duration(window.end - now)}"
    return f"window {window.text} {ends}"


def duration(seconds: float) -> str:
    """A duration for a person: ``45 s``, ``5 min``, ``1 h 40 min``."""
    whole = max(0, round(seconds))
    if whole < 120:
        return f"{whole} s"
    hours, minutes = divmod(round(whole / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"

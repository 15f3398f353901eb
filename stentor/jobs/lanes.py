"""Lanes: the waiting lines of jobs that may share a batch, and how a job finds its own."""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

from stentor.jobs.job import PRIORITIES

#: Texts of one lane differ in length by no more than this factor, so that rows of one batch are of like length.
CLASS_RATIO = 1.5
#: The longest text of class 0, in characters; shorter ones cost about the same to speak.
CLASS_0_CHARS = 16

_PREFIX = "stentor:lane:"


def length_class(text_chars: int) -> int:
    """The length class of a text: 0 up to 16 characters, 1 up to 24, 2 up to 36, and so on by 1.5."""
    if text_chars <= CLASS_0_CHARS:
        return 0
    return math.ceil(round(math.log(text_chars / CLASS_0_CHARS, CLASS_RATIO), 9))


def class_chars(length: int) -> int:
    """The longest text of a length class, in characters."""
    return math.floor(CLASS_0_CHARS * CLASS_RATIO**length + 1e-9)


@dataclasses.dataclass(frozen=True, kw_only=True, order=True, slots=True)
class Lane:
    """One waiting line: one model, one priority, one length class."""

    model: str
    priority: str
    length: int

    @classmethod
    def of(cls, *, model: str, priority: str, text_chars: int) -> Lane:
        """The lane that a text waits in."""
        return cls(model=model, priority=priority, length=length_class(text_chars))

    @property
    def key(self) -> str:
        """The lane's Redis key and name."""
        return f"{_PREFIX}{self.model}:{self.priority}:{self.length}"

    @property
    def rank(self) -> int:
        """0 for the most urgent priority."""
        return PRIORITIES.index(self.priority)

    @classmethod
    def from_key(cls, key: str) -> Lane:
        """The lane of that key."""
        model, priority, length = key.removeprefix(_PREFIX).rsplit(":", 2)
        return cls(model=model, priority=priority, length=int(length))


class LaneState(NamedTuple):
    """What waits in a lane. A tuple: there may be ten thousand of them, each second."""

    lane: Lane
    #: Jobs that no device holds.
    waiting: int
    #: When the oldest of them came, in seconds since the epoch.
    oldest_at: float
    #: Whether no device takes them just now: they wait for a window to end.
    held: bool = False

    def wait_s(self, now: float) -> float:
        """How long the oldest of them has waited, in seconds."""
        return max(0.0, now - self.oldest_at)

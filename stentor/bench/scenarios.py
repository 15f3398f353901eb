"""Scenarios: when which texts are sent. Made beforehand, so that a late answer cannot slow the arrivals (open loop)."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Sequence

#: Most texts of one request; the service allows 1000.
REQUEST_TEXTS = 1000
#: Outcomes that are waited for in a second, at most. At a higher rate every second (third, ...) text is watched, so
#: that watching costs the service little beside the speaking.
WATCHED_PER_S = 10.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """Texts that are sent together."""

    #: Seconds after the begin.
    due_s: float
    texts: int
    priority: str
    #: Whether a connection waits for the outcome, which tells what a client sees; else it is looked up at the end.
    watched: bool = False


def steady(
    rate_per_s: float, seconds: float, *, priority: str = "standard", gaps: random.Random | None = None
) -> list[Request]:
    """One text at a time, evenly; with ``gaps`` at random moments (a Poisson process) of the same rate."""
    every = math.ceil(rate_per_s / WATCHED_PER_S)
    return [
        Request(due_s=due_s, texts=1, priority=priority, watched=number % every == 0)
        for number, due_s in enumerate(_moments(rate_per_s, seconds, gaps))
    ]


def _moments(rate_per_s: float, seconds: float, gaps: random.Random | None) -> list[float]:
    if gaps is None:
        return [number / rate_per_s for number in range(max(1, round(rate_per_s * seconds)))]
    moments = [gaps.expovariate(rate_per_s)]
    while moments[-1] < seconds:
        moments.append(moments[-1] + gaps.expovariate(rate_per_s))
    return moments[:-1] or [0.0]


def backlog(texts: int, *, priority: str = "standard", due_s: float = 0.0) -> list[Request]:
    """All texts at one moment, in as few requests as the service takes."""
    whole, rest = divmod(texts, REQUEST_TEXTS)
    sizes = [REQUEST_TEXTS] * whole + [rest] * bool(rest)
    return [Request(due_s=due_s, texts=size, priority=priority) for size in sizes]


def burst(texts: int, *, times: int, every_s: float) -> list[Request]:
    """So many texts at one moment, and again and again."""
    return [request for number in range(times) for request in backlog(texts, due_s=number * every_s)]


def mixed(rate_per_s: float, seconds: float, *, texts: int, gaps: random.Random | None = None) -> list[Request]:
    """A backlog of bulk texts, and interactive ones at a rate beside it."""
    beside = steady(rate_per_s, seconds, priority="interactive", gaps=gaps)
    # sorted() keeps the backlog first where both are due.
    return sorted([*backlog(texts, priority="bulk"), *beside], key=lambda request: request.due_s)


_NOTICES = (
    "Your parcel arrives on Tuesday before noon",
    "Fresh bread is two for one until Friday",
    "The shop closes at eight o'clock tonight",
    "Order forty one is ready at the counter",
    "Please keep the doors clear of bags",
    "The train to the harbour leaves from platform nine",
    "Till four is now open for everybody",
    "Thank you for waiting, we will be with you soon",
    "The lift near the bakery is out of order",
    "Your appointment has moved to a quarter past three",
    "Would the owner of the blue van please move it",
    "All winter jackets are reduced by thirty percent",
)


def text(rng: random.Random, chars: int) -> str:
    """A text of about ``chars`` characters: 0.7 to 1.3 times as many, made of whole words of notices."""
    wanted = max(2, round(chars * rng.uniform(0.7, 1.3)))
    words: list[str] = []
    length = 0
    while length < wanted:
        for word in rng.choice(_NOTICES).split():
            if length >= wanted:
                break
            words.append(word)
            length += len(word) + 1
    # One word less, if that comes nearer to the wanted length.
    if len(words) > 1 and length - wanted > wanted - (length - len(words[-1]) - 1):
        words.pop()
    return _sentence(words)


def _sentence(words: Sequence[str]) -> str:
    joined = " ".join(words).rstrip(",")
    return f"{joined[0].upper()}{joined[1:]}."

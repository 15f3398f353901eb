"""Scenarios: which texts are sent when, planned before, so late answers do not slow the arrivals (open loop)."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Sequence

#: Maximum number of texts in one request; the service allows 1000.
REQUEST_TEXTS = 1000
#: Maximum number of watched texts per second. At a higher rate only every second (third, ...) text is watched, so
#: that watching costs the service little compared with the speech.
WATCHED_PER_S = 10.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """Texts that are sent together."""

    #: Seconds after the start.
    due_s: float
    texts: int
    priority: str
    #: Whether a connection waits for the outcome, as a client would. Otherwise it is read at the end.
    watched: bool = False


def steady(
    rate_per_s: float, seconds: float, *, priority: str = "standard", gaps: random.Random | None = None
) -> list[Request]:
    """One text at a time, evenly; with ``gaps`` at random times (a Poisson process) with the same rate."""
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
    """All texts at one moment, in as few requests as possible."""
    whole, rest = divmod(texts, REQUEST_TEXTS)
    sizes = [REQUEST_TEXTS] * whole + [rest] * bool(rest)
    return [Request(due_s=due_s, texts=size, priority=priority) for size in sizes]


def burst(texts: int, *, times: int, every_s: float) -> list[Request]:
    """``texts`` texts at one moment, repeated ``times`` times."""
    return [request for number in range(times) for request in backlog(texts, due_s=number * every_s)]


def interactive_over_bulk(
    rate_per_s: float, seconds: float, *, texts: int, gaps: random.Random | None = None
) -> list[Request]:
    """A backlog of bulk texts, and interactive texts at a rate at the same time."""
    interactive = steady(rate_per_s, seconds, priority="interactive", gaps=gaps)
    # sorted() keeps the backlog first where both are due.
    return sorted([*backlog(texts, priority="bulk"), *interactive], key=lambda request: request.due_s)


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
    """A text of 0.7 to 1.3 times ``chars`` characters, made of whole words of notices."""
    wanted = max(2, round(chars * rng.uniform(0.7, 1.3)))
    words: list[str] = []
    length = 0
    while length < wanted:
        for word in rng.choice(_NOTICES).split():
            if length >= wanted:
                break
            words.append(word)
            length += len(word) + 1
    # Drop the last word if that is closer to the wanted length.
    if len(words) > 1 and length - wanted > wanted - (length - len(words[-1]) - 1):
        words.pop()
    return _sentence(words)


def _sentence(words: Sequence[str]) -> str:
    joined = " ".join(words).rstrip(",")
    return f"{joined[0].upper()}{joined[1:]}."

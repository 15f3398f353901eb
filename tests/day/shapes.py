"""Days of arrivals: who sends how many texts when. The same for the same seed.

Hours are those of a clock on the wall of the shop, the studio or the call centre.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Callable, Iterator, Sequence

from stentor.jobs.job import PRIORITIES

HOUR_S = 3600.0
#: Nothing is sent in the last minutes, so that the day ends with all of it spoken.
QUIET_S = 300.0
#: Most characters that are spoken as one row on the simulated L4; one text in here is one row.
LONGEST_CHARS = 150
_INTERACTIVE, _STANDARD, _BULK = PRIORITIES
_WORDS = ("your", "parcel", "is", "with", "the", "driver", "and", "will", "be", "there", "by", "seven", "tomorrow")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arrival:
    """Texts of one request."""

    #: Since the day began, in seconds.
    at_s: float
    priority: str
    texts: Sequence[str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shape:
    """One kind of day."""

    name: str
    #: What it stands for, in words.
    title: str
    arrivals: Sequence[Arrival]

    @property
    def texts(self) -> int:
        """How many texts it has."""
        return sum(len(arrival.texts) for arrival in self.arrivals)


#: Share of a shop's notices that are sent in each hour of the day: few at night, most after work.
NOTICES_BY_HOUR = (2, 1, 0, 0, 0, 1, 4, 12, 25, 40, 50, 55, 55, 50, 48, 48, 52, 62, 85, 110, 120, 95, 55, 30)


def notices(starts_at_h: float = 0, hours: float = 24, *, texts: int = 9000, seed: int = 5) -> Shape:
    """A shop: notices of orders in small clumps, most of them in the evening; one request in ten is a person's."""
    rng = random.Random(seed)
    clump = 6
    per_s = [share / sum(NOTICES_BY_HOUR) * texts / clump / HOUR_S for share in NOTICES_BY_HOUR]
    # Somebody is awake at any hour.
    at_night_per_s = 1 / HOUR_S

    def rate(at_s: float) -> float:
        return per_s[int(at_s / HOUR_S + starts_at_h) % 24] + at_night_per_s

    found = []
    for at_s in _moments(rng, rate, max(per_s) + at_night_per_s, hours):
        person = rng.random() < 0.1
        count = 1 if person else 1 + int(rng.expovariate(1 / (clump - 1)))
        found.append(_arrival(rng, at_s, _INTERACTIVE if person else _STANDARD, count, median_chars=60))
    return Shape(name="notices", title="shop notices, most in the evening", arrivals=found)


def audiobooks(
    starts_at_h: float = 0,
    hours: float = 24,
    *,
    uploads: Sequence[tuple[float, int]] = ((1.25, 8000), (17.5, 6000)),
    seed: int = 6,
) -> Shape:
    """A studio: a book's sentences as one large file late at night, another one in the evening, and now and then a
    person who tries a sentence. ``uploads`` are (hour of the day, rows).
    """
    rng = random.Random(seed)
    found = [
        _arrival(rng, ((hour - starts_at_h) % 24) * HOUR_S, _BULK, rows, median_chars=110, spread=0.25)
        for hour, rows in uploads
    ]

    def rate(at_s: float) -> float:
        return 8 / HOUR_S if 9 <= (at_s / HOUR_S + starts_at_h) % 24 < 21 else 0.25 / HOUR_S

    found += [_arrival(rng, at_s, _INTERACTIVE, 1, median_chars=80) for at_s in _moments(rng, rate, 8 / HOUR_S, hours)]
    return Shape(
        name="audiobooks",
        title="books as bulks, late at night and in the evening",
        arrivals=sorted(found, key=lambda arrival: arrival.at_s),
    )


def calls(starts_at_h: float = 0, hours: float = 24, *, per_hour: float = 7.5, seed: int = 7) -> Shape:
    """A call centre: bursts of a few short interactive texts around the clock."""
    rng = random.Random(seed)
    moments = _moments(rng, lambda _: per_hour / HOUR_S, per_hour / HOUR_S, hours)
    found = [_arrival(rng, at_s, _INTERACTIVE, rng.randint(1, 5), median_chars=40, spread=0.3) for at_s in moments]
    return Shape(name="calls", title="a trickle of interactive bursts, day and night", arrivals=found)


SHAPES: tuple[Callable[..., Shape], ...] = (notices, audiobooks, calls)


def _moments(rng: random.Random, rate: Callable[[float], float], highest: float, hours: float) -> Iterator[float]:
    """When something comes, as a Poisson process of that rate per second: by thinning one of the highest rate."""
    at_s = rng.expovariate(highest)
    while at_s < hours * HOUR_S - QUIET_S:
        if rng.random() * highest < rate(at_s):
            yield at_s
        at_s += rng.expovariate(highest)


def _arrival(
    rng: random.Random, at_s: float, priority: str, count: int, *, median_chars: float, spread: float = 0.5
) -> Arrival:
    return Arrival(at_s=at_s, priority=priority, texts=[_text(rng, median_chars, spread) for _ in range(count)])


def _text(rng: random.Random, median_chars: float, spread: float) -> str:
    """A text whose length is log-normal around the median, as lengths of sentences are, and at most one row's."""
    chars = min(LONGEST_CHARS, max(12, round(rng.lognormvariate(math.log(median_chars), spread))))
    words = " ".join(rng.choices(_WORDS, k=chars))
    return words[: chars - 1].strip().ljust(chars - 1, "e") + "."

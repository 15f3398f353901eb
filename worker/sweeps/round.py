"""One round of all sweeps: what every sweep needs, and the times that they share."""

from __future__ import annotations

import dataclasses
from typing import Final

import redis
from ulid import ULID

from stentor.settings import Settings
from stentor.storage.s3 import Storage
from worker.sweeps.fence import Fence
from worker.sweeps.progress import Progress

#: What entered its lane later than this is left alone, in seconds: it is most likely just on its way.
YOUNG_S: Final = 60.0
#: Jobs, entries or records of a kind that one sweep looks at at most. With 20,000 jobs that wait a sweep takes 0.3 s on
#: two busy cores.
AT_MOST: Final = 5000
#: Those that one call of Redis looks at; it does nothing else for 2 to 5 ms, seen there.
AT_ONCE: Final = 250


@dataclasses.dataclass(frozen=True, kw_only=True)
class Round:
    """What a round of sweeps works with, and when it was begun (seconds since the epoch)."""

    client: redis.Redis
    storage: Storage
    settings: Settings
    fence: Fence
    progress: Progress
    now_s: float


def oldest_id(kind: str, at_s: float) -> str:
    """The id that sorts before all of this kind (``job``, ``bulk``) that were made from then on."""
    return f"{kind}_{str(ULID.from_timestamp(max(0.0, at_s)))[:10]}".lower()

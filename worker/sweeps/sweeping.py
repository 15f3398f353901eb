"""Sweeping: one round of all sweeps, asked for by the leader of the schedulers, by one io worker at a time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from redis.exceptions import ResponseError

from stentor import log
from stentor.errors import UnavailableError
from stentor.redis import keys
from stentor.redis.client import connect, redis_errors
from stentor.settings import Settings
from stentor.storage.s3 import Storage
from worker.bulks.locking import lock
from worker.sweeps.devices import sweep_devices
from worker.sweeps.fence import Fence, SweepOvertaken
from worker.sweeps.lanes import sweep_lanes
from worker.sweeps.objects import sweep_objects
from worker.sweeps.owners import owners
from worker.sweeps.progress import Progress
from worker.sweeps.records import sweep_bulks, sweep_jobs_indexes, sweep_uses, sweep_waiting
from worker.sweeps.round import Round
from worker.sweeps.strays import sweep_jobs, sweep_rows
from worker.sweeps.webhooks import sweep_webhooks

_log = log.get(__name__)


def sweep(settings: Settings, token: int) -> bool:
    """Whether one round was done to its end; not if another is at it, a later leader has come, or Redis is away.

    Every step may be done twice, and none depends on another: a round that ends in the middle is followed by one that
    finds what is left.
    """
    began_s = time.monotonic()
    try:
        with contextlib.closing(connect(settings)) as client:
            fence = Fence(client, token)
            fence.check()
            with redis_errors():
                client.delete(keys.SWEEP_ASKED)
            with lock(client, keys.SWEEP_LOCK) as check:
                if check is None:
                    return False
                sweep_all(
                    Round(
                        client=client,
                        storage=Storage(settings),
                        settings=settings,
                        fence=fence,
                        progress=Progress(client),
                        now_s=time.time(),
                    ),
                    check,
                )
    except (SweepOvertaken, UnavailableError) as exc:
        _log.warning("sweep_ended_early", token=token, reason=str(exc))
        return False
    _log.debug("swept", token=token, took_s=round(time.monotonic() - began_s, 3))
    return True


def sweep_all(round_: Round, check: Callable[[], None]) -> None:
    """Do all sweeps; ``check`` raises when another may be at it.

    Raises:
        SweepOvertaken: a later leader has come.
        LockLost: another process may be at it.
        RedisUnavailable: Redis does not answer.
    """
    known = owners(round_)
    steps: tuple[Callable[[], None], ...] = (
        lambda: sweep_jobs(round_, known),
        lambda: sweep_rows(round_),
        lambda: sweep_lanes(round_),
        lambda: sweep_webhooks(round_, known),
        lambda: sweep_devices(round_),
        lambda: sweep_bulks(round_, known),
        lambda: sweep_uses(round_, known),
        lambda: sweep_waiting(round_, known),
        lambda: sweep_jobs_indexes(round_, known),
        lambda: sweep_objects(round_, known, check),
    )
    for step in steps:
        check()
        try:
            step()
        except SweepOvertaken:
            raise
        except UnavailableError as exc:
            if not isinstance(exc.__cause__, ResponseError):
                raise
            _log.exception("sweep_failed")
        except Exception:  # noqa: BLE001 - the door of one sweep: what is wrong there must not keep the others
            _log.exception("sweep_failed")

"""What is made of a whole bulk after its end: its archive, its joined groups. The bulk's record has the progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from stentor import log
from stentor.bulks.bulk import MADE, Bulk, MakingState
from stentor.bulks.store import BulkStore
from stentor.errors import UnavailableError
from stentor.settings import Settings
from worker.bulks.locking import alone

_log = log.get(__name__)

#: Makes it, and answers with fields of the bulk. Called with the bulk, its store, and a check that raises when another
#: process may be at it.
Make = Callable[[Bulk, BulkStore, Callable[[], None]], Mapping[str, Any]]


def make(
    bulk_id: str, settings: Settings, *, work: str, making: str, wanted: Callable[[Bulk], bool], act: Make
) -> None:
    """Make something of a bulk with ``act``, unless it is made or no longer requested.

    The bulk's field ``<work>_state`` is ``making`` meanwhile, and ``ready`` or ``failed`` afterwards.

    Raises:
        StorageUnavailable, RedisUnavailable: one of them does not answer; try again later.
        LockTaken: another process is at it; look again later, for that process may die.
    """
    field = f"{work}_state"
    with alone(bulk_id, work, settings) as (_, store, check):
        while (bulk := store.find(bulk_id)) and wanted(bulk) and getattr(bulk, field) not in MADE:
            store.put(bulk.id, **{field: making})
            started_s = time.monotonic()
            try:
                made = act(bulk, store, check)
            except UnavailableError:
                raise
            except Exception:  # noqa: BLE001 - the client sees it in the bulk; trying again would end the same
                store.put(bulk.id, **{field: MakingState.FAILED})
                _log.exception("bulk_not_made_whole", bulk_id=bulk.id, work=work)
                return
            now = store.find(bulk.id)
            if now is None or now.retries != bulk.retries:
                # Rows were tried again meanwhile: what was made is not what the bulk is now.
                continue
            store.put(bulk.id, **{field: MakingState.READY}, **made)
            _log.info("bulk_made_whole", bulk_id=bulk.id, work=work, took_s=round(time.monotonic() - started_s, 3))

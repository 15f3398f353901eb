"""Budgets: how much a batch may cost on this device. They adapt to its memory, and Redis remembers them."""

from __future__ import annotations

import redis

from stentor import log
from stentor.redis import keys
from stentor.redis.client import text_map
from worker.engines.contract import EngineInfo

_log = log.get(__name__)

#: A batch of at least this share of the budget that succeeds shows that there is room for a little more.
FULL = 0.8
#: Factor by which the budget then grows: 35 full batches undo a halving, so memory runs out at most that often.
GROWTH = 1.02
#: A change larger than this share is written to Redis, for the next process; smaller ones are not worth a write.
NOTED = 0.1


class Budgets:
    """The budgets of one device, by model, in the engine's unit of cost. Not safe for threads."""

    def __init__(self, client: redis.Redis, device: str) -> None:
        self._client = client
        self._key = keys.budgets(device)
        self._learned: dict[str, float] | None = None
        self._noted: dict[str, float] = {}

    def of(self, info: EngineInfo) -> int:
        """Maximum padded cost of a batch of this model: as learned here, at most the engine's own budget."""
        return max(1, round(min(self._all().get(info.model, info.budget), info.budget)))

    def halve(self, info: EngineInfo, cost: int) -> None:
        """Halve the budget: a batch of this cost did not fit into memory."""
        self._set(info, max(1.0, min(self.of(info), cost) / 2))
        _log.warning("budget_halved", model=info.model, budget=self.of(info))

    def grow(self, info: EngineInfo, cost: int) -> None:
        """Raise the budget a little if a batch of this cost, which fitted into memory, was nearly full."""
        now = self.of(info)
        if now < info.budget and cost >= FULL * now:
            self._set(info, min(float(info.budget), max(now + 1.0, now * GROWTH)))

    def _all(self) -> dict[str, float]:
        if self._learned is None:
            try:
                noted = text_map(self._client.hgetall(self._key))
            except redis.RedisError as exc:
                _log.warning("budgets_not_read", reason=str(exc))
                return {}
            self._learned = {model: float(budget) for model, budget in noted.items()}
            self._noted = dict(self._learned)
        return self._learned

    def _set(self, info: EngineInfo, budget: float) -> None:
        self._all()
        self._learned = {**(self._learned or {}), info.model: budget}
        before = self._noted.get(info.model, info.budget)
        if abs(budget - before) <= NOTED * before and budget < info.budget:
            return
        try:
            self._client.hset(self._key, info.model, str(round(budget)))
        except redis.RedisError as exc:
            _log.warning("budget_not_noted", reason=str(exc))
        else:
            self._noted[info.model] = budget

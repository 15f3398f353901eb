"""The desk: hands out what is due, and notes down how it went. All of it lies in Redis."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterable
from typing import Any, Final

import redis

from stentor import log
from stentor.redis import keys
from stentor.redis.client import script
from stentor.redis.record import from_fields
from stentor.settings import Settings
from stentor.webhooks.store import ATTEMPTS_TAKE_S
from stentor.webhooks.webhook import PENDING, Delivery, Endpoint, Signing, implicit_id
from worker.webhooks.retry_policy import RetryPolicy

_log = log.get(__name__)

#: What a claim is good for, in seconds, unless it is renewed: so soon after a courier was killed, others take over.
LEASE_S: Final = 3.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class DueDelivery:
    """A delivery in hand: where it goes, and what signs it."""

    delivery: Delivery
    #: None for an address that came with a job or bulk, and for an endpoint that was deleted.
    endpoint: Endpoint | None
    #: None if the owner has no secret yet.
    signing: Signing | None

    @property
    def url(self) -> str:
        """Where to send it now."""
        return self.endpoint.url if self.endpoint else self.delivery.url

    @property
    def wanted(self) -> bool:
        """Whether anybody still wants it: the endpoint is there, and not disabled."""
        if self.endpoint is not None:
            return not self.endpoint.disabled
        return self.delivery.endpoint == implicit_id(self.delivery.owner, self.delivery.url)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AttemptResult:
    """What follows from an attempt: for the delivery, and for its endpoint."""

    state: str
    due_at: float | None = None
    #: ``ok``, ``bad``, or ``nothing`` if there was no attempt.
    endpoint: str = "nothing"
    #: Until when the receiver wants to be left alone.
    open_until: float = 0.0


class DeliveryQueue:
    """Claims deliveries and settles them. Safe for threads.

    Raises:
        redis.RedisError: from every method, when Redis does not answer.
    """

    def __init__(self, client: redis.Redis, settings: Settings, policy: RetryPolicy) -> None:
        self._client = client
        self._settings = settings
        self._policy = policy
        self._endpoint_kept_s = round(settings.webhook_keep_s + ATTEMPTS_TAKE_S)
        self._claim = script(client, "webhooks/claim")
        self._done = script(client, "webhooks/record_attempt")

    def claim(self, most: int) -> tuple[list[DueDelivery], float | None]:
        """Deliveries that are due, and when there may be more."""
        look_at, *rows = self._claim(
            keys=[keys.DUE_ENDPOINTS],
            args=[
                time.time(),
                most,
                self._settings.webhook_concurrency,
                LEASE_S,
                self._policy.give_up_after,
            ],
        )
        return [_errand(*row) for row in rows], float(look_at) if look_at else None

    def renew(self, errands: Iterable[DueDelivery]) -> None:
        """Say that these are still in hand. One that was settled or taken over meanwhile is not held by this."""
        pipe = self._client.pipeline(transaction=False)
        for errand in errands:
            pipe.zadd(keys.running(errand.delivery.endpoint), {errand.delivery.id: time.time() + LEASE_S}, xx=True)
        pipe.execute()

    def settle(self, errand: DueDelivery, verdict: AttemptResult, log: list[dict[str, Any]]) -> bool:
        """Whether it was noted down; False if another courier has taken the delivery over."""
        delivery = errand.delivery
        kept_s = self._endpoint_kept_s if verdict.state == PENDING else self._settings.webhook_keep_s
        answer = self._done(
            keys=[
                keys.DUE_ENDPOINTS,
                keys.delivery(delivery.id),
                keys.endpoint(delivery.endpoint),
                keys.due(delivery.endpoint),
                keys.running(delivery.endpoint),
            ],
            args=[
                delivery.endpoint,
                delivery.id,
                delivery.claims,
                time.time(),
                kept_s,
                verdict.state,
                verdict.due_at or 0,
                json.dumps(log),
                verdict.endpoint,
                verdict.open_until,
                self._policy.give_up_after,
                self._policy.first_pause_s,
                self._policy.longest_pause_s,
                self._endpoint_kept_s,
            ],
        )
        return bool(answer)


def _errand(flat: list[str], endpoint: str, signing: str) -> DueDelivery:
    delivery = from_fields(Delivery, dict(zip(flat[::2], flat[1::2], strict=True)))
    if endpoint:
        found = Endpoint.from_json(endpoint)
        return DueDelivery(delivery=delivery, endpoint=found, signing=found.signing)
    return DueDelivery(delivery=delivery, endpoint=None, signing=Signing.from_json(signing) if signing else None)

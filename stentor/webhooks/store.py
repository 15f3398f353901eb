"""The webhook store: an owner's endpoints, their secrets and their deliveries."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import redis
from redis.client import Pipeline

from stentor.days import DAY_S
from stentor.errors import DeliveryNotFound, TooManyWebhooks, WebhookDisabled, WebhookNotFound
from stentor.redis import keys
from stentor.redis.client import redis_errors, script, text_list, text_map
from stentor.redis.record import from_fields
from stentor.webhooks.webhook import (
    MAX_ENDPOINTS,
    PING,
    STATES,
    Delivery,
    Endpoint,
    Signing,
    delivery_id,
    event_id,
)

#: How much longer waiting deliveries are kept, in seconds: as long as their attempts may take, which is 76 h by the
#: schedule, and up to a day more for each pause that a receiver asks for.
ATTEMPTS_TAKE_S: Final = 14 * DAY_S
#: Maximum number of deliveries that one page searches, and number that are read or replayed at a time.
LOOKED_THROUGH, PIECE = 10_000, 500


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeliveryPage:
    """A page of deliveries, newest first; ``next_cursor`` is the start of the next page, None on the last."""

    deliveries: list[Delivery]
    next_cursor: str | None


class WebhookStore:
    """Webhook endpoints and deliveries in Redis. Safe for threads.

    Raises:
        RedisUnavailable: from every method, when Redis does not answer.
    """

    def __init__(self, client: redis.Redis, *, keep_s: float) -> None:
        self._client = client
        #: Seconds for which a delivery that may have more attempts is kept.
        self._kept_s = round(keep_s + ATTEMPTS_TAKE_S)
        self._replay = script(client, "webhooks/replay")

    # --- endpoints

    def add(self, endpoint: Endpoint) -> Endpoint:
        """Store an endpoint; it receives events from now on. If its id exists, that endpoint is returned unchanged.

        Raises:
            TooManyWebhooks: the owner has the maximum number.
        """
        key = keys.webhooks(endpoint.owner)

        known: list[Endpoint] = []

        def put(pipe: Pipeline) -> None:
            line = pipe.hget(key, endpoint.id)
            if line is not None:
                known.append(Endpoint.from_json(str(line)))
                return
            there = pipe.hlen(key)
            if there >= MAX_ENDPOINTS:
                raise TooManyWebhooks(f"You have {there} webhook endpoints, the maximum. Delete one first.")
            pipe.multi()
            pipe.hset(key, endpoint.id, endpoint.to_json())

        with redis_errors():
            self._client.transaction(put, key)
        return known[-1] if known else endpoint

    def list(self, owner: str) -> list[Endpoint]:
        """The owner's endpoints, oldest first, then the implicit ones in use."""
        with redis_errors():
            lines = text_map(self._client.hgetall(keys.webhooks(owner))).values()
            ids = text_list(self._client.zrevrange(keys.callbacks(owner), 0, -1))
            pipe = self._client.pipeline(transaction=False)
            for endpoint_id in ids:
                pipe.hgetall(keys.endpoint(endpoint_id))
            found = list(zip(ids, pipe.execute(), strict=True))
            idle = [endpoint_id for endpoint_id, fields in found if "origin" not in fields]
            if idle:
                self._client.zrem(keys.callbacks(owner), *idle)
        explicit = sorted((Endpoint.from_json(line) for line in lines), key=lambda one: one.id)
        return [*explicit, *(_implicit(endpoint_id, fields) for endpoint_id, fields in found if "origin" in fields)]

    def get(self, endpoint_id: str, owner: str) -> Endpoint:
        """An endpoint of the owner, explicit or implicit.

        Raises:
            WebhookNotFound: this owner has none with this id.
        """
        with redis_errors():
            pipe = self._client.pipeline(transaction=False)
            pipe.hget(keys.webhooks(owner), endpoint_id)
            pipe.hgetall(keys.endpoint(endpoint_id))
            line, fields = pipe.execute()
        if line is not None:
            return Endpoint.from_json(line)
        if fields.get("owner") == owner and "origin" in fields:
            return _implicit(endpoint_id, fields)
        raise WebhookNotFound(f"Unknown webhook endpoint {endpoint_id!r}.")

    def change(self, endpoint_id: str, owner: str, **fields: Any) -> Endpoint:
        """The endpoint with these fields changed.

        Raises:
            WebhookNotFound: this owner has none with this id, or it is implicit.
        """
        return self._change(endpoint_id, owner, lambda there: dataclasses.replace(there, **fields))

    def disable(self, endpoint_id: str, owner: str, reason: str) -> None:
        """Send no more to an endpoint, because of its answer.

        Raises:
            WebhookNotFound: it was deleted meanwhile.
        """
        self.change(endpoint_id, owner, disabled=True, disabled_reason=reason)

    def rotate(self, endpoint_id: str, owner: str) -> Endpoint:
        """The endpoint with a new secret; the old one signs, too, for a day.

        Raises:
            WebhookNotFound: this owner has none with this id, or it is implicit.
        """
        now = time.time()
        return self._change(
            endpoint_id, owner, lambda there: dataclasses.replace(there, signing=there.signing.with_new_secret(now))
        )

    def _change(self, endpoint_id: str, owner: str, evolve: Callable[[Endpoint], Endpoint]) -> Endpoint:
        key = keys.webhooks(owner)
        changed: list[Endpoint] = []

        def put(pipe: Pipeline) -> None:
            line = pipe.hget(key, endpoint_id)
            if line is None:
                raise WebhookNotFound(
                    f"Unknown webhook endpoint {endpoint_id!r}. Implicit endpoints cannot be changed."
                )
            changed.append(evolve(Endpoint.from_json(str(line))))
            pipe.multi()
            pipe.hset(key, endpoint_id, changed[-1].to_json())

        with redis_errors():
            self._client.transaction(put, key)
        return changed[-1]

    def delete(self, endpoint_id: str, owner: str) -> None:
        """Delete an endpoint and its deliveries.

        Raises:
            WebhookNotFound: this owner has none with this id, or it is implicit.
        """
        with redis_errors():
            if not self._client.hdel(keys.webhooks(owner), endpoint_id):
                raise WebhookNotFound(
                    f"Unknown webhook endpoint {endpoint_id!r}. Implicit endpoints cannot be deleted."
                )
            pipe = self._client.pipeline(transaction=True)
            pipe.zrem(keys.DUE_ENDPOINTS, endpoint_id)
            pipe.delete(keys.due(endpoint_id), keys.running(endpoint_id), keys.deliveries(endpoint_id))
            pipe.delete(keys.endpoint(endpoint_id))
            pipe.execute()

    # --- the secret of implicit endpoints

    def signing(self, owner: str) -> Signing:
        """The secret of the owner's implicit endpoints; created when it is first needed."""
        with redis_errors():
            self._client.set(keys.signing(owner), Signing().to_json(), nx=True)
            return Signing.from_json(str(self._client.get(keys.signing(owner))))

    def rotate_signing(self, owner: str) -> Signing:
        """A new secret for the owner's implicit endpoints; the old one signs, too, for a day."""
        key, now = keys.signing(owner), time.time()
        changed: list[Signing] = []

        def put(pipe: Pipeline) -> None:
            line = pipe.get(key)
            changed.append((Signing() if line is None else Signing.from_json(str(line))).with_new_secret(now))
            pipe.multi()
            pipe.set(key, changed[-1].to_json())

        with redis_errors():
            self._client.transaction(put, key)
        return changed[-1]

    # --- deliveries

    def deliveries(
        self, endpoint: Endpoint, *, state: str | None = None, limit: int, after: str | None = None
    ) -> DeliveryPage:
        """The endpoint's deliveries, newest first, starting after ``after``.

        A page with fewer than ``limit`` is not always the last, because one call searches 10,000.
        """
        wanted = frozenset((state,) if state else STATES)
        index = keys.deliveries(endpoint.id)
        found: list[Delivery] = []
        last, looked, more = after, 0, True
        with redis_errors():
            while more and looked < LOOKED_THROUGH and len(found) <= limit:
                # The place is read again: deliveries that were created since the last read have moved it.
                start = 0 if last is None else self._place_behind(index, last)
                ids = text_list(self._client.zrevrange(index, start, start + PIECE - 1))
                found += [one for one in self._read_deliveries(ids) if one.state in wanted]
                looked, more = looked + len(ids), len(ids) == PIECE
                last = ids[-1] if more else None
        if len(found) > limit:
            return DeliveryPage(deliveries=found[:limit], next_cursor=found[limit - 1].id)
        return DeliveryPage(deliveries=found, next_cursor=last)

    def _place_behind(self, index: str, after: str) -> int:
        """The place after ``after``; the end if that has expired."""
        rank = cast("int | None", self._client.zrevrank(index, after))
        return int(self._client.zcard(index)) if rank is None else rank + 1

    def _read_deliveries(self, ids: Sequence[str]) -> Sequence[Delivery]:
        """The deliveries with these ids that have not expired."""
        pipe = self._client.pipeline(transaction=False)
        for one in ids:
            pipe.hgetall(keys.delivery(one))
        return [from_fields(Delivery, fields) for fields in pipe.execute() if "endpoint" in fields]

    def delivery(self, endpoint: Endpoint, delivery_id: str) -> Delivery:
        """One delivery of the endpoint.

        Raises:
            DeliveryNotFound: it has none with this id, or it has expired.
        """
        with redis_errors():
            found = self._read_deliveries([delivery_id])
        if not found or found[0].endpoint != endpoint.id:
            raise DeliveryNotFound(f"Unknown delivery {delivery_id!r} of endpoint {endpoint.id}, or it has expired.")
        return found[0]

    def ping(self, endpoint: Endpoint) -> str:
        """Send a test event; the id of its delivery, which appears in a moment.

        Raises:
            WebhookDisabled: the endpoint is disabled.
        """
        _require_enabled(endpoint)
        with redis_errors():
            entry = self._client.xadd(keys.OUTBOX, {"type": PING, "id": endpoint.id, "owner": endpoint.owner})
        return delivery_id(event_id(PING, endpoint.id, str(entry)), endpoint.id)

    def replay(self, endpoint: Endpoint, delivery: Delivery) -> Delivery:
        """Send a delivery once more; one that waits to be sent is unchanged.

        Raises:
            WebhookDisabled: the endpoint is disabled.
        """
        _require_enabled(endpoint)
        self._send_again(endpoint, [delivery.id])
        return self.delivery(endpoint, delivery.id)

    def replay_since(self, endpoint: Endpoint, since: float, *, state: str | None = None) -> int:
        """Send the endpoint's deliveries since then once more; the number of them, without those that wait anyway.

        Raises:
            WebhookDisabled: the endpoint is disabled.
        """
        _require_enabled(endpoint)
        with redis_errors():
            ids = text_list(self._client.zrangebyscore(keys.deliveries(endpoint.id), since, "+inf"))
        sent = 0
        for start in range(0, len(ids), PIECE):
            piece = ids[start : start + PIECE]
            if state is not None:
                with redis_errors():
                    piece = [one.id for one in self._read_deliveries(piece) if one.state == state]
            sent += self._send_again(endpoint, piece)
        return sent

    def _send_again(self, endpoint: Endpoint, ids: Sequence[str]) -> int:
        if not ids:
            return 0
        with redis_errors():
            sent = self._replay(
                keys=[
                    keys.DUE_ENDPOINTS,
                    keys.endpoint(endpoint.id),
                    keys.due(endpoint.id),
                    keys.deliveries(endpoint.id),
                ],
                args=[endpoint.id, time.time(), self._kept_s, *ids],
            )
        return int(sent)


def _require_enabled(endpoint: Endpoint) -> None:
    if endpoint.disabled:
        raise WebhookDisabled(f"Webhook endpoint {endpoint.id} is disabled. Enable it first.")


def _implicit(endpoint_id: str, fields: dict[str, str]) -> Endpoint:
    return Endpoint(
        id=endpoint_id,
        owner=fields["owner"],
        url=fields["origin"],
        events=(),
        created_at=float(fields["created_at"]),
        implicit=True,
    )

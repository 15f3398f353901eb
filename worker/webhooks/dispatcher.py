"""The dispatcher: threads that read the outbox and send what is due. Any number of dispatchers may run."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import redis

from stentor import log
from stentor.errors import StentorError, WebhookNotFound
from stentor.redis.client import connect
from stentor.settings import Settings
from stentor.webhooks.addresses import networks
from stentor.webhooks.store import WebhookStore
from stentor.webhooks.webhook import FAILED, PENDING, SKIPPED, SUCCEEDED
from worker.webhooks.delivery_queue import AttemptResult, DeliveryQueue, DueDelivery
from worker.webhooks.fanout import FanOut
from worker.webhooks.outbox import Outbox
from worker.webhooks.retry_policy import RetryPolicy, next_attempt
from worker.webhooks.sending import ReceiverResponse, Sender

_log = log.get(__name__)

#: Deliveries that one process has on their way; a thread each. Eight receivers that hang, at
#: `STENTOR_WEBHOOK_CONCURRENCY` each, leave half of them to the others.
THREADS: Final = 128
#: Longest wait for something to happen, in seconds: a retry comes no later than this after its time.
LOOK_EVERY_S: Final = 1.0
#: How often claims are renewed while they are in hand, in seconds.
RENEW_EVERY_S: Final = 0.8
#: Pause after Redis did not answer, in seconds.
AWAY_PAUSE_S: Final = 1.0
#: How much longer than a receiver may take a stop waits for a delivery, so that its outcome is noted, in seconds.
MARGIN_S: Final = 1.0
#: Attempts that the log of a delivery keeps.
LOGGED: Final = 20


class WebhookDispatcher:
    """Brings webhooks to those who want to hear. One per io process; ``start`` begins, ``stop`` ends in order."""

    def __init__(self, settings: Settings, *, policy: RetryPolicy | None = None) -> None:
        self._policy = policy or RetryPolicy()
        self._client = connect(settings)
        self._outbox = Outbox(self._client, f"{settings.host}/{os.getpid()}/{id(self):x}")
        self._fanout = FanOut(self._client, settings)
        self._queue = DeliveryQueue(self._client, settings, self._policy)
        self._store = WebhookStore(self._client, keep_s=settings.webhook_keep_s)
        self._timeout_s = settings.webhook_timeout_s
        self._sender = Sender(timeout_s=settings.webhook_timeout_s, allow=networks(settings.webhook_allow))
        self._reader = threading.Thread(target=self._run, name="courier", daemon=True)
        self._stopping = threading.Event()
        self._idle = threading.Condition()
        #: What each thread has in hand, by the number of the thread.
        self._hands: dict[int, DueDelivery] = {}
        self._numbers = itertools.count()
        self._renew_at = 0.0
        self._wait_s = LOOK_EVERY_S

    def start(self) -> None:
        """Begin, in threads of its own."""
        self._reader.start()

    def stop(self) -> None:
        """Take nothing more in hand, and wait for what is as long as a receiver may take. Others soon send the rest."""
        self._stopping.set()
        until = time.monotonic() + self._timeout_s + MARGIN_S
        self._reader.join(self._timeout_s)
        while not self._idle_within(min(RENEW_EVERY_S, until - time.monotonic())) and time.monotonic() < until:
            # Else another courier would take it for lost, and send it a second time.
            with contextlib.suppress(redis.RedisError):
                self._renew()

    def _idle_within(self, timeout_s: float) -> bool:
        with self._idle:
            return self._idle.wait_for(lambda: not self._hands, max(0.0, timeout_s))

    def _run(self) -> None:
        is_open = False
        while not self._stopping.is_set():
            try:
                if not is_open:
                    self._outbox.open()
                    is_open = True
                self._renew()
                self._hand_out()
                events = self._outbox.read(self._wait_s)
                if events:
                    self._outbox.done(self._fanout.write(events))
            except redis.RedisError as exc:
                # A Redis that lost its data has no outbox either.
                is_open = False
                _log.warning("waiting_for_neighbour", reason=str(exc), pause_s=AWAY_PAUSE_S)
                self._stopping.wait(AWAY_PAUSE_S)
            except Exception as exc:  # noqa: BLE001 - the courier goes on, whatever comes
                _log.error("courier_failed", exc_info=exc)
                self._stopping.wait(AWAY_PAUSE_S)

    def _renew(self) -> None:
        """Keep what is in hand from being taken for lost."""
        with self._idle:
            held = list(self._hands.values())
        if held and time.monotonic() >= self._renew_at:
            self._renew_at = time.monotonic() + RENEW_EVERY_S
            self._queue.renew(held)

    def _hand_out(self) -> None:
        """Give what is due to threads, as many as are free. A thread that ends takes what is due then by itself."""
        self._wait_s = LOOK_EVERY_S
        with self._idle:
            free = THREADS - len(self._hands)
        if free <= 0:
            return
        errands, look_at = self._queue.claim(free)
        for due in errands:
            number = next(self._numbers)
            with self._idle:
                self._hands[number] = due
            threading.Thread(target=self._carry, args=(number, due), name="delivery", daemon=True).start()
        if look_at is not None:
            self._wait_s = min(LOOK_EVERY_S, max(0.0, look_at - time.time()))

    def _carry(self, number: int, due: DueDelivery) -> None:
        """Send a delivery, then others that are due by then."""
        try:
            more = [due]
            while more:
                self._hands[number] = more[0]
                self._settle(more[0])
                more = [] if self._stopping.is_set() else self._queue.claim(1)[0]
        except (redis.RedisError, StentorError) as exc:
            # What is in hand comes again when its lease is over.
            _log.warning("waiting_for_neighbour", reason=str(exc))
        except Exception as exc:  # noqa: BLE001 - the last door of a thread
            _log.error("courier_failed", exc_info=exc)
        finally:
            with self._idle:
                del self._hands[number]
                self._idle.notify_all()

    def _settle(self, due: DueDelivery) -> None:
        delivery, now = due.delivery, time.time()
        lines: list[dict[str, Any]] = [dict(line) for line in delivery.log]
        if not due.wanted:
            self._queue.settle(due, AttemptResult(state=SKIPPED), lines)
            return
        # An owner's secret is made when it is first needed.
        signing = due.signing or self._store.signing(delivery.owner)
        answer = self._sender.send(
            due.url, message_id=delivery.event, body=delivery.payload, secrets=signing.valid(now)
        )
        lines.append({"at": now, "status": answer.status, "error": answer.error, "took_s": answer.took_s})
        if answer.gone and due.endpoint:
            self._disable(due)
        result = attempt_result(
            answer, delivery.attempts + 1, policy=self._policy, now=time.time(), draw=random.random()
        )
        noted = self._queue.settle(due, result, lines[-LOGGED:])
        tell: Callable[..., None] = _log.info if answer.error is None else _log.warning
        tell(
            "webhook_sent",
            delivery_id=delivery.id,
            endpoint=delivery.endpoint,
            state=result.state if noted else "taken over",
            status=answer.status,
            reason=answer.error,
            took_s=answer.took_s,
        )

    def _disable(self, due: DueDelivery) -> None:
        delivery = due.delivery
        try:
            self._store.disable(delivery.endpoint, delivery.owner, "it answered 410")
        except WebhookNotFound:
            return
        _log.warning("webhook_disabled", endpoint=delivery.endpoint, reason="it answered 410")


def attempt_result(
    answer: ReceiverResponse, attempts: int, *, policy: RetryPolicy, now: float, draw: float
) -> AttemptResult:
    """What follows from the answer to a delivery's attempt number ``attempts``.

    A receiver that asks for a pause gets it for this delivery, up to a day; what else is for it waits no longer than
    for one that fails.
    """
    if answer.error is None:
        return AttemptResult(state=SUCCEEDED, endpoint="ok")
    due_at = None
    if not answer.gone:
        due_at = next_attempt(attempts, now=now, attempts_after_s=policy.attempts_after_s, draw=draw)
    open_until = now + min(answer.retry_after_s, policy.longest_pause_s) if answer.retry_after_s else 0.0
    if due_at is None:
        return AttemptResult(state=FAILED, endpoint="bad", open_until=open_until)
    due_at = max(due_at, now + answer.retry_after_s)
    return AttemptResult(state=PENDING, due_at=due_at, endpoint="bad", open_until=open_until)

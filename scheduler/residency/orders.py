"""Orders: the leader orders devices to load and unload models, holds priorities back, and rings doorbells."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

import redis

from scheduler.plan import Plan, Waiting, Want
from stentor import log
from stentor.devices.overrides import RESIDENT
from stentor.devices.registry import LIVE, DeviceState, DeviceStatus
from stentor.doorbell import BY_POLICY, LOAD, UNLOAD, Doorbell
from stentor.errors import RedisUnavailable
from stentor.redis import keys
from stentor.redis.client import redis_errors, script
from stentor.redis.record import to_json
from stentor.settings import Settings

_log = log.get(__name__)

#: An order that was not carried out is sent again after this time, in seconds: its message may be lost.
RESEND_AFTER_S: Final = 60.0
#: How long a hold lasts without being renewed, in seconds: it ends soon after its scheduler.
HELD_S: Final = 15.0
#: How long the policy's reasons are shown without being renewed, in seconds.
SHOWN_S: Final = 15
#: How often they are written while the plan stays the same, in seconds.
SHOW_EVERY_S: Final = 5.0
#: Maximum number of orders in a tick: sending one takes about a millisecond. The next ticks send the rest.
MAX_ORDERS: Final = 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class Order:
    """An order for one device."""

    device_id: str
    #: ``LOAD`` or ``UNLOAD``.
    task: str
    #: The device's process and last work at the decision: it refuses to unload if they changed.
    pid: str
    spoke_at: str
    #: The policy's reason.
    reason: str

    @property
    def text(self) -> str:
        """What is stored of it: orders with the same text are the same."""
        return f"{self.task} {self.pid} {self.spoke_at}"


def orders(
    wants: Mapping[str, Want], statuses: Iterable[DeviceStatus], *, waiting: AbstractSet[str]
) -> Iterator[Order]:
    """The orders that turn the present state into the planned one. ``waiting``: models of texts that may be claimed.

    A device for which texts wait gets no order to load: it loads their model when it hears the doorbell.
    """
    for status in statuses:
        want = wants.get(status.id)
        if want is None:
            continue
        if want.residency == DeviceState.UNLOADED and status.state == DeviceState.IDLE and status.model:
            task = UNLOAD
        elif want.residency == RESIDENT and status.state == DeviceState.UNLOADED and waiting.isdisjoint(status.models):
            task = LOAD
        else:
            continue
        yield Order(
            device_id=status.id,
            task=task,
            pid=str(status.pid),
            spoke_at=repr(status.spoke_at),
            reason=want.residency_reason,
        )


def ring_count(wants: Mapping[str, Want], statuses: Sequence[DeviceStatus], waiting: Mapping[str, Waiting]) -> int:
    """How many unloaded devices should hear the doorbell: they should load a model and can speak waiting texts.

    Not more than texts wait, less the devices that load already. A text is claimed only after its model is loaded, so
    otherwise one text at night would load all models.
    """
    able = [status for status in statuses if status.id in wants and not waiting.keys().isdisjoint(status.models)]
    loading = sum(status.loading_at is not None for status in able)
    asleep = sum(
        status.state == DeviceState.UNLOADED and status.loading_at is None and wants[status.id].residency == RESIDENT
        for status in able
    )
    return max(0, min(asleep, sum(one.texts for one in waiting.values()) - loading))


class Orders:
    """Acts for the cluster. Each action is idempotent, also with two schedulers at a time.

    Raises:
        RedisUnavailable: from every method, when Redis does not answer; the next tick continues.
    """

    def __init__(self, client: redis.Redis, doorbell: Doorbell, settings: Settings) -> None:
        self._client = client
        self._doorbell = doorbell
        self._ring_after_s = settings.ring_after_s
        self._order = script(client, "devices/order")
        self._hold = script(client, "lanes/hold")
        #: When the plan was last shown, and its residency and clocks by device.
        self._shown: tuple[float, dict[str, tuple[str | None, str | None]]] = (float("-inf"), {})

    def act(self, plan: Plan, statuses: Sequence[DeviceStatus], token: int | None, now: float) -> None:
        """Carry out the plan as the leader with this token; without a token do nothing."""
        if token is None:
            return
        waiting = plan.waiting.keys()
        live = [status for status in statuses if status.state in LIVE]
        ended = self._hold_back(plan, token)
        self._send(orders(plan.wants, live, waiting=waiting), token)
        self._ring(len(live) if ended else ring_count(plan.wants, live, plan.waiting))
        self._ring_again(plan.waiting, live)
        self._show(plan.wants, now)

    def _hold_back(self, plan: Plan, token: int) -> bool:
        """Hold the plan's priorities back; whether a hold ended, so that free devices can start at once."""
        with redis_errors():
            changed = str(
                self._hold(keys=[keys.FENCE, keys.HELD], args=[token, round(HELD_S * 1000), *sorted(plan.held)])
            )
        if changed in ("began", "ended"):
            action = "hold_began" if changed == "began" else "hold_ended"
            _log.info(action, priorities=sorted(plan.held), reason=plan.held_reason)
        return changed == "ended"

    def _send(self, new_orders: Iterable[Order], token: int) -> None:
        found = list(new_orders)
        if not found:
            return
        noted = [keys.last_order(order.device_id) for order in found]
        texts = [order.text for order in found]
        with redis_errors():
            fresh = self._order(
                keys=[keys.FENCE, *noted], args=[token, round(RESEND_AFTER_S * 1000), MAX_ORDERS, *texts]
            )
        sent = 0
        try:
            for at in fresh:
                self._send_one(found[at])
                sent += 1
        except RedisUnavailable:
            # They are stored but not sent: let the next tick send them.
            with contextlib.suppress(RedisUnavailable), redis_errors():
                self._client.delete(*[noted[at] for at in fresh[sent:]])
            raise

    def _send_one(self, order: Order) -> None:
        if order.task == UNLOAD:
            self._doorbell.order(UNLOAD, order.device_id, why=BY_POLICY, pid=order.pid, spoke_at=order.spoke_at)
        else:
            self._doorbell.order(LOAD, order.device_id)
        states = (RESIDENT, DeviceState.UNLOADED) if order.task == UNLOAD else (DeviceState.UNLOADED, RESIDENT)
        _log.info("residency_ordered", device=order.device_id, reason=order.reason, **{"from": states[0]}, to=states[1])

    def _ring(self, devices: int) -> None:
        """Ring once for each of this number of devices, until one doorbell waits for each device."""
        for _ in range(min(devices, MAX_ORDERS)):
            if not self._doorbell.ring():
                return

    def _ring_again(self, waiting: Mapping[str, Waiting], live: Iterable[DeviceStatus]) -> None:
        """Ring if a text has waited for ``ring_after_s`` although no device loads its model: its doorbell may be lost.

        An extra ring costs a busy device nothing, but an unloaded one would load a model for nothing.
        """
        loading = Counter(model for status in live if status.loading_at is not None for model in status.models)
        unheard = [model for model, one in waiting.items() if one.texts > loading[model]]
        model = max(unheard, key=lambda model: waiting[model].oldest_wait_s, default=None)
        if model is None or (wait_s := waiting[model].oldest_wait_s) < self._ring_after_s:
            return
        if self._doorbell.ring():
            _log.info("rang_again", model=model, wait_s=round(wait_s, 3))

    def _show(self, wants: Mapping[str, Want], now: float) -> None:
        """Show the plan and its reasons in the list of devices.

        It is written at once when the plan changes, and regularly because the times in the reasons change each tick.
        """
        wanted = {device_id: (want.residency, want.clocks) for device_id, want in wants.items()}
        shown_at, shown = self._shown
        if wanted == shown and 0 <= now - shown_at < SHOW_EVERY_S:
            return
        words = {device_id: to_json(want) for device_id, want in wants.items()}
        with redis_errors():
            pipe = self._client.pipeline(transaction=True)
            pipe.delete(keys.WANTS)
            if words:
                pipe.hset(keys.WANTS, items=[part for pair in words.items() for part in pair])
                pipe.expire(keys.WANTS, SHOWN_S)
            pipe.execute()
        self._shown = now, wanted

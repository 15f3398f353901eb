"""Orders: what the leader does about residency. Sends devices to load and unload, holds priorities back, and rings."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

import redis

from scheduler.policy import Plan, Waiting, Want
from stentor import log
from stentor.devices.overrides import RESIDENT
from stentor.devices.registry import IDLE, LIVE, UNLOADED, DeviceStatus
from stentor.doorbell import BY_POLICY, LOAD, UNLOAD, Doorbell
from stentor.errors import RedisUnavailable
from stentor.redis import keys
from stentor.redis.client import redis_errors, script
from stentor.redis.record import to_json
from stentor.settings import Settings

_log = log.get(__name__)

#: After this time an order that was not carried out is given again, in seconds: its message may be lost.
AGAIN_AFTER_S: Final = 60.0
#: How long priorities are held unless a scheduler says so again, in seconds: a hold soon follows its scheduler.
HELD_S: Final = 15.0
#: How long the policy's words are shown unless it says them again, in seconds.
SHOWN_S: Final = 15
#: How often they are written while nothing else is wanted, in seconds.
SHOW_EVERY_S: Final = 5.0
#: Most orders of one tick: sending one takes about a millisecond. What is left goes with the next ticks.
MOST_ORDERS: Final = 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class Order:
    """What is sent to one device."""

    device_id: str
    #: ``LOAD`` or ``UNLOAD``.
    task: str
    #: What the device looked like when this was decided: it declines to unload if that is over.
    pid: str
    spoke_at: str
    #: In the policy's words.
    reason: str

    @property
    def text(self) -> str:
        """What is noted of it: two orders of one text are the same."""
        return f"{self.task} {self.pid} {self.spoke_at}"


def orders(
    wants: Mapping[str, Want], statuses: Iterable[DeviceStatus], *, waiting: AbstractSet[str]
) -> Iterator[Order]:
    """What to send, by what is wanted and what is. ``waiting`` are the models of texts that a device may claim.

    A device for which texts wait is not told to load: it loads what they need when it hears the doorbell.
    """
    for status in statuses:
        want = wants.get(status.id)
        if want is None:
            continue
        if want.residency == UNLOADED and status.state == IDLE and status.model:
            task = UNLOAD
        elif want.residency == RESIDENT and status.state == UNLOADED and waiting.isdisjoint(status.models):
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


def to_be_woken(wants: Mapping[str, Want], statuses: Sequence[DeviceStatus], waiting: Mapping[str, Waiting]) -> int:
    """How many of the devices that have no model, are wanted to have one, and could speak what waits are to hear of it.

    No more than texts wait, and those count that load already: a text is claimed only when its model is there, and one
    text at night would else bring all models back.
    """
    able = [status for status in statuses if status.id in wants and not waiting.keys().isdisjoint(status.models)]
    loading = sum(status.loading_at is not None for status in able)
    asleep = sum(
        status.state == UNLOADED and status.loading_at is None and wants[status.id].residency == RESIDENT
        for status in able
    )
    return max(0, min(asleep, sum(one.texts for one in waiting.values()) - loading))


class Orders:
    """Acts for the cluster. Whatever it does may be done twice, and by two at a time, and happens once.

    Raises:
        RedisUnavailable: from every method, when Redis does not answer; the next tick goes on.
    """

    def __init__(self, client: redis.Redis, doorbell: Doorbell, settings: Settings) -> None:
        self._client = client
        self._doorbell = doorbell
        self._ring_after_s = settings.ring_after_s
        self._order = script(client, "devices/order")
        self._hold = script(client, "lanes/hold")
        #: When something was told, and what was wanted of each device then.
        self._told: tuple[float, dict[str, tuple[str | None, str | None]]] = (float("-inf"), {})

    def act(self, plan: Plan, statuses: Sequence[DeviceStatus], token: int | None, now: float) -> None:
        """Bring about what is planned, as the leader of that number; without one nothing is done."""
        if token is None:
            return
        waiting = plan.waiting.keys()
        live = [status for status in statuses if status.state in LIVE]
        ended = self._hold_back(plan, token)
        self._send(orders(plan.wants, live, waiting=waiting), token)
        self._ring(len(live) if ended else to_be_woken(plan.wants, live, plan.waiting))
        self._ring_again(plan.waiting, live)
        self._tell(plan.wants, now)

    def _hold_back(self, plan: Plan, token: int) -> bool:
        """Whether a hold ended: whoever is free can start at once."""
        with redis_errors():
            changed = str(
                self._hold(keys=[keys.FENCE, keys.HELD], args=[token, round(HELD_S * 1000), *sorted(plan.held)])
            )
        if changed in ("began", "ended"):
            action = "hold_began" if changed == "began" else "hold_ended"
            _log.info(action, priorities=sorted(plan.held), reason=plan.held_reason)
        return changed == "ended"

    def _send(self, wanted: Iterable[Order], token: int) -> None:
        found = list(wanted)
        if not found:
            return
        noted = [keys.ordered(order.device_id) for order in found]
        texts = [order.text for order in found]
        with redis_errors():
            fresh = self._order(
                keys=[keys.FENCE, *noted], args=[token, round(AGAIN_AFTER_S * 1000), MOST_ORDERS, *texts]
            )
        sent = 0
        try:
            for at in fresh:
                self._send_one(found[at])
                sent += 1
        except RedisUnavailable:
            # They are noted and not on their way: the next tick is to send them.
            with contextlib.suppress(RedisUnavailable), redis_errors():
                self._client.delete(*[noted[at] for at in fresh[sent:]])
            raise

    def _send_one(self, order: Order) -> None:
        if order.task == UNLOAD:
            self._doorbell.order(UNLOAD, order.device_id, why=BY_POLICY, pid=order.pid, spoke_at=order.spoke_at)
        else:
            self._doorbell.order(LOAD, order.device_id)
        states = (RESIDENT, UNLOADED) if order.task == UNLOAD else (UNLOADED, RESIDENT)
        _log.info("residency_ordered", device=order.device_id, reason=order.reason, **{"from": states[0]}, to=states[1])

    def _ring(self, devices: int) -> None:
        """Ring for so many devices, or until as many doorbells wait as there are devices."""
        for _ in range(min(devices, MOST_ORDERS)):
            if not self._doorbell.ring():
                return

    def _ring_again(self, waiting: Mapping[str, Waiting], live: Iterable[DeviceStatus]) -> None:
        """Ring if a text has waited so long that its doorbell may have been lost, and not for a model to be loaded.

        A device that speaks hears one too many for nothing; one that has no model would load it for nothing.
        """
        loading = Counter(model for status in live if status.loading_at is not None for model in status.models)
        unheard = [model for model, one in waiting.items() if one.texts > loading[model]]
        model = max(unheard, key=lambda model: waiting[model].oldest_wait_s, default=None)
        if model is None or (wait_s := waiting[model].oldest_wait_s) < self._ring_after_s:
            return
        if self._doorbell.ring():
            _log.info("rang_again", model=model, wait_s=round(wait_s, 3))

    def _tell(self, wants: Mapping[str, Want], now: float) -> None:
        """Show the policy's words to whoever looks at the devices: at once when it wants something else, and now and
        then for the times in them, which are other ones each tick.
        """
        wanted = {device_id: (want.residency, want.clocks) for device_id, want in wants.items()}
        told_at, told = self._told
        if wanted == told and 0 <= now - told_at < SHOW_EVERY_S:
            return
        words = {device_id: to_json(want) for device_id, want in wants.items()}
        with redis_errors():
            pipe = self._client.pipeline(transaction=True)
            pipe.delete(keys.WANTS)
            if words:
                pipe.hset(keys.WANTS, items=[part for pair in words.items() for part in pair])
                pipe.expire(keys.WANTS, SHOWN_S)
            pipe.execute()
        self._told = now, wanted

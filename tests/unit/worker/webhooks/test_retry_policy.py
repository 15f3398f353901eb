"""When webhooks are tried again: literal answers."""

from __future__ import annotations

import pytest

from worker.webhooks.delivery_queue import AttemptResult
from worker.webhooks.dispatcher import attempt_result
from worker.webhooks.retry_policy import ATTEMPTS_AFTER_S, RetryPolicy, next_attempt, retry_after_s
from worker.webhooks.sending import ReceiverResponse

NOW = 1_000_000.0
HOUR = 3600


def after(done: int, draw: float = 0.5) -> float | None:
    at = next_attempt(done, now=NOW, attempts_after_s=ATTEMPTS_AFTER_S, draw=draw)
    return None if at is None else round(at - NOW, 6)


def test_the_pauses_are_those_that_standard_webhooks_recommends() -> None:
    pauses = [5, 300, HOUR / 2, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR]
    assert [after(done) for done in range(1, 11)] == [*pauses, None]


def test_a_pause_is_up_to_a_tenth_longer_or_shorter() -> None:
    assert [after(2, draw) for draw in (0.0, 0.25, 1.0)] == [270, 285, 330]


@pytest.mark.parametrize(
    ("value", "pause_s"),
    [
        (None, 0),
        ("", 0),
        ("soon", 0),
        ("-5", 0),
        ("1.5", 0),
        ("0", 0),
        ("120", 120),
        (" 7 ", 7),
        ("99999999999999999999999", 86_400),
        ("Mon, 12 Jan 1970 13:48:20 GMT", 100),
        ("Mon, 12 Jan 1970 13:46:30 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400),
        ("Mon, 99 Foo 1970 13:48:20 GMT", 0),
    ],
)
def test_a_receiver_can_ask_for_a_pause_in_seconds_or_until_a_date(value: str | None, pause_s: float) -> None:
    assert retry_after_s(value, NOW) == pause_s


def verdict(attempts: int = 1, **answer: object) -> AttemptResult:
    made = ReceiverResponse(took_s=0.1, **answer)  # type: ignore[arg-type]
    return attempt_result(made, attempts, policy=RetryPolicy(longest_pause_s=120), now=NOW, draw=0.5)


def test_success_settles() -> None:
    assert verdict(status=204) == AttemptResult(state="succeeded", endpoint="ok")


def test_a_failure_is_tried_again() -> None:
    assert verdict(status=500, error="answered 500") == AttemptResult(state="pending", due_at=NOW + 5, endpoint="bad")


def test_the_tenth_failure_is_the_last() -> None:
    assert verdict(10, error="no answer within 15 s") == AttemptResult(state="failed", endpoint="bad")


def test_gone_is_not_tried_again() -> None:
    assert verdict(status=410, error="answered 410") == AttemptResult(state="failed", endpoint="bad")


def test_a_pause_that_was_asked_for_holds_the_delivery_and_for_a_while_the_endpoint() -> None:
    asked = verdict(status=429, error="answered 429", retry_after_s=3600)
    assert asked == AttemptResult(state="pending", due_at=NOW + 3600, endpoint="bad", open_until=NOW + 120)


def test_a_pause_that_was_asked_for_does_not_shorten_the_schedules() -> None:
    asked = verdict(3, status=503, error="answered 503", retry_after_s=1)
    assert asked == AttemptResult(state="pending", due_at=NOW + 1800, endpoint="bad", open_until=NOW + 1)

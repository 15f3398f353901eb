"""The pure parts of ``stentor bench``: when texts are sent, and what figures are computed from its recording."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import pytest

from stentor.bench.observed import REFUSED, UNSETTLED, Beat, BenchRecording, TextResult
from stentor.bench.scenarios import Request, backlog, burst, interactive_over_bulk, steady, text
from stentor.bench.summary import Batch, Latency, batches, percentile, stretches, summarise


def text_result(created: float, settled: float, **fields: Any) -> TextResult:
    base: dict[str, Any] = {"job_id": "job_1", "priority": "standard", "state": "succeeded", "audio_s": 2.0}
    return TextResult(**{**base, "created_at": created, "started_at": created, "settled_at": settled, **fields})


def beat(seen_at: float, busy_s: float, **fields: Any) -> Beat:
    base: dict[str, Any] = {"device": "host/cpu", "pid": 7, "state": "busy", "batches": 0}
    return Beat(**{**base, "seen_at": seen_at, "busy_s": busy_s, **fields})


# --- scenarios


def test_steady_texts_come_evenly() -> None:
    assert [request.due_s for request in steady(2, 2)] == [0.0, 0.5, 1.0, 1.5]
    assert {(request.texts, request.priority, request.watched) for request in steady(2, 2)} == {(1, "standard", True)}


def test_texts_at_random_moments_come_in_order_at_the_same_rate() -> None:
    moments = [request.due_s for request in steady(5, 200, gaps=random.Random(1))]
    assert moments == sorted(moments)
    assert 0 <= moments[0] < moments[-1] < 200
    assert len(moments) == pytest.approx(1000, rel=0.1)


def test_no_more_than_ten_texts_a_second_are_watched() -> None:
    requests = steady(25, 2)
    assert len(requests) == 50
    assert [request.watched for request in requests[:7]] == [True, False, False, True, False, False, True]


def test_a_backlog_comes_at_once_in_as_few_requests_as_possible() -> None:
    assert [(request.due_s, request.texts) for request in backlog(2300)] == [(0.0, 1000), (0.0, 1000), (0.0, 300)]
    assert [request.texts for request in backlog(1000)] == [1000]


def test_a_burst_comes_again_and_again() -> None:
    assert [(request.due_s, request.texts) for request in burst(5, times=3, every_s=4)] == [(0, 5), (4, 5), (8, 5)]


def test_in_the_mix_the_bulk_texts_come_first_and_the_interactive_ones_beside_them() -> None:
    assert interactive_over_bulk(1, 2, texts=3) == [
        Request(due_s=0.0, texts=3, priority="bulk"),
        Request(due_s=0.0, texts=1, priority="interactive", watched=True),
        Request(due_s=1.0, texts=1, priority="interactive", watched=True),
    ]


@pytest.mark.parametrize("chars", [1, 5, 28, 160, 3000])
def test_texts_are_about_as_long_as_asked(chars: int) -> None:
    rng = random.Random(3)
    lengths = [len(text(rng, chars)) for _ in range(200)]
    assert sum(lengths) / len(lengths) == pytest.approx(chars, rel=0.1, abs=8)
    assert all(0.7 * chars - 8 <= length <= 1.3 * chars + 12 for length in lengths)


def test_the_same_seed_gives_the_same_texts() -> None:
    assert text(random.Random(5), 28) == text(random.Random(5), 28)
    assert text(random.Random(5), 28)[-1] == "."


# --- figures


def test_a_percentile_is_the_nearest_value_that_was_seen() -> None:
    hundred = [float(number) for number in range(1, 101)]
    assert [percentile(hundred, percent) for percent in (50, 90, 99, 100)] == [50.0, 90.0, 99.0, 100.0]
    assert percentile([1.0, 2.0, 3.0], 50) == 2.0
    assert percentile([4.0], 99) == 4.0


def test_latency_has_a_mean_and_percentiles_in_whatever_order_values_come() -> None:
    assert Latency.of([3.0, 1.0, 2.0]) == Latency(count=3, mean_s=2.0, p50_s=2.0, p90_s=3.0, p99_s=3.0, max_s=3.0)
    assert Latency.of([]) is None


def test_a_batch_is_counted_once_and_settles_with_its_last_text() -> None:
    texts = [
        text_result(0, 5, batch_id="b", batch_size=2, batch_padding=0.25),
        text_result(0, 3, batch_id="a", batch_size=1),
        text_result(0, 4, batch_id="b", batch_size=2, batch_padding=0.25),
        text_result(0, 4),
    ]
    assert batches(texts) == [
        Batch(settled_at=3, size=1, padding=0.0),
        Batch(settled_at=5, size=2, padding=0.25),
    ]


def test_a_device_is_busy_by_the_difference_of_its_reports() -> None:
    (first, second) = stretches([beat(10, 100.0), beat(14, 103.0), beat(16, 105.0)])
    assert (first.begin_at, first.end_at, first.busy_s, first.share) == (10, 14, 3.0, 0.75)
    assert second.share == 1.0


def test_a_new_process_of_a_device_counts_from_zero() -> None:
    (stretch,) = stretches([beat(10, 100.0), beat(14, 1.0, pid=8)])
    assert (stretch.busy_s, stretch.share) == (1.0, 0.25)


def test_a_device_that_is_gone_counts_for_nothing() -> None:
    assert stretches([beat(10, 0.0, state="gone"), beat(20, 0.0, state="gone")]) == []


def test_the_summary_joins_texts_batches_and_devices() -> None:
    texts = [
        text_result(100.0, 101.0, batch_id="a", batch_size=2, seen_after_s=1.5),
        text_result(100.5, 101.0, batch_id="a", batch_size=2, priority="bulk"),
        text_result(101.0, 104.0, batch_id="b", batch_size=4, batch_padding=0.5, priority="bulk"),
    ]
    beats = [
        beat(99.0, 1.0),
        beat(105.0, 3.0),
        beat(99.0, 0.0, device="host/cuda:0"),
        beat(105.0, 1.0, device="host/cuda:0"),
    ]
    found = summarise(BenchRecording(texts=texts, beats=beats, late_s=0.002))
    assert (found.texts, found.failed, found.errors) == (3, 0, {})
    assert (found.wall_s, found.audio_s, found.audio_s_per_s, found.texts_per_s) == (4.0, 6.0, 1.5, 0.75)
    assert (found.batches, found.batch_size_mean, found.batch_size_max, found.padding_mean) == (2, 3.0, 4, 0.25)
    # Two devices, 3 s of passes in 4 s.
    assert (found.devices, found.busy_share, found.late_s) == (2, 0.375, 0.002)
    bulk, standard = found.groups
    assert (bulk.priority, bulk.texts, bulk.to_seen) == ("bulk", 2, None)
    assert bulk.to_stored == Latency(count=2, mean_s=1.75, p50_s=0.5, p90_s=3.0, p99_s=3.0, max_s=3.0)
    assert standard.to_seen is not None
    assert standard.to_seen.max_s == 1.5


def test_texts_without_audio_are_failed_and_have_no_latency() -> None:
    texts = [
        text_result(100.0, 101.0),
        text_result(100.0, 109.0, state="failed", error="text_unspeakable", audio_s=0.0),
        TextResult(job_id=None, priority="standard", state=REFUSED, error="rate_limited"),
        TextResult(job_id="job_2", priority="standard", state=UNSETTLED, error="no_outcome"),
    ]
    found = summarise(BenchRecording(texts=texts, beats=[], late_s=0.0))
    assert (found.texts, found.failed) == (4, 3)
    assert found.errors == {"text_unspeakable": 1, "rate_limited": 1, "no_outcome": 1}
    assert found.groups[0].to_stored == Latency.of([1.0])
    assert found.busy_share is None


def test_a_bench_of_which_nothing_was_taken_has_figures_too() -> None:
    found = summarise(
        BenchRecording(texts=[TextResult(job_id=None, priority="bulk", state=REFUSED)], beats=[], late_s=0.0)
    )
    assert (found.failed, found.errors, found.wall_s, found.audio_s_per_s) == (1, {REFUSED: 1}, 0.0, 0.0)
    assert dataclasses.asdict(found)["groups"][0]["to_stored"] is None

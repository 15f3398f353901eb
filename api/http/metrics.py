"""`/metrics` for Prometheus: requests by route, their duration, and requests in flight."""

from __future__ import annotations

import os
import time
from pathlib import Path

from flask import Flask, Response, g, request
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

#: The directory in which the processes of one API share their counts. prometheus-client reads it at import.
SHARED_DIR = "PROMETHEUS_MULTIPROC_DIR"
#: Name of each exported metric -> its labels and help.
METRICS = {
    "stentor_http_requests": (("route", "method", "status"), "Answered requests."),
    "stentor_http_request_seconds": (
        ("route", "method"),
        "Duration of requests, without the time to stream the response.",
    ),
    "stentor_http_requests_in_flight": ((), "Requests being answered at this moment."),
}
#: Upper bounds of the duration buckets, in seconds: a submission takes 5 to 50 ms, a waiting request up to a minute.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
#: The label of requests without a route: paths that clients invent must not become labels.
NO_ROUTE = "none"
#: Other methods are counted as ``OTHER_METHOD``.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER_METHOD = "OTHER"


class HttpMetrics:
    """The metrics of one app in its own registry; the processes of one API sum theirs through files."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        name = "stentor_http_requests"
        self._requests = Counter(name, METRICS[name][1], METRICS[name][0], registry=self.registry)
        name = "stentor_http_request_seconds"
        self._seconds = Histogram(name, METRICS[name][1], METRICS[name][0], buckets=BUCKETS, registry=self.registry)
        name = "stentor_http_requests_in_flight"
        # `livesum`: the sum over all live processes.
        self._in_flight = Gauge(name, METRICS[name][1], registry=self.registry, multiprocess_mode="livesum")

    def begin(self) -> None:
        """Start the clock of a request."""
        g.metrics_began_s = time.perf_counter()
        self._in_flight.inc()

    def note_status(self, response: Response) -> Response:
        """Remember the status of the response."""
        g.metrics_status = response.status_code
        return response

    def end(self, _exc: BaseException | None = None) -> None:
        """Count the request, whatever its outcome."""
        began_s = g.pop("metrics_began_s", None)
        if began_s is None:
            return
        self._in_flight.dec()
        route = request.url_rule.rule if request.url_rule else NO_ROUTE
        method = request.method if request.method in METHODS else OTHER_METHOD
        self._seconds.labels(route, method).observe(time.perf_counter() - began_s)
        self._requests.labels(route, method, str(g.pop("metrics_status", 500))).inc()

    def page(self) -> Response:
        """All metrics in Prometheus' text format."""
        registry = self.registry
        if SHARED_DIR in os.environ:
            _forget_dead_processes(Path(os.environ[SHARED_DIR]))
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_PLAIN_0_0_4)


def _forget_dead_processes(directory: Path) -> None:
    """Drop the requests in flight of processes that have ended; what they have counted stays."""
    for pid in {path.stem.rpartition("_")[2] for path in directory.glob("gauge_live*.db")}:
        if not Path("/proc", pid).exists():
            mark_process_dead(pid)  # type: ignore[no-untyped-call]


def install(app: Flask) -> None:
    """Count all requests of this app and serve `/metrics`. Call it first, before a hook that may refuse a request."""
    metrics = HttpMetrics()
    app.before_request(metrics.begin)
    app.after_request(metrics.note_status)
    app.teardown_request(metrics.end)
    app.add_url_rule("/metrics", "metrics", metrics.page)

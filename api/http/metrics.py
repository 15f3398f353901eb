"""`/metrics` for Prometheus: how many requests by route, how long they took, and how many are being answered."""

from __future__ import annotations

import os
import time

from flask import Flask, Response, g, request
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.multiprocess import MultiProcessCollector

#: Where the processes of one API keep their counts. prometheus-client looks for it when it is imported.
SHARED_DIR = "PROMETHEUS_MULTIPROC_DIR"
#: Name -> labels and what it is, of all that is exported.
METRICS = {
    "stentor_http_requests": (("route", "method", "status"), "Requests that were answered."),
    "stentor_http_request_seconds": (("route", "method"), "How long they took; what is streamed comes after that."),
    "stentor_http_requests_in_flight": ((), "Requests that are being answered just now."),
}
#: Upper ends of the classes of times, in seconds: a submission takes 5 to 50 ms, and who waits does so for a minute.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
#: The route of a request that none takes: what clients make up must not become labels.
NO_ROUTE = "none"
#: And the method of one that has none of these.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER_METHOD = "OTHER"


class Metrics:
    """The metrics of one app, in a registry of its own; the processes of one API add theirs up through files."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        name = "stentor_http_requests"
        self._requests = Counter(name, METRICS[name][1], METRICS[name][0], registry=self.registry)
        name = "stentor_http_request_seconds"
        self._seconds = Histogram(name, METRICS[name][1], METRICS[name][0], buckets=BUCKETS, registry=self.registry)
        name = "stentor_http_requests_in_flight"
        # `livesum`: of the processes that live, all together.
        self._in_flight = Gauge(name, METRICS[name][1], registry=self.registry, multiprocess_mode="livesum")

    def begin(self) -> None:
        """A request has come."""
        g.metrics_began_s = time.perf_counter()
        self._in_flight.inc()

    def note_status(self, response: Response) -> Response:
        """It has its answer."""
        g.metrics_status = response.status_code
        return response

    def end(self, _exc: BaseException | None = None) -> None:
        """It is over, whatever came of it."""
        began_s = g.pop("metrics_began_s", None)
        if began_s is None:
            return
        self._in_flight.dec()
        route = request.url_rule.rule if request.url_rule else NO_ROUTE
        method = request.method if request.method in METHODS else OTHER_METHOD
        self._seconds.labels(route, method).observe(time.perf_counter() - began_s)
        self._requests.labels(route, method, str(g.pop("metrics_status", 500))).inc()

    def page(self) -> Response:
        """All of it as Prometheus reads it."""
        registry = self.registry
        if SHARED_DIR in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_PLAIN_0_0_4)


def install(app: Flask) -> None:
    """Count all requests of this app, and answer at `/metrics`; first of all, before anything may refuse one."""
    metrics = Metrics()
    app.before_request(metrics.begin)
    app.after_request(metrics.note_status)
    app.teardown_request(metrics.end)
    app.add_url_rule("/metrics", "metrics", metrics.page)

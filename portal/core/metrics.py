"""What is counted, and the page that Prometheus reads: all processes of one home together.

With PROMETHEUS_MULTIPROC_DIR set (the supervisor does) every process keeps its numbers in files there, and the page
adds them up; without it the page shows its own process. What stands in the database is asked at each scrape.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from prometheus_client import REGISTRY, CollectorRegistry, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from portal.core.models import OutboxEvent

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
HTTP = Histogram("concord_http_seconds", "Requests to the portal", ["method", "route", "status"], buckets=SECONDS)
TASK = Histogram("concord_task_seconds", "Tasks of the workers", ["task", "how"], buckets=SECONDS)


class Measured:
    """Times every request by the pattern of its address, never by the address itself."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        started = time.perf_counter()
        response = self.get_response(request)
        route = request.resolver_match.route if request.resolver_match else "none"
        HTTP.labels(request.method, route, str(response.status_code)).observe(time.perf_counter() - started)
        return response


@contextmanager
def task(name: str) -> Iterator[None]:
    """Time one task; an exception counts as failed."""
    started, how = time.perf_counter(), "failed"
    try:
        yield
        how = "done"
    finally:
        TASK.labels(name, how).observe(time.perf_counter() - started)


def page() -> bytes:
    """All numbers in Prometheus' text format."""
    registry = REGISTRY
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
    stored = CollectorRegistry()
    owed = Gauge(
        "concord_outbox_rows", "Tasks that are owed, under way or given up", ["task", "state"], registry=stored
    )
    rows = OutboxEvent.objects.exclude(state=OutboxEvent.State.DONE).values_list("task", "state")
    for name, state, count in rows.annotate(n=Count("pk")):
        owed.labels(name, state).set(count)
    return generate_latest(registry) + generate_latest(stored)

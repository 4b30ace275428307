"""Metrics of the service for Prometheus, with KServe's names where they exist."""

from collections.abc import Iterator
from dataclasses import dataclass

from flask import Blueprint, Flask, Response, current_app
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from camserve.errors import OutOfMemory
from camserve.version import __version__
from camserve.web.operations import PLAIN, gives
from camserve.web.request_record import Record, record
from camserve.web.service import Service
from camserve.web.work.job_store import Jobs
from camserve.web.work.result_cache import Memory

metrics = Blueprint("metrics", __name__)

EXTENSION = "camserve-metrics"

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_MEGAPIXELS = (0.1, 0.3, 1, 2, 4, 8, 12, 24, 50)
# KServe's names for steps of Timing. KServe's third step is explain or predict, by the kind of request.
_STEPS = {"preprocess": ("decode",), "postprocess": ("render", "encode")}
_WORK = ("forward", "method")


class Metrics:
    """The metrics of one service, in their own registry."""

    def __init__(self, service: Service) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        Info("camserve_build", "The version that runs", registry=registry).info({"version": __version__})
        gate = service.gate
        for name, words, value in (
            ("queue_depth", "Requests that wait in the queue", lambda: gate.waiting),
            ("in_flight", "Requests that are being decoded, explained or encoded", lambda: gate.working),
            ("costly", "Costly requests that wait or run", lambda: gate.costly),
            ("uploads", "Bodies that are being read", lambda: gate.reading),
            ("models", "Models in memory", lambda: service.shelf.count),
        ):
            Gauge(f"camserve_{name}", words, registry=registry).set_function(value)
        self.seconds = {
            step: Histogram(
                f"request_{step}_seconds", f"Time to {step}", ["model_name"], registry=registry, buckets=_SECONDS
            )
            for step in (*_STEPS, "predict", "explain")
        }
        registry.register(_Memory(service.memory))
        registry.register(_Jobs(service.jobs))
        Gauge("camserve_jobs_bytes", "Bytes that jobs hold", registry=registry).set_function(
            lambda: service.jobs.nbytes
        )
        self.requests = Counter("camserve_requests", "Answers by status", ["status"], registry=registry)
        self.rejected = Counter("camserve_rejected", "Requests refused, by code", ["code"], registry=registry)
        self.failed = Counter("camserve_failed", "Requests taken, but failed, by code", ["code"], registry=registry)
        self.megapixels = Histogram(
            "camserve_image_megapixels", "Sizes of images", registry=registry, buckets=_MEGAPIXELS
        )

    def count(self, response: Response, now: Record) -> None:
        """Count one answer."""
        status = response.status_code
        self.requests.labels(str(status)).inc()
        if code := now.facts.get("code"):
            failed = status in (500, 504) or code == OutOfMemory.code
            (self.failed if failed else self.rejected).labels(code).inc()
        if "megapixels" in now.facts:
            self.megapixels.observe(now.facts["megapixels"])
        if model := now.facts.get("model"):
            work = "predict" if now.facts.get("predict") else "explain"
            for step, parts in {**_STEPS, work: _WORK}.items():
                if taken := sum(now.timing.seconds.get(part, 0) for part in parts):
                    self.seconds[step].labels(model).observe(taken)


@dataclass(frozen=True)
class _Memory(Collector):
    """The counts of the memory of results."""

    memory: Memory

    def collect(self) -> Iterator[Metric]:
        for name, counts in (("hits", self.memory.hits), ("misses", self.memory.misses)):
            metric = CounterMetricFamily(
                f"camserve_memory_{name}", f"Lookups in the memory of results: {name}", labels=["kind"]
            )
            for kind, count in counts.items():
                metric.add_metric([kind], count)
            yield metric


@dataclass(frozen=True)
class _Jobs(Collector):
    """The number of jobs in each state."""

    jobs: Jobs

    def collect(self) -> Iterator[Metric]:
        metric = GaugeMetricFamily("camserve_jobs", "Jobs by state", labels=["state"])
        for state, count in self.jobs.counts().items():
            metric.add_metric([state], count)
        yield metric


def keep_metrics(app: Flask, of: Service) -> None:
    """Count every answer of `app`, and serve the metrics at /metrics."""
    kept = app.extensions[EXTENSION] = Metrics(of)

    @app.after_request
    def _count(response: Response) -> Response:
        kept.count(response, record())
        return response

    app.register_blueprint(metrics)


@metrics.get("/metrics")
@gives(types={PLAIN: str})
def show() -> Response:
    """All metrics, in Prometheus's text format."""
    kept: Metrics = current_app.extensions[EXTENSION]
    return Response(generate_latest(kept.registry), content_type=CONTENT_TYPE_LATEST)

"""OpenTelemetry traces: a span for each request, and one for each of its steps."""

import time
from typing import TYPE_CHECKING

from flask import Flask, Response, g, request

from camserve.errors import ConfigError
from camserve.version import __version__
from camserve.web.request_record import Record, record

if TYPE_CHECKING:
    from opentelemetry.sdk import trace as sdk
    from opentelemetry.trace import Tracer, TracerProvider

# Most steps of a request that get a span: a method may run the network a thousand times.
MOST = 100
# Facts of a request, and the names of the span's attributes for them.
_FACTS = {
    "model": "camserve.model",
    "explained_by": "camserve.method",
    "megapixels": "camserve.megapixels",
    "code": "camserve.code",
}


def exporting() -> "sdk.TracerProvider":
    """A provider that sends spans by OTLP over HTTP, as the standard variables OTEL_* configure. Raises ConfigError.

    Call this in the process that answers requests, because the provider has its own thread.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise ConfigError('serve.traces = true needs OpenTelemetry: pip install "camserve[traces]"') from None
    own = Resource.create({"service.name": "camserve", "service.version": __version__})
    made = TracerProvider(resource=own.merge(OTELResourceDetector().detect()))
    made.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return made


def keep_traces(app: Flask, provider: "TracerProvider") -> None:
    """Send a span for each request. If the request has a `traceparent`, the span joins the caller's trace."""
    tracer = provider.get_tracer("camserve", __version__)

    @app.before_request
    def _listen() -> None:
        steps: list[tuple[str, float, float]] = []

        def heard(step: str, began: float, ended: float) -> None:
            if len(steps) < MOST:
                steps.append((step, began, ended))

        record().timing.heard = heard
        g.steps = steps

    @app.after_request
    def _send(response: Response) -> Response:
        if "steps" in g:
            _spans(tracer, record(), g.steps, response.status_code)
        return response


def _spans(tracer: "Tracer", now: Record, steps: list[tuple[str, float, float]], status: int) -> None:
    """Send the span of an answered request, and the spans of its steps."""
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    ended, elapsed = time.time_ns(), time.perf_counter()

    def at(moment: float) -> int:
        """Convert a time of time.perf_counter() to nanoseconds of time.time_ns()."""
        return ended - round(1e9 * (elapsed - moment))

    route = request.url_rule.rule if request.url_rule else request.path
    span = tracer.start_span(
        f"{request.method} {route}",
        context=TraceContextTextMapPropagator().extract(dict(request.headers.items(lower=True))),
        kind=trace.SpanKind.SERVER,
        start_time=at(now.started),
        attributes={
            "http.request.method": request.method,
            "http.route": route,
            "http.response.status_code": status,
            "camserve.request": now.id,
            **{name: now.facts[fact] for fact, name in _FACTS.items() if now.facts.get(fact) is not None},
        },
    )
    within = trace.set_span_in_context(span)
    for step, began, over in steps:
        tracer.start_span(step, context=within, start_time=at(began)).end(at(over))
    if status >= 500:
        span.set_status(trace.StatusCode.ERROR)
    span.end(ended)
    now.facts["trace"] = trace.format_trace_id(span.get_span_context().trace_id)

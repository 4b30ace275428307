"""OpenTelemetry's spans of a request, as its own exporter in memory has them."""

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import in_background, picture

from camserve.config import load_settings
from camserve.errors import ConfigError
from camserve.images.reading import encode
from camserve.web import traces
from camserve.web.app import create_app
from camserve.web.traces import exporting, keep_traces

if TYPE_CHECKING:
    from camserve.web.service import Service

export: Any = pytest.importorskip("opentelemetry.sdk.trace.export", reason='pip install "camserve[traces]"')
EXPLAIN, PNG = "/api/v1/explain", {"content_type": "image/png"}
CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def spans(service: "Service") -> Iterator[tuple[Any, Any]]:
    """A client of the service, and what was sent."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    memory, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(export.SimpleSpanProcessor(memory))
    app = create_app(service=service)
    keep_traces(app, provider)
    yield app.test_client(), memory
    provider.shutdown()


def test_a_request_is_a_span_with_its_steps(spans: tuple[Any, Any], caplog: pytest.LogCaptureFixture) -> None:
    client, memory = spans
    with caplog.at_level(logging.INFO, "camserve.request"):
        answer = client.post(EXPLAIN, data=encode(picture(), "png"), headers={"traceparent": CALLER}, **PNG)
    assert answer.status_code == 200
    *steps, whole = memory.get_finished_spans()
    assert whole.name == "POST /api/v1/explain"
    assert f"{whole.context.trace_id:032x}" == CALLER.split("-")[1]
    assert f"{whole.parent.span_id:016x}" == CALLER.split("-")[2]
    assert whole.attributes["http.response.status_code"] == 200
    assert (whole.attributes["camserve.model"], whole.attributes["camserve.method"]) == ("efficientnet-lite0", "cam")
    assert whole.attributes["camserve.request"] == answer.headers["X-Request-Id"]
    assert [one.facts["trace"] for one in caplog.records if hasattr(one, "facts")] == [CALLER.split("-")[1]]
    assert {"decode", "queue", "method", "forward", "render", "encode"} <= {step.name for step in steps}
    for step in steps:
        assert step.parent.span_id == whole.context.span_id
        assert whole.start_time <= step.start_time <= step.end_time <= whole.end_time
    timed = dict(part.split(";dur=") for part in answer.headers["Server-Timing"].split(", "))
    (decode,) = (step for step in steps if step.name == "decode")
    assert (decode.end_time - decode.start_time) / 1e6 == pytest.approx(float(timed["decode"]), abs=0.5)


def test_a_refusal_is_a_span_with_its_code_and_a_failure_an_error(spans: tuple[Any, Any]) -> None:
    client, memory = spans
    assert client.post(f"{EXPLAIN}?alpah=1", data=b"x", **PNG).status_code == 400
    (refused,) = memory.get_finished_spans()
    assert (refused.attributes["camserve.code"], refused.status.is_ok) == ("unknown_name", True)
    assert refused.parent is None


def test_a_request_of_many_steps_has_not_as_many_spans(spans: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    client, memory = spans
    monkeypatch.setattr(traces, "MOST", 3)
    assert client.post(EXPLAIN, data=encode(picture(), "png"), **PNG).status_code == 200
    assert len(memory.get_finished_spans()) == 3 + 1


def test_the_setting_sends_them_by_otlp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To a server that only counts; nothing is sent without the setting."""
    got: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.path.encode() + self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Writes no log of requests."""

    with in_background(HTTPServer(("127.0.0.1", 0), Collector)) as origin:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", origin)
        provider = exporting()
        provider.get_tracer("test").start_span("a-span-of-ours").end()
        provider.shutdown()
    (sent,) = got
    assert sent.startswith(b"/v1/traces")
    assert load_settings(environ={}).serve.traces is False


def test_without_the_extra_the_setting_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(ConfigError, match=r'pip install "camserve\[traces\]"'):
        exporting()


def test_a_service_without_traces_loads_none_of_it() -> None:
    code = "import camserve.web.app, sys, json; print(json.dumps([m for m in sys.modules if 'opentelemetry' in m]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []

"""deploy/grafana.json asks for metrics that /metrics has, by labels that these have."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client.parser import text_string_to_metric_families

import camserve
from camserve.web.app import create_app

if TYPE_CHECKING:
    from flask.testing import FlaskClient

    from camserve.web.service import Service

DASHBOARD: dict[str, Any] = json.loads((Path(camserve.__file__).parent.parent / "deploy" / "grafana.json").read_text())
# What Prometheus itself adds to each sample, and what a histogram's buckets have.
OF_PROMETHEUS = {"job", "instance"}
FUNCTIONS = {"sum", "rate", "by", "histogram_quantile", "label_values"}


def expressions() -> list[str]:
    asked = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    return asked + [one["query"] for one in DASHBOARD["templating"]["list"] if one["type"] == "query"]


def metrics_of(expression: str) -> set[str]:
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]|by \([^)]*\)|, \w+\)$", "", expression)
    return set(re.findall(r"[a-z_]{3,}", bare)) - FUNCTIONS


def test_every_metric_and_label_is_there(client: "FlaskClient", service: "Service") -> None:
    picture = (Path(camserve.__file__).parent.parent / "photos" / "cat.jpg").read_bytes()
    for path in ("/api/v1/explain", "/v1/models/efficientnet-lite0:predict", "/api/v1/explain?alpah=1"):
        client.post(path, data=picture, content_type="image/jpeg")
    families = list(text_string_to_metric_families(client.get("/metrics").text))
    labels: dict[str, set[str]] = {}
    for family in families:
        names = {family.name, f"{family.name}_total"} if family.type == "counter" else {family.name}
        for sample in family.samples:
            names |= {sample.name}
            labels.setdefault(sample.name, set()).update(sample.labels)
        for name in names:
            labels.setdefault(name, set())
    asked = {name for expression in expressions() for name in metrics_of(expression)}
    assert len(asked) > 15
    assert asked <= set(labels)
    for expression in expressions():
        used = set(re.findall(r"(\w+)=~", expression))
        for inside in re.findall(r"by \(([^)]*)\)", expression):
            used |= set(inside.split(", "))
        known = set().union(*(labels[name] for name in metrics_of(expression))) | OF_PROMETHEUS
        if any(labels[name] for name in metrics_of(expression)):
            assert used <= known, expression


def test_every_metric_of_our_own_is_on_the_dashboard(service: "Service") -> None:
    client = create_app(service=service).test_client()
    families = {one.name for one in text_string_to_metric_families(client.get("/metrics").text)}
    families = {name for name in families if not name.endswith("_created")}  # when a count began
    shown = " ".join(expressions())
    assert {name for name in families if name.startswith(("camserve", "request_")) and name not in shown} == set()


def test_panels_do_not_overlap_and_have_their_own_numbers() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24

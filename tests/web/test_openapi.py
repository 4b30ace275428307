"""The description is complete, and the service does nothing that it does not describe."""

import contextlib
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask, Response, jsonify, request

from camserve.config import load_settings
from camserve.methods import AUTO, METHODS
from camserve.web.app import create_app
from camserve.web.operations import gives
from camserve.web.request_options import Options
from camserve.web.routes.openapi import describe
from camserve.web.service import Service

schemathesis: Any = pytest.importorskip("schemathesis")
hypothesis: Any = pytest.importorskip("hypothesis")


@pytest.fixture(scope="module")
def app() -> Iterator[Flask]:
    service = Service(load_settings(environ={}))
    service.load()
    yield create_app(service=service)
    service.close()


@pytest.fixture
def description(app: Flask) -> dict[str, Any]:
    with app.app_context():
        return describe(app)


# pytest 9.2 has no place for schemathesis's own way to make tests, so its cases are asked for here.
@pytest.mark.parametrize("mode", ["POSITIVE", "NEGATIVE"])
def test_no_answer_is_undocumented(app: Flask, mode: str, pytestconfig: pytest.Config) -> None:
    from schemathesis.specs.openapi import checks

    own = (checks.status_code_conformance, checks.content_type_conformance, checks.response_schema_conformance)
    schema = schemathesis.openapi.from_wsgi("/openapi.json", app)
    statuses: Counter[int] = Counter()
    for found in schema.get_all_operations():

        @hypothesis.settings(
            max_examples=200 if pytestconfig.getoption("--large") else 8,
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(found.ok().as_strategy(generation_mode=schemathesis.GenerationMode[mode]))
        def ask(case: Any) -> None:
            response = case.call_and_validate(checks=[schemathesis.checks.not_a_server_error, *own])
            statuses[response.status_code] += 1

        with contextlib.suppress(hypothesis.errors.Unsatisfiable):  # nothing can be wrong in a request without parts
            ask()
    assert statuses[200] > 0 or mode == "NEGATIVE"
    assert statuses[400] > 0
    assert set(statuses) <= {200, 202, 400, 404, 406, 415, 422}


def test_every_path_is_described(app: Flask, description: dict[str, Any]) -> None:
    described = {(path, method.upper()) for path, made in description["paths"].items() for method in made}
    served = {
        (rule.rule.replace("<card:", "{").replace("<", "{").replace(">", "}"), method)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert served - described == {
        ("/static/{path:filename}", "GET"),
        ("/examples/{name}", "GET"),
        ("/", "POST"),
        ("/docs", "GET"),
        ("/docs/{name}", "GET"),
    }


def test_a_route_is_described_from_its_view_alone() -> None:
    app = create_app(service=Service(load_settings(environ={})))

    @app.get("/times/<int:count>")
    @gives(dict[str, int], query={"word": "what is said"})
    def times(count: int) -> Response:
        """A word, so many times."""
        return jsonify({request.args["word"]: count})

    with app.app_context():
        made = describe(app)["paths"]["/times/{count}"]["get"]
    assert made["summary"] == "A word, so many times."
    assert [(one["name"], one["in"], one["required"]) for one in made["parameters"]] == [
        ("count", "path", True),
        ("word", "query", True),
    ]
    assert set(made["responses"]) == {"200", "400", "401", "404", "414", "417", "431", "501", "503"}


def test_options_and_names_come_from_the_registries(description: dict[str, Any]) -> None:
    parameters = description["paths"]["/api/v1/explain"]["post"]["parameters"]
    query = {one["name"]: one["schema"] for one in parameters if one["in"] == "query"}
    assert set(query) == set(Options.model_fields)
    (method,) = query["method"]["anyOf"]
    assert method["enum"] == [AUTO, *METHODS]
    in_json = description["components"]["schemas"]["Options"]["properties"]
    assert in_json["method"]["anyOf"][0]["enum"] == [AUTO, *METHODS]
    (name,) = description["paths"]["/v1/models/{name}:explain"]["post"]["parameters"][:1]
    assert "efficientnet-lite0" in name["schema"]["enum"]


def test_references_lead_somewhere(description: dict[str, Any]) -> None:
    text = json.dumps(description)
    for name in {part.split('"')[0] for part in text.split('"#/components/schemas/')[1:]}:
        assert name in description["components"]["schemas"]
    assert "/$defs/" not in text

"""The page at /docs: the API, shown by Swagger UI under the same strict policy, from this host alone."""

from typing import TYPE_CHECKING

import pytest
from flask.testing import FlaskClient

from camserve.web.routes import api_docs

if TYPE_CHECKING:
    from playwright.sync_api import Page


def test_the_api_is_shown_and_can_be_tried(page: "Page", address: str) -> None:
    pytest.importorskip("flask_swagger_ui", reason="no flask-swagger-ui")
    page.click("footer a")
    page.wait_for_selector(".opblock-summary-path:has-text('/api/v1/explain')")
    assert page.url == f"{address}docs"
    page.click(".opblock-summary-control:has([data-path='/livez'])")
    page.click("text=Try it out")
    page.click(".execute")
    page.wait_for_selector(".live-responses-table .microlight:has-text('alive')")


def test_without_the_extra_it_says_how_to_get_it(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_docs, "_folder", lambda: None)
    page = client.get("/docs")
    assert 'pip install "camserve[apidocs]"' in page.text
    assert 'href="/openapi.json"' in page.text
    assert "<script" not in page.text
    assert client.get("/docs/swagger-ui.css").status_code == 404


def test_nothing_else_of_the_package_is_served(client: FlaskClient) -> None:
    for name in ("oauth2-redirect.html", "..%2f__init__.py", "VERSION"):
        assert client.get(f"/docs/{name}").status_code == 404

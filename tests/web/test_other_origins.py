"""Pages of other origins: closed by default, opened by settings, on the real server and in a real browser."""

import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import in_background
from flask.testing import FlaskClient

import camserve
from camserve.config import load_settings
from camserve.errors import ConfigError
from camserve.web.app import create_app
from camserve.web.service import Service

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FIRST = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
WIKI = "https://wiki.example.org"


def client_with(**serve: Any) -> FlaskClient:
    """Asks an application with these settings and no model."""
    return create_app(service=Service(load_settings(overrides={"serve": serve}, environ={}))).test_client()


def test_nothing_is_open_by_default(client: FlaskClient) -> None:
    answer = client.get("/livez", headers={"Origin": WIKI})
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    assert not [name for name, _ in answer.headers if name.startswith("Access-Control")]
    first = client.options("/api/v1/explain", headers={"Origin": WIKI, **FIRST})
    assert not [name for name, _ in first.headers if name.startswith("Access-Control")]


def test_origins_of_the_list_may_read_and_others_may_not() -> None:
    client = client_with(cors_origins=(WIKI,), token="a-token-of-some-length")
    first = client.options("/api/v1/explain", headers={"Origin": WIKI, **FIRST})  # carries no token
    assert (first.status_code, first.headers["Access-Control-Allow-Origin"]) == (204, WIKI)
    assert "Authorization" in first.headers["Access-Control-Allow-Headers"]
    assert "DELETE" in first.headers["Access-Control-Allow-Methods"]
    assert client.options("/api/v1/explain", headers={"Origin": f"{WIKI}:444", **FIRST}).status_code == 401
    refused = client.get("/api/v1/models", headers={"Origin": WIKI})
    assert (refused.status_code, refused.headers["Access-Control-Allow-Origin"]) == (401, WIKI)  # the page can say why
    health = client.get("/livez", headers={"Origin": WIKI})
    assert "X-Cam-Class" in health.headers["Access-Control-Expose-Headers"]
    other = client.get("/livez", headers={"Origin": "https://other.example.org"})
    assert "Access-Control-Allow-Origin" not in other.headers
    assert (health.headers["Vary"], other.headers["Vary"]) == ("Origin", "Origin")  # for caches between


def test_all_origins_have_a_name_of_their_own() -> None:
    client = client_with(cors_origins=("*",), frame_ancestors=("*",))
    answer = client.get("/livez", headers={"Origin": WIKI})
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Content-Security-Policy"].endswith("frame-ancestors *")


@pytest.mark.parametrize(
    "value", ["wiki.example.org", f"{WIKI}/", f"{WIKI}/page", "https://*", "'self'", "https://A.b", ""]
)
@pytest.mark.parametrize("name", ["frame_ancestors", "cors_origins"])
def test_what_is_no_origin_is_refused(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s)serve.{name}.*is not an origin, such as https://wiki.example.org"):
        load_settings(overrides={"serve": {name: (value,)}}, environ={})


def test_a_variable_holds_several() -> None:
    serve = load_settings(environ={"CAMSERVE_SERVE_CORS_ORIGINS": f"{WIKI},http://[::1]:3000"}).serve
    assert serve.cors_origins == (WIKI, "http://[::1]:3000")


# ---- in a browser, on the real server


class Pages(BaseHTTPRequestHandler):
    """A page of another origin that frames whatever its query says."""

    def do_GET(self) -> None:
        framed = self.path.partition("?")[2]
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(f'<!doctype html><iframe src="{framed}" width="900" height="700"></iframe>'.encode())

    def log_message(self, *_: Any) -> None:
        """Writes no log."""


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[str]:
    """The origin of another server; the same port of localhost is a third origin."""
    with in_background(HTTPServer(("127.0.0.1", 0), Pages)) as origin:
        yield origin


@pytest.fixture(scope="module")
def opened(cache: Path, elsewhere: str) -> Iterator[str]:
    """The address of a real `camserve serve` that lets `elsewhere` frame it and read its answers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(camserve.__file__).parent.parent / "benchmarks"))
        from running import running

        origins = {"CAMSERVE_SERVE_FRAME_ANCESTORS": elsewhere, "CAMSERVE_SERVE_CORS_ORIGINS": elsewhere}
        with running(**origins, CAMSERVE_COMPUTE_CACHE=str(cache)) as made:
            yield made.url


@pytest.mark.skipif(sys.platform == "win32", reason="the server is gunicorn")
def test_the_recipe_for_a_frame_works_where_it_is_allowed(browser: "Browser", opened: str, elsewhere: str) -> None:
    page = browser.new_page()
    page.goto(f"{elsewhere}/?{opened}")
    frame = page.frame_locator("iframe")
    frame.locator("#examples button").first.click()
    frame.locator("#for:text-is('Egyptian cat')").wait_for()
    assert frame.locator("#heat").is_visible()
    page.close()


def test_another_origin_may_neither_frame_nor_read(browser: "Browser", opened: str, elsewhere: str) -> None:
    page = browser.new_page()
    said: list[str] = []
    page.on("console", lambda one: said.append(one.text))
    other = elsewhere.replace("127.0.0.1", "localhost")
    page.goto(f"{other}/?{opened}")
    page.wait_for_timeout(300)
    assert any("frame-ancestors" in one for one in said)
    assert read(page, opened) == "TypeError"
    page.goto(elsewhere)
    assert read(page, opened) == "Egyptian cat"
    page.close()


def read(page: "Page", service: str) -> str:
    """The class of an example, asked for by a page's own script, which a header makes ask first."""
    return str(
        page.evaluate(
            """async (service) => {
                try {
                    const photo = await (await fetch(`${service}/examples/cat.jpg`)).blob();
                    const headers = { "Content-Type": "image/jpeg", "Accept": "application/json" };
                    const answer = await fetch(`${service}/api/v1/explain`, { method: "POST", body: photo, headers });
                    return answer.headers.get("X-Cam-Class-Name");
                } catch (error) {
                    return error.name;
                }
            }""",
            service.rstrip("/"),
        )
    )

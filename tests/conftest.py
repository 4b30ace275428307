"""Fixtures and helpers for all tests, and checks that run with every test."""

import gc
import logging
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPMessage
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
from attacks import PROXY
from PIL import Image

import camserve
from camserve.methods import METHODS, Method
from camserve.render.overlay import overlay

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask.testing import FlaskClient
    from playwright.sync_api import Page
    from running import Running
    from torch import Tensor

    from camserve.methods.evidence import Evidence
    from camserve.web.service import Service

# Folders and files whose tests are all quick: `pytest -m quick`.
QUICK_PLACES = ("catalogue", "config", "explanation", "geometry", "images", "render", "test_laws.py")

# Methods that run the network dozens of times or more: test_methods_*.py use them with small networks.
DEAR = {"scorecam", "sscam", "iscam", "groupcam", "opticam", "polycam", "rise", "occlusion"}
DEAR |= {"integratedgradients", "refinecam", "fullgrad"}
# Methods for tests with the embedded model, which is not a transformer.
QUICK = [method.name for method in METHODS.values() if method.name not in DEAR and method.needs != "attention"]

# Milliseconds that a test waits for a browser, also on a busy machine.
PATIENCE = 15000

# Removed from the environment at once, because camserve would refuse it as an unknown setting.
TEST_DATA = os.environ.pop("CAMSERVE_TEST_DATA", None)


def pytest_addoption(parser: pytest.Parser) -> None:
    """--large: also run tests that take minutes. --rewrite: see test_golden.py."""
    parser.addoption("--large", action="store_true", help="also run the tests that take minutes")
    parser.addoption("--rewrite", action="store_true", help="write the texts of tests/doors/golden anew")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests in QUICK_PLACES as quick; skip tests marked large, except with --large."""
    places = [Path(__file__).parent / place for place in QUICK_PLACES]
    for test in items:
        if any(test.path.is_relative_to(place) for place in places):
            test.add_marker("quick")
        if test.get_closest_marker("large") and not test.config.getoption("--large"):
            test.add_marker(pytest.mark.skip(reason="takes over half a minute; --large runs it"))


@pytest.fixture(autouse=True)
def no_leaks() -> Iterator[None]:
    """Fail a test that leaves a thread behind (the shared worker pool may stay)."""
    before = set(threading.enumerate())
    yield
    for thread in threading.enumerate():
        if thread.name == "camserve-graph":  # compiles for a fraction of a second, and ends
            thread.join(60)
    if left := _left(before):
        gc.collect()  # an error of another library may keep its pool alive
        time.sleep(0.2)
        left = _left(before)
    assert not left, f"threads left behind: {left}"


def _left(before: set[threading.Thread]) -> list[str]:
    return [
        thread.name
        for thread in threading.enumerate()
        if thread not in before and not thread.daemon and not thread.name.startswith("camserve-worker")
    ]


@pytest.fixture(autouse=True)
def own_logging() -> None:
    """Give each test the logging of a new process: some library of other tests raises the level of the root logger."""
    logging.disable(logging.NOTSET)
    logging.getLogger().setLevel(logging.WARNING)


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """Give each test a clean environment: no settings of the developer's shell, no files in the home folder."""
    for name in list(os.environ):
        if name.startswith("CAMSERVE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CAMSERVE_MODELS_FOLDERS", "")  # no models added by the developer
    monkeypatch.setenv("CAMSERVE_COMPUTE_CACHE", str(cache))


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which all tests keep converted networks."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def proofs_ask_their_methods(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail a test that is marked as the proof of a method and never runs it."""
    claimed = {name for kind in ("exact", "oracle") for name in proved(request.node, kind)}
    if not claimed:
        yield
        return
    from camserve.methods import apply as applying

    ran, find = set(), applying.function_of

    def noted(method: Method) -> "Callable[[Evidence], Tensor]":
        ran.add(method.name)
        return find(method)

    monkeypatch.setattr(applying, "function_of", noted)
    yield
    assert claimed <= ran, f"marked as a proof of {claimed - ran}, which it does not run by camserve.methods.apply"


def proved(test: pytest.Item, kind: str) -> set[str]:
    """Return the methods that a test is marked to prove: the named methods, else its parameter `name`."""
    marks = list(test.iter_markers(kind))
    named = {name for mark in marks for name in mark.args}
    given = getattr(test, "callspec", None)
    return named or ({given.params["name"]} if marks and given else set())


@pytest.fixture(scope="session")
def model() -> camserve.Model:
    """The embedded model."""
    return camserve.load("efficientnet-lite0")


@pytest.fixture(scope="session")
def photos() -> Path:
    """The folder of real photographs that scikit-image ships."""
    spec = find_spec("skimage")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "data"


@pytest.fixture(scope="session")
def cat(photos: Path) -> Path:
    """chelsea.png, 451 x 300, a cat."""
    return photos / "chelsea.png"


@pytest.fixture(scope="session")
def data() -> Path:
    """Photographs for measurements, which are not part of the project: CAMSERVE_TEST_DATA, or beside the checkout."""
    folder = Path(TEST_DATA or Path(__file__).parents[2] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip("the photographs for measuring are not here (CAMSERVE_TEST_DATA)")
    return folder


@pytest.fixture(scope="session")
def server(cache: Path) -> Iterator[str]:
    """The address of a real `camserve serve` with default settings, as in `own_environment`."""
    command = [sys.executable, "-m", "camserve", "serve", "--port", "0"]
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith("CAMSERVE_")}
    surroundings |= {"CAMSERVE_MODELS_FOLDERS": "", "CAMSERVE_COMPUTE_CACHE": str(cache)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=surroundings) as process:
        try:
            assert process.stdout is not None
            url = re.search(r"http://\S+", process.stdout.readline())
            assert url is not None
            wait_until_ready(url[0])
            yield url[0]
        finally:
            process.terminate()
            process.wait(60)


@pytest.fixture(scope="session")
def attacked(cache: Path) -> "Iterator[Running]":
    """A real `camserve serve` without a cache that trusts `PROXY`, with its log."""
    if not Path("/proc/self/status").exists():
        pytest.skip("what a process holds is read from /proc, which is Linux's")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(camserve.__file__).parent.parent / "benchmarks"))
        from running import FORGETFUL, running

        with running(**FORGETFUL, CAMSERVE_SERVE_PROXIES=PROXY, CAMSERVE_COMPUTE_CACHE=str(cache)) as made:
            yield made


@pytest.fixture(scope="module")
def service() -> "Iterator[Service]":
    """The loaded Service of one process, with default settings."""
    from camserve.config import load_settings
    from camserve.web.service import Service

    made = Service(load_settings(environ={}))
    made.load()
    yield made
    made.close()


@pytest.fixture
def client(service: "Service") -> "FlaskClient":
    """A test client of an application on `service`, without a socket."""
    from camserve.web.app import create_app

    return create_app(service=service).test_client()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """An installed Chromium."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright to drive a browser with")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no chromium installed")
    switches = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=switches)
        yield opened
        opened.close()


@contextmanager
def in_background(server: Any) -> Iterator[str]:
    """Serve with a thread during the block; yields the origin. server: of the standard library's kind."""
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def program(path: Path) -> ModuleType:
    """Load a Python program outside of packages as a module."""
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def address(service: "Service") -> Iterator[str]:
    """The address of `service` for a browser."""
    from werkzeug.serving import WSGIRequestHandler, make_server

    from camserve.web.app import create_app

    class Quiet(WSGIRequestHandler):
        def log(self, *_: Any) -> None:
            """Write no log of requests."""

    made = make_server("127.0.0.1", 0, create_app(service=service), threaded=True, request_handler=Quiet)
    with in_background(made) as origin:
        yield f"{origin}/"


@pytest.fixture
def page(browser: Any, address: str) -> "Iterator[Page]":
    """The newly opened page. Every error in the browser, also of the CSP, fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    context.set_default_timeout(PATIENCE)
    opened, complaints = context.new_page(), []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("console", lambda said: complaints.append(said.text) if "Failed to load" not in said.text else None)
    opened.on("request", lambda one: None if own(one.url, address) else complaints.append(f"asked {one.url}"))
    opened.goto(address)
    yield opened
    context.close()
    assert not complaints


def own(url: str, address: str) -> bool:
    """Whether a browser's request for a URL goes only to the server at `address`."""
    return url.startswith((address, "blob:", "data:"))


def wait_until_ready(url: str) -> None:
    for _ in range(600):
        try:
            urllib.request.urlopen(f"{url}/readyz", timeout=5).close()
            return
        except urllib.error.HTTPError as error:
            error.close()
        time.sleep(0.1)
    pytest.fail("the service did not become ready within a minute")


def picture(seed: int = 0, size: tuple[int, int] = (90, 70)) -> Image.Image:
    """Return a smooth picture of noise, a different one for each seed."""
    values = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(values).resize(size, Image.Resampling.BICUBIC)


def make_socket(path: Path) -> None:
    """Make a socket: a path that exists and is not a file."""
    with socket.socket(socket.AF_UNIX) as made:
        here = Path.cwd()
        os.chdir(path.parent)  # a socket's path has at most 108 bytes
        made.bind(path.name)
        os.chdir(here)


def evidence_around(model: camserve.Model, images: "Tensor", index: int, layer: str | None = None) -> "Evidence":
    """Return the Evidence of `images` (N, 3, H, W), the model's input, for one class."""
    from camserve.catalogue.targets import class_target
    from camserve.explain.observation import evidence_of

    chosen = model.layer(layer)
    return evidence_of(model, chosen, images, class_target(index), chosen.observe(images))


class Answer(NamedTuple):
    """A server's answer, read to its end."""

    status: int
    headers: HTTPMessage
    data: bytes


def overlaid(photo: Any, rows: Any, **look: Any) -> Image.Image:
    """Return the result of `camserve.render.overlay.overlay` as a Pillow image."""
    return overlay(photo, rows, **look).image


def count_forwards(model: camserve.Model, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows by one with each forward pass of the model's own layer."""
    calls = list[int]()

    def counting(kind: type, name: str) -> None:
        forward = getattr(kind, name)

        def counted(engine: Any, images: Any) -> Any:
            calls.append(1)
            return forward(engine, images)

        monkeypatch.setattr(kind, name, counted)

    counting(type(model.layer().engine), "__call__")
    if model.closed is not None:
        counting(type(model.closed), "observe")
    return calls

"""What tests of pages do in a browser: watch it; and upload, wait, move a control, read the canvas of the page at /."""

import base64
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
from conftest import picture
from PIL import Image

from camserve.images.reading import encode
from camserve.web.work.job_store import JobRecord

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route


NOISE = encode(picture(), "png")


@contextmanager
def watched(browser: Any, width: int = 1280, height: int = 900, **context: Any) -> Iterator["Page"]:
    """A tab for pages from the disk. Fails on any complaint of the browser, and where a page asks for anything else."""
    opened = browser.new_context(viewport={"width": width, "height": height}, **context)
    page, complaints = opened.new_page(), list[str]()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text))
    page.on("request", lambda sent: None if sent.url.startswith("file:") else complaints.append(sent.url))
    yield page
    opened.close()
    assert not complaints


def upload(page: "Page", name: str = "noise.png", data: bytes | None = None) -> None:
    file: Any = {"name": name, "mimeType": "", "buffer": data or NOISE}
    page.set_input_files("#file", [file])


def explained(page: "Page") -> str:
    """The class that the picture is about, once nothing is under way any more."""
    page.wait_for_selector("#answers:visible")
    page.wait_for_selector("#busy", state="hidden")
    return page.inner_text("#top [aria-pressed=true] span")


def move(page: "Page", control: str, value: float) -> None:
    """Moves a slider, as a person does: there are events of input, then one of change."""
    page.eval_on_selector(
        f"#{control}",
        """(slider, value) => {
            slider.value = value;
            for (const kind of ["input", "change"]) slider.dispatchEvent(new Event(kind, { bubbles: true }));
        }""",
        value,
    )


def at(page: "Page", x: float, y: float) -> tuple[float, float]:
    """Where a place of the photograph is, as shares of its sides, in pixels of the window."""
    sheet = page.locator("#sheet").bounding_box()
    assert sheet is not None
    return sheet["x"] + sheet["width"] * x, sheet["y"] + sheet["height"] * y


def forecast(page: "Page", **seconds: float) -> None:
    """From now on methods take so many seconds, as the page is told."""

    def told(route: "Route") -> None:
        answer = route.fetch()
        said = answer.json()
        for one in said.get("methods", ()):  # none where it is to come back
            if one["name"] in seconds:
                one["seconds"] = seconds[one["name"]]
        route.fulfill(response=answer, json=said)

    page.route("**/forecast", told)


def stepwise(monkeypatch: pytest.MonkeyPatch) -> threading.Semaphore:
    """Has jobs wait at each of their steps until what is given here is released."""
    go_on, real = threading.Semaphore(0), JobRecord.check_client

    def check(record: JobRecord, done: int = 0, total: int = 0) -> None:
        if total:
            go_on.acquire(timeout=60)
        real(record, done, total)

    monkeypatch.setattr(JobRecord, "check_client", check)
    return go_on


def settle(page: "Page") -> None:
    """Waits until what was asked of the canvas is on it."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def drawn(page: "Page") -> npt.NDArray[np.int16]:
    """The pixels of the canvas (H, W, 3)."""
    settle(page)
    png = base64.b64decode(page.evaluate("heat.toDataURL()").split(",")[1])
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(np.int16)

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
# Of a colour's 255: a share of heat rounds to the next of 256 levels where the last bit of a number differs, and two
# levels of a colour map are so far apart at most.
STEP = 6


@contextmanager
def watched(browser: Any, width: int = 1280, height: int = 900, **context: Any) -> Iterator["Page"]:
    """A tab for pages from the disk. Fails on any complaint of the browser, and where a page asks for anything else."""
    opened = browser.new_context(viewport={"width": width, "height": height}, **context)
    page, complaints = opened.new_page(), list[str]()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text))
    page.on("request", lambda sent: None if sent.url.startswith(("file:", "blob:")) else complaints.append(sent.url))
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


def differences(page: "Page", overlay: Image.Image) -> npt.NDArray[Any]:
    """By how much each pixel of the canvas is another, (H, W)."""
    found, true = drawn(page), np.asarray(overlay).astype(np.int16)
    assert found.shape == true.shape
    return np.asarray(np.abs(found - true).max(2))


def check_equal(page: "Page", overlay: Image.Image) -> None:
    """All pixels to a step of the colours, and all but a few to the bit."""
    off = differences(page, overlay)
    assert off.max() <= STEP
    assert (off > 0).mean() < 0.001


def within(one: npt.NDArray[Any], other: npt.NDArray[Any], pixels: int) -> float:
    """The share of `one` that has some of `other` so near."""
    rows, columns = np.nonzero(one)
    padded = np.pad(other, pixels)
    shifts = range(2 * pixels + 1)
    near = np.any([padded[rows + down, columns + across] for down in shifts for across in shifts], axis=0)
    return float(near.mean())

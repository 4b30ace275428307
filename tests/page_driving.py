"""What the tests of the page do in a browser: upload, wait, move a control, read the canvas."""

import base64
import io
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from conftest import picture
from PIL import Image

from camserve.images.reading import encode

if TYPE_CHECKING:
    from playwright.sync_api import Page


def upload(page: "Page", name: str = "noise.png", data: bytes | None = None) -> None:
    file: Any = {"name": name, "mimeType": "", "buffer": data or encode(picture(), "png")}
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


def settle(page: "Page") -> None:
    """Waits until what was asked of the canvas is on it."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def drawn(page: "Page") -> npt.NDArray[np.int16]:
    """The pixels of the canvas (H, W, 3)."""
    settle(page)
    png = base64.b64decode(page.evaluate("heat.toDataURL()").split(",")[1])
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(np.int16)

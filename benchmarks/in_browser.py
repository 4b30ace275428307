"""The page at / in a real Chromium: the time of a photograph and of a change, and pictures of its main states.

    python benchmarks/in_browser.py                      # exit status 1 if an aim is missed
    python benchmarks/in_browser.py --pictures FOLDER    # how it looks, light and dark, on a desktop and a phone

A change is measured as CPU time of the browser's main thread until the picture is drawn. The first result is wall time
from the file's arrival until the frame after the heat is drawn.
"""

import argparse
import io
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measuring import Aim, Table
from PIL import Image
from program import print_table
from report_page import browser
from running import running

PHOTOS = Path(__file__).parent.parent / "photos"
FIRST, CHANGE = 300.0, 32.0  # the aims, in ms
REPEATS = 9
SIZE = 1200, 832  # 1 megapixel
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}

_WATCH = """() => {
    file.addEventListener("change", () => (window.began = performance.now()), true);
    new MutationObserver(() => {
        if (heat.hidden || window.ended) return;
        requestAnimationFrame(() => requestAnimationFrame(() => (window.ended = performance.now())));
    }).observe(heat, { attributes: true });
}"""
_CHANGES = {
    "opacity": "opacity.value = 0.3 + 0.05 * $I; opacity.dispatchEvent(new Event('input', { bubbles: true }))",
    "colours": "colormap.selectedIndex = 1 + $I % 8; colormap.dispatchEvent(new Event('change', { bubbles: true }))",
    "another class, pointed at": "document.querySelectorAll('#top button')[$I % 5].dispatchEvent("
    "new PointerEvent('pointerenter', { pointerType: 'mouse' }))",
    "another class, chosen": "document.querySelectorAll('#top button')[$I % 5].click()",
    "outline and boxes, share": "contour.checked = boxes.checked = true; threshold.value = 0.2 + 0.05 * $I;"
    "threshold.dispatchEvent(new Event('input', { bubbles: true }))",
}


def photograph(seed: int) -> bytes:
    """Return a JPEG of 1 megapixel, a different one for each seed."""
    with Image.open(PHOTOS / "coffee.jpg") as opened:
        large = opened.convert("RGB").resize(SIZE, Image.Resampling.BICUBIC)
    large.putpixel((0, 0), (seed, 0, 0))
    buffer = io.BytesIO()
    large.save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def upload(page: Any, data: bytes) -> None:
    """Upload a photograph to the page, and wait for the answer."""
    page.set_input_files("#file", [{"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": data}])
    page.wait_for_selector("#answers:visible")
    page.wait_for_selector("#busy", state="hidden")


def first_results(page: Any, url: str) -> list[float]:
    """Measure milliseconds from a photograph's arrival to its heat, each in a new page."""
    took = []
    for seed in range(REPEATS):
        page.goto(url)
        page.evaluate(_WATCH)
        upload(page, photograph(seed))
        page.wait_for_timeout(200)
        took.append(page.evaluate("ended - began"))
    return took[1:]  # the first one warms the service up


def changes(page: Any) -> dict[str, list[float]]:
    """Measure the CPU milliseconds of the main thread for each kind of change."""
    page.wait_for_selector("#why:visible")
    probe = page.context.new_cdp_session(page)
    probe.send("Performance.setTimeDomain", {"timeDomain": "threadTicks"})
    probe.send("Performance.enable")

    def busy() -> float:
        found = probe.send("Performance.getMetrics")["metrics"]
        return 1000 * float(next(one["value"] for one in found if one["name"] == "TaskDuration"))

    def taken(script: str) -> float:
        before = busy()
        page.evaluate(script)
        page.wait_for_timeout(250)
        return busy() - before

    return {
        name: [taken(script.replace("$I", str(turn))) for turn in range(REPEATS + 1)][1:]
        for name, script in {"nothing": "0", **_CHANGES}.items()
    }


def measured(opened: Any, url: str) -> tuple[list[Table], list[Aim]]:
    """Return the table of all times, and the aims."""
    page = opened.new_page(viewport=DESK)
    samples = {"first result, wall": first_results(page, url), **changes(page)}
    page.close()
    rows = [
        {"what": name, "median ms": statistics.median(found), "least": min(found), "most": max(found)}
        for name, found in samples.items()
    ]
    aims = [Aim("first result of 1 megapixel, ms", rows[0]["median ms"], FIRST)]
    aims += [Aim(f"{row['what']}, ms of CPU", row["median ms"], CHANGE) for row in rows[2:5]]
    return [Table("The page, a photograph of 1 megapixel", rows)], aims


# ---- how it looks


def _difference(page: Any) -> None:
    page.fill("#expected", "tabby")
    page.keyboard.press("Enter")
    page.wait_for_selector("#expectation:visible")
    page.click("#difference")
    for switch in ("#grey", "#contour"):
        page.check(switch)


def _search(page: Any) -> None:
    page.click("#target")
    page.keyboard.type("cat")
    page.wait_for_selector("#target-classes li")


def _region(page: Any) -> None:
    page.focus("#frame")
    for key in ("Shift+ArrowRight", "Shift+ArrowDown", "Shift+ArrowDown"):
        page.keyboard.press(key)


def _taken_along(page: Any) -> None:
    page.click("#take summary")
    page.click(".words summary")


def _closer(page: Any) -> None:
    page.mouse.click(430, 400)
    for _ in range(3):
        page.click("#closer")


def _methods(page: Any) -> None:
    page.wait_for_selector("#why:visible")
    page.click("#side-by-side")
    for name in ("cam", "gradcam", "layercam", "ablationcam", "eigencam", "guidedgradcam", "fullgrad", "random"):
        page.check(f"#chooser [value='{name}']")
    page.click("#compare-start")
    page.wait_for_selector("#compare-said:text-is('Done.')")
    page.evaluate("scrollTo(0, 0)")


# name: photograph, scheme, window, what is done first
STATES: dict[str, tuple[str | None, str, dict[str, int], Callable[[Any], None]]] = {
    "empty": (None, "light", DESK, lambda page: None),
    "explained": ("cat.jpg", "light", DESK, lambda page: None),
    "difference": ("cat.jpg", "dark", DESK, _difference),
    "search": ("tripod.jpg", "light", DESK, _search),
    "region": ("coffee.jpg", "dark", DESK, _region),
    "taken-along": ("cat.jpg", "light", DESK, _taken_along),
    "closer": ("cat.jpg", "light", DESK, _closer),
    "methods": ("cat.jpg", "light", DESK, _methods),
    "methods-phone": ("coffee.jpg", "dark", PHONE, _methods),
    "phone": ("cat.jpg", "light", PHONE, _region),
    "phone-dark": (None, "dark", PHONE, lambda page: None),
}


def pictures(opened: Any, url: str, folder: Path) -> None:
    """Save a screenshot of each state."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (photo, scheme, window, act) in STATES.items():
        page = opened.new_page(viewport=window, color_scheme=scheme)
        page.goto(url)
        if photo is not None:
            upload(page, (PHOTOS / photo).read_bytes())
        act(page)
        page.evaluate("scrollTo(0, 0)")  # the picture stays in view, so it would stand at the end of a scrolled page
        page.wait_for_timeout(500)
        page.screenshot(path=folder / f"{name}.png", full_page=True)
        page.close()
        print(folder / f"{name}.png")


def main() -> int:
    """Measure, or take pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="write how it looks, in place of measuring")
    options = parser.parse_args()
    with running() as service, browser() as opened:
        if options.pictures:
            pictures(opened, service.url, options.pictures)
            return 0
        tables, aims = measured(opened, service.url)
    for table in tables:
        print_table(table)
    for aim in aims:
        print(f"{'reached' if aim.reached else 'missed '}  {aim.what}: {aim.value:.1f} of {aim.limit:g}")
    return 0 if all(aim.reached for aim in aims) else 1


if __name__ == "__main__":
    sys.exit(main())

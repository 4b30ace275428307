"""The page of a batch in a real Chromium: the time of opening, filtering, sorting and scrolling."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from batch_runs import Case
from measuring import Aim, Results, Row, Skipped, Table, spread

SWITCHES = ["--no-sandbox", "--headless", "--disable-gpu", "--disable-background-networking"]
REPEATS = 3
ANSWER = 200.0  # ms that a filter or a sort may take
WINDOW = {"width": 1280, "height": 900}

# Milliseconds until the browser has done `act` and painted the frame after it.
_TIMED = """async ({act, value}) => {
    const acts = {
        choose: ([id, value]) => {
            const field = document.getElementById(id);
            field.value = value;
            field.dispatchEvent(new Event("input"));
        },
        scroll: share => scrollTo(0, document.body.scrollHeight * share),
    };
    const start = performance.now();
    acts[act](value);
    await new Promise(done => requestAnimationFrame(() => setTimeout(done)));
    return performance.now() - start;
}"""
_SEEN = """() => {
    const images = [...document.images].filter(one => one.getBoundingClientRect().top < innerHeight);
    return document.querySelectorAll("figure").length && images.every(one => one.complete && one.naturalWidth);
}"""


@contextmanager
def browser() -> Iterator[Any]:
    """Open an installed Chromium. Raises Skipped if there is none."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise Skipped("playwright, which drives the browser, is not installed: pip install playwright") from None
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise Skipped("no chromium is installed")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=SWITCHES)
        yield opened
        opened.close()


def report(case: Case) -> Results:
    """Measure the page of the undisturbed run; an unfinished kept run is resumed first.

    The time runs from a change until the browser has painted the next frame; medians count.
    """
    case.finished()
    table = page_times(case.out / "index.html", case.images, case.folder / "page.png" if case.keep else None)
    aims = [
        Aim(f"page: {row['what']}, ms", row["median ms"], ANSWER)
        for row in table.rows if not row["what"].startswith("first")
    ]  # fmt: skip
    return Results([table], aims)


def page_times(page: Path, images: int, picture: Path | None = None) -> Table:
    """Measure every action of a person on the page. picture: a file for a screenshot. Raises Skipped."""
    with browser() as opened:
        opens = [opening(opened, page) for _ in range(REPEATS)]
        tab = opened.new_page(viewport=WINDOW)
        tab.goto(page.as_uri())
        samples = {"first rows": [one[0] for one in opens], "first pictures": [one[1] for one in opens]}
        samples |= acting(tab, REPEATS)
        used = heap(tab)
        if picture:
            tab.wait_for_function(_SEEN)
            tab.screenshot(path=picture)
    title = f"index.html of {images:,} images, {page.stat().st_size / 1e6:.1f} MB"
    return Table(title, rows(samples), f"JavaScript's heap afterwards: {used:.1f} MB.")


def opening(browser: Any, page: Path) -> tuple[float, float]:
    """Measure milliseconds from opening the address to the first rows, and to their pictures."""
    opened = browser.new_page(viewport=WINDOW)
    start = time.perf_counter()
    opened.goto(page.as_uri(), wait_until="commit")
    opened.wait_for_selector("figure")
    rows = time.perf_counter() - start
    opened.wait_for_function(_SEEN)
    pictures = time.perf_counter() - start
    opened.close()
    return 1e3 * rows, 1e3 * pictures


def acting(page: Any, repeats: int) -> dict[str, list[float]]:
    """Measure milliseconds of each action, `repeats` times."""
    found: dict[str, list[float]] = {}
    for _ in range(repeats):
        for name, act, value in steps(page):
            found.setdefault(name, []).append(float(page.evaluate(_TIMED, {"act": act, "value": value})))
    return found


def steps(page: Any) -> Iterator[tuple[str, str, Any]]:
    """Yield the name of each action and how it is done; between two filters all rows are shown."""
    for field, name in (("class", "filter by class"), ("flag", "filter by {}"), ("warning", "filter by warning")):
        for value in _values(page, field)[:3]:
            yield name.format(value), "choose", [field, value]
            yield "show all again", "choose", [field, ""]
    yield "search a name", "choose", ["search", "77"]
    yield "show all again", "choose", ["search", ""]
    for name, value in (("score", "high"), ("class", "class"), ("name", "file")):
        yield f"sort by {name}", "choose", ["order", value]
    for share in (0.1, 0.5, 0.9, 0):
        yield "scroll", "scroll", share


def heap(page: Any) -> float:
    """Return the MB of JavaScript's heap after a garbage collection."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    session.send("Performance.enable")
    metrics = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    return float(metrics["JSHeapUsedSize"] / 1e6)


def rows(samples: dict[str, list[float]]) -> list[Row]:
    """Return medians, quartiles and the slowest times."""
    found = []
    for name, values in samples.items():
        low, median, high = spread(values)
        row = {"what": name, "median ms": median, "quartiles ms": [low, high], "slowest ms": max(values)}
        found.append({**row, "times": len(values)})
    return found


def _values(page: Any, field: str) -> list[str]:
    """Return the values of a field, the most frequent first."""
    options = page.locator(f"#{field} option").evaluate_all("all => all.map(one => [one.value, one.textContent])")
    counts = {value: int(text.rpartition("(")[2].rstrip(")")) for value, text in options if value}
    return sorted(counts, key=lambda value: -counts[value])

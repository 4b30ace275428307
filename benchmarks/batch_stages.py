"""The cost of one image of a batch, stage by stage."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from batch_runs import Case
from measuring import Results, Row, Table, spread
from subjects import cache_folder

import camserve
from camserve.batch import Options
from camserve.batch.explain_item import Work
from camserve.batch.outputs import thumbnail
from camserve.catalogue.options import OverlayOptions
from camserve.config import load_settings
from camserve.datasets.inputs import Item
from camserve.errors import ImageError
from camserve.explain import explain_classes, open_photo, to_input
from camserve.explanation import Explanation
from camserve.findings.sketch import shares, sketch_of, to_text
from camserve.images.reading import encode
from camserve.system.files import write_all

MOST, WARM = 300, 10
WHOLE, INPUT = "all of it, as the batch does it", "of that, the input"


class Clock:
    """CPU seconds of this process, all its threads together, by the names of stages."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    def __call__(self, name: str, stage: Callable[[], Any]) -> Any:
        """Measure `stage` and return its result."""
        start = time.process_time()
        made = stage()
        self.seconds.setdefault(name, []).append(time.process_time() - start)
        return made


def stages(case: Case) -> Results:
    """Measure the CPU time of each stage of at most 300 readable images, with one worker and one intra-op thread."""
    compute = {"cache": cache_folder(), "threads": 1, "workers": 1}
    model = camserve.load(case.model, settings=load_settings(overrides={"compute": compute}))
    clock = Clock()
    with tempfile.TemporaryDirectory(dir=case.folder) as out:
        work = Work(model, Options(), Path(out), labelled=False, targets=0)
        for number, path in enumerate(sorted(case.source.rglob("*.jpg"))[: WARM + MOST]):
            if number == WARM:
                clock.seconds.clear()
            ways = in_pieces, as_a_whole  # a new size costs extra, so the two alternate
            for way in ways if number % 2 else reversed(ways):
                way(work, path, clock)
    title = f"{model.name}, {model.layer().engine.name}: CPU ms an image, of {len(clock.seconds[WHOLE])} images"
    return Results([Table(title, rows(clock))])


def as_a_whole(work: Work, path: Path, clock: Clock) -> None:
    """Explain an image as the batch does; an image that cannot be read does not count."""
    start = time.process_time()
    row = work(Item(path.name, str(path)))
    if row["status"] == "ok":
        clock.seconds.setdefault(WHOLE, []).append(time.process_time() - start)


def in_pieces(work: Work, path: Path, clock: Clock) -> None:
    """Do the steps of `Work` for an image one by one."""
    model = work.model
    try:
        photo = clock("read and decode", lambda: open_photo(model, path))
    except ImageError:
        return
    one = clock("input, network, map", lambda: explain_classes(model, photo, ["predicted"]))[0]
    clock(INPUT, lambda: to_input(photo, model.frame(photo.size), model.card.input))
    overlay = clock("overlay", lambda: one.painted(OverlayOptions()))
    pictures = overlay.image, clock("thumbnail", lambda: thumbnail(overlay))
    quality = model.settings.render.quality
    files = clock("encode both as JPEG", lambda: [encode(one, "jpeg", quality=quality) for one in pictures])
    clock("sketch", lambda: sketched(one))
    clock("write both", lambda: write_all(work.out, {"overlay.jpg": files[0], "thumbnail.jpg": files[1]}))


def sketched(one: Explanation) -> str:
    """Return the text that a row keeps of the map."""
    sketch = sketch_of(one.map, one.placement)
    shares(sketch)
    return to_text(sketch)


def rows(clock: Clock) -> list[Row]:
    """Return the mean of each stage, and its share of the whole. Means, because the sum matters."""
    whole = sum(clock.seconds[WHOLE])
    found = []
    for name, seconds in sorted(clock.seconds.items(), key=lambda one: one[0] == WHOLE):
        low, _, high = (1e3 * value for value in spread(seconds))
        found.append({"stage": name, "mean ms": 1e3 * sum(seconds) / len(seconds), "quartiles ms": [low, high],
                      "share": sum(seconds) / whole})  # fmt: skip
    return found

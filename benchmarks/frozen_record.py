"""Record the answers of one checkout in Python, on the command line and over HTTP. frozen.py runs this with a checkout.

    python frozen_record.py ENGINE RECORD WORDS

Run it in a folder of its own, two levels below the files of `frozen_cases`. RECORD: a pickle of {(door, what): answer}.
WORDS: record only cases with these words in their name.
"""

import dataclasses
import os
import pickle
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from frozen_cases import ASKED, CASES, EMBEDDED, LOOK, MADE, WRONG, Case
from frozen_outside import PICTURES, Answer, Works, by_command, by_http, clean, commands, requests, run
from trees import serving

import camserve


def tried(work: Callable[[], Any]) -> Any:
    """Return the result, or the error as text."""
    try:
        return work()
    except camserve.CamserveError as error:
        return in_words(error)


def in_words(error: Exception) -> str:
    """Return the class and the message of an error."""
    return f"{type(error).__name__}: {clean(str(error))}"


def plain(value: Any) -> Any:
    """Return lists of data classes as lists of dicts."""
    return [dataclasses.asdict(one) for one in value] if isinstance(value, list) else value


def by_python(model: camserve.Model, case: Case) -> Answer:
    """Return all results of one explanation."""
    question: dict[str, Any] = {key: value for key, value in case.options.items() if key not in LOOK | ASKED}
    look: dict[str, Any] = {key: value for key, value in case.options.items() if key in LOOK}
    made = model.explain(PICTURES / case.image, **question)
    width, height = made.photo.size
    found: Answer = {"map": made.map, "logits": made.logits, "scores": made.scores, "heatmap": made.heatmap}
    found |= {"overlay": np.asarray(made.overlay(**look)), "mask": np.asarray(made.mask_image())}
    found |= {"facts": clean(made.to_dict(top=7)), "words": [repr(made), made.in_short, made.unit]}
    asked = {
        "receptive box": lambda: made.receptive_box(width / 2, height / 3),
        "at": lambda: plain(made.at(60, 50)),
        "region": lambda: made.share((10, 20, 90, 75)),
        "bias": lambda: made.bias,
        "polygons": lambda: plain(made.polygons(0.4)),
        "boxes": lambda: plain(made.boxes(0.4)),
    }
    return found | {name: tried(ask) for name, ask in asked.items()}


def calls(models: dict[str, camserve.Model]) -> Works:
    """Yield the other calls of a model."""
    model, photo = models[EMBEDDED], PICTURES / "photo.png"
    images = [PICTURES / name for name in ("waves.png", "broken.jpg", "strip.png", "turned.jpg", "photo.png")]
    several = ["tiger cat", "-tabby", "tabby-#5"]

    def many(**options: Any) -> list[Any]:
        found = model.explain_many(images, errors="yield", **options)
        return [one.map if isinstance(one, camserve.Explanation) else in_words(one) for one in found]

    yield "explain_many", many
    yield "explain_many, another layer", lambda: many(layer="blocks.8")
    yield "explain_classes, top 3", lambda: [(clean(e.to_dict()), e.map) for e in model.explain_classes(photo, 3)]
    yield "explain_classes, named", lambda: [clean(e.to_dict()) for e in model.explain_classes(photo, several)]
    yield "class_maps", lambda: model.class_maps(photo)
    yield "layers", lambda: {name: one.layers() for name, one in models.items()}
    yield "inspect", lambda: {name: clean(one.inspect().to_dict()) for name, one in models.items()}
    yield "wrong questions", lambda: [tried(lambda o=o: by_python(model, Case("photo.png", o))) for o in WRONG[:5]]


def works(engine: str) -> Iterator[tuple[str, str, Callable[[], Any]]]:
    """Yield (door, what, function that gets the answer)."""
    for name in MADE:
        made = [f"../../{name}.pth", "-a", f"../../net.py:{name}", "--labels=../../labels.txt", "--size=64"]
        yield "command", f"add {name}", partial(run, "add", *made, "--folder=models", out=f"models/{name}")
    models = {name: camserve.load(name) for name in (EMBEDDED, *MADE)}
    cases = {name: case for name, case in CASES.items() if case.engine == engine}
    with serving(os.environ, Path.cwd()) as (url, _):
        for number, (name, case) in enumerate(cases.items()):
            yield "Python", name, partial(by_python, models[case.model], case)
            yield "command", name, partial(by_command, case, f"out{number}")
            yield "HTTP", name, partial(by_http, url, case)
        others = {"Python": calls(models), "command": commands(), "HTTP": requests(url)} if engine == "auto" else {}
        yield from ((door, name, work) for door, several in others.items() for name, work in several)


def settled(work: Callable[[], Any]) -> Any:
    """Return the answer, or the error, so that the other cases still run."""
    try:
        return work()
    except Exception as error:
        return f"FAILED: {in_words(error)}"


if __name__ == "__main__":
    engine, kept, words = sys.argv[1:]
    found = {
        (door, name): settled(work)
        for door, name, work in works(engine)
        if words in name or name.startswith("add ")  # other cases need these models
    }
    Path(kept).write_bytes(pickle.dumps(found))

"""How much time do the settings for speed save, for a large and for a small photograph?

    python benchmarks/choices.py [--rounds 15] [--photo photos/cat.jpg] [--calibration PHOTOGRAPHS]

CPU time of this process, one intra-op thread, alternately: from file to JPEG with render.max_side = 2000 and
render.subsampling = "4:2:0", with compute.precision = "bfloat16" and, with --calibration, "int8", compared with the
defaults; and from file to JSON with images.draft.
"""

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from measuring import Results, Row, Skipped, Table
from PIL import Image
from program import print_table
from subjects import PHOTO, Plan, cache_folder

import camserve
from camserve.catalogue.options import ExplainOptions
from camserve.config import load_settings
from camserve.explain.drafting import drafting
from camserve.explain.pipeline import open_photo
from camserve.images.reading import encode

SIZES = {"12 megapixels": (4000, 3000), "0.2 megapixels": (500, 400)}
CHOICES: dict[str, dict[str, dict[str, object]]] = {
    "defaults": {},
    "render.subsampling 4:2:0": {"render": {"subsampling": "4:2:0"}},
    "render.max_side 2000": {"render": {"max_side": 2000}},
    "both": {"render": {"subsampling": "4:2:0", "max_side": 2000}},
    "compute.precision bfloat16": {"compute": {"precision": "bfloat16"}},
    "compute.precision int8": {"compute": {"precision": "int8"}},
    "defaults, facts only": {},
    "images.draft, facts only": {"images": {"draft": True}},
}


def measure(plan: Plan) -> Results:
    """A table for each size of photograph. OpenVINO only; int8 needs photographs, see `main`."""
    if "openvino" not in plan.engines:
        raise Skipped("OpenVINO is not installed or not chosen")
    return Results(list(compared(PHOTO, plan.choose(15, 1), None)))


def compared(photo_file: Path, rounds: int, calibration: Path | None) -> Iterator[Table]:
    """Medians in milliseconds, and the ratio to the defaults, round by round."""
    compute: dict[str, object] = {"cache": cache_folder(), "threads": 1, "workers": 1, "engine": "openvino"}
    if calibration is not None:
        compute["calibration"] = str(calibration)
    models = {
        name: camserve.load(settings=load_settings(environ={}, overrides=_with(changed, compute)))
        for name, changed in CHOICES.items()
        if calibration is not None or "int8" not in name
    }
    for title, size in SIZES.items():
        with Image.open(photo_file) as photo:
            data = encode(photo.convert("RGB").resize(size, Image.Resampling.BICUBIC), "jpeg", subsampling="4:2:0")
        took: dict[str, list[float]] = {name: [] for name in models}
        sizes = {name: work(model, data, name) for name, model in models.items()}
        for number in range(rounds):
            for name in list(models)[:: 1 if number % 2 else -1]:
                start = time.process_time()
                work(models[name], data, name)
                took[name].append(1e3 * (time.process_time() - start))
        rows: list[Row] = []
        for name, each in took.items():
            base = took["defaults, facts only" if "facts" in name else "defaults"]
            ratio = median(one / other for one, other in zip(each, base, strict=True))
            rows.append({"choice": name, "CPU ms": median(each), "x defaults": ratio, "bytes": sizes[name]})
        yield Table(f"{title}, a JPEG of {len(data):,} bytes", rows)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--photo", type=Path, default=PHOTO)
    parser.add_argument("--calibration", type=Path, help="photographs that int8 is calibrated on")
    asked = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for table in compared(asked.photo, asked.rounds, asked.calibration):
        print_table(table)


def _with(changed: dict[str, dict[str, object]], compute: dict[str, object]) -> dict[str, dict[str, object]]:
    return {**changed, "compute": {**compute, **changed.get("compute", {})}}


def work(model: camserve.Model, data: bytes, name: str) -> int:
    """Make the JPEG or the JSON facts of a file, and return its number of bytes."""
    is_seen = "facts" not in name
    made = model.explain(open_photo(model, data, None if is_seen else drafting(model, ExplainOptions())))
    if not is_seen:
        return len(repr(made.to_dict()))
    style = made.style
    return len(encode(made.overlay(), "jpeg", quality=style.quality, subsampling=style.subsampling))


if __name__ == "__main__":
    main()

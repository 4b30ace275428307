"""Writes results.jsonl as a dataset of FiftyOne: samples with both classes, and each explanation as a heatmap field.

The layout is FiftyOne's own JSON, without the `version` of its database, so every version of FiftyOne reads it:
`fiftyone.Dataset.from_dir("OUT/fiftyone", fiftyone.types.FiftyOneDataset)`. Paths are absolute.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from camserve.findings.answers import is_wrong
from camserve.findings.results import Row, put_items, read_sources


def write_samples(out: Path, file: BinaryIO, labels: Iterable[str]) -> None:
    """Write samples.json, sample by sample. Failed images are left out."""
    file.write(b'{"samples": [')
    samples = (_sample(out, row, path) for row, path in read_sources(out) if row["status"] == "ok")
    put_items(file, samples)
    file.write(b"\n]}\n")


def _sample(out: Path, row: Row, path: str) -> dict[str, Any]:
    known = row["expected"]
    tags = {"wrong": is_wrong(row), "unsure": row.get("unsure", False)}
    sample = {
        "filepath": path,
        "tags": [tag for tag, holds in tags.items() if holds],
        "predicted": _class(row["predicted"]),
        **({"ground_truth": _class({**known, "score": None})} if known else {}),
    }
    for one in row["explanations"]:
        field = re.sub(r"\W+", "_", f"{one['method']}_{one['variant']}")
        if (heatmap := one["files"].get("heatmap")) is not None:
            sample[field] = {"_cls": "Heatmap", "map_path": str((out / heatmap).absolute())}
        if "boxes" in one:
            found = [_detection(row, one, box) for box in one["boxes"]]
            sample[f"{field}_boxes"] = {"_cls": "Detections", "detections": found}
        if (trust := (one.get("trust") or {}).get("probability")) is not None:
            sample[f"{field}_trust"] = trust
    return sample


def _class(answer: Row) -> dict[str, Any]:
    return {"_cls": "Classification", "label": answer["class_name"], "confidence": answer["score"]}


def _detection(row: Row, one: Row, box: Row) -> dict[str, Any]:
    """A box as a detection. confidence: the share of the heat that is in the box."""
    (left, right), (top, bottom) = (
        (box[low] / row[side], box[high] / row[side])
        for low, high, side in (("left", "right", "width"), ("top", "bottom", "height"))
    )
    sides = [left, top, right - left, bottom - top]
    return {"_cls": "Detection", "label": one["class_name"], "bounding_box": sides, "confidence": box["share"]}

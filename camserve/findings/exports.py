"""Exports of results.jsonl for other programs: tables, boxes, datasets and predictions, each written row by row."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from camserve.errors import OptionError
from camserve.findings.fiftyone_export import write_samples
from camserve.findings.results import Row, put_items, read_rows
from camserve.findings.studio_export import write_interface, write_tasks
from camserve.system.files import writing

# The columns of a table, with their Arrow types.
COLUMNS = {
    "file": "string", "name": "string", "status": "string", "error": "string", "code": "string", "sha256": "string",
    "width": "int32", "height": "int32",
    "predicted_index": "int32", "predicted_name": "string", "predicted_score": "float64",
    "expected_index": "int32", "expected_name": "string", "expected_score": "float64",
    "variant": "string", "method": "string", "layer": "string", "target": "string",
    "class_index": "int32", "class_name": "string", "score": "float64", "logit": "float64", "value": "float64",
    "peak": "float64", "border": "float64", "corners": "float64", "outside": "float64",
    "trust": "float64", "trust_verdict": "string", "warnings": "string",
    "overlay": "string", "thumbnail": "string", "heatmap": "string", "mask": "string", "npy": "string", "map": "string",
    "sketch": "string",
}  # fmt: skip
_ABOUT = ("file", "name", "status", "error", "code", "sha256", "width", "height")
_FILES = ("overlay", "thumbnail", "heatmap", "mask", "npy", "map")
_GROUP = 4096  # lines of a Parquet row group; no more are in memory at once


def export(out: Path, format: str, labels: Iterable[str]) -> Path:
    """Write the files of EXPORTS[format] below OUT. labels: the model's classes. Returns the path of the first.

    Raises OptionError if pyarrow is missing, and OutputError.
    """
    for path, write in EXPORTS[format].items():
        with writing(out / path) as file:
            write(out, file, labels)
    return out / next(iter(EXPORTS[format]))


def lines(rows: Iterable[Row]) -> Iterator[dict[str, Any]]:
    """A flat line for each explanation, and one for each image without explanations."""
    for row in rows:
        about = {key: row.get(key) for key in _ABOUT}
        for which in ("predicted", "expected"):
            answer = row.get(which) or {}
            about |= {f"{which}_{key}": answer.get(f"class_{key}") for key in ("index", "name")}
            about[f"{which}_score"] = answer.get("score")
        for one in row.get("explanations") or [{}]:
            files = {kind: one.get("files", {}).get(kind) for kind in _FILES}
            flat = {key: one.get(key) for key in COLUMNS if key not in about and key not in files}
            trust = one.get("trust") or {}
            flat |= {"trust": trust.get("probability"), "trust_verdict": trust.get("verdict")}
            yield {**about, **flat, **files, "warnings": "; ".join(one.get("warnings", ())) or None}


def _csv(out: Path, file: BinaryIO, labels: Iterable[str]) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    table = csv.DictWriter(text, list(COLUMNS))
    table.writeheader()
    table.writerows(lines(read_rows(out)))
    text.flush()
    text.detach()  # the caller closes the file


def check_parquet() -> None:
    """Raise OptionError if Parquet cannot be written. Call this before the work."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise OptionError(
            'Parquet is written by pyarrow, which is not installed: pip install "camserve[parquet]"'
        ) from None


def _parquet(out: Path, file: BinaryIO, labels: Iterable[str]) -> None:
    check_parquet()
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, getattr(pa, kind)()) for name, kind in COLUMNS.items()])
    found = lines(read_rows(out))
    with pq.ParquetWriter(file, schema) as writer:
        while group := list(islice(found, _GROUP)):
            writer.write_table(pa.Table.from_pylist(group, schema))


def _coco(out: Path, file: BinaryIO, labels: Iterable[str]) -> None:
    """Images and boxes in COCO's layout, with `score` as in its results; written in three passes.

    Image ids are line numbers in results.jsonl, from 1; category ids are class indices. The segmentation of a box is
    the outline of its heat without holes if polygons were requested, or else the box.
    """
    file.write(b'{"images": [')
    put_items(file, _coco_images(read_rows(out)))
    file.write(b'], "annotations": [')
    put_items(file, _coco_boxes(read_rows(out)))
    file.write(b'], "categories": [')
    put_items(file, ({"id": index, "name": name} for index, name in enumerate(labels)))
    file.write(b"]}\n")


def _coco_images(rows: Iterable[Row]) -> Iterator[dict[str, Any]]:
    for number, row in enumerate(rows, 1):
        if row["status"] == "ok":
            yield {"id": number, "file_name": row["file"], "width": row["width"], "height": row["height"]}


def _coco_boxes(rows: Iterable[Row]) -> Iterator[dict[str, Any]]:
    found = (
        (number, one, box)
        for number, row in enumerate(rows, 1)
        for one in row.get("explanations", ())
        for box in one.get("boxes", ())
    )
    for identity, (image, one, box) in enumerate(found, 1):
        left, top, width, height = box["left"], box["top"], box["right"] - box["left"], box["bottom"] - box["top"]
        corners = [[left, top], [left + width, top], [left + width, top + height], [left, top + height]]
        outline = [side for corner in box.get("rings", [corners])[0] for side in corner]
        about = {"score": one["score"], "method": one["method"], "heat": box["share"]}
        yield {
            "id": identity, "image_id": image, "category_id": one["class_index"], "bbox": [left, top, width, height],
            "area": width * height, "segmentation": [outline], "iscrowd": 0, **about,
        }  # fmt: skip


# The files of each format, below OUT, and the functions that write them.
EXPORTS: dict[str, dict[str, Callable[[Path, BinaryIO, Iterable[str]], None]]] = {
    "csv": {"results.csv": _csv},
    "parquet": {"results.parquet": _parquet},
    "coco": {"coco.json": _coco},
    "fiftyone": {"fiftyone/samples.json": write_samples},
    "label-studio": {"label-studio/tasks.json": write_tasks, "label-studio/interface.xml": write_interface},
}

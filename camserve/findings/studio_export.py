"""Writes results.jsonl as tasks of Label Studio with predictions, and the labelling interface that shows them.

Links to images are those of Label Studio's local files, with the document root "/"; see docs/cli.md.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from camserve.findings.results import Row, origin_of, put_items, read_rows, read_sources
from camserve.findings.statistics import main_explanation

# Kinds of regions: the name of the tag in the interface, the tag, and its type in results.
_OUTLINE, _BOX = ("outline", "PolygonLabels", "polygonlabels"), ("box", "RectangleLabels", "rectanglelabels")


def write_tasks(out: Path, file: BinaryIO, labels: Iterable[str]) -> None:
    """Write a list of tasks, one by one. Failed images are left out."""
    origin = origin_of(out)
    version = "camserve" if origin is None else f"{origin.model} {origin.weights}"
    file.write(b"[")
    tasks = (_task(out, row, path, version) for row, path in read_sources(out) if row["status"] == "ok")
    put_items(file, tasks)
    file.write(b"\n]\n")


def write_interface(out: Path, file: BinaryIO, labels: Iterable[str]) -> None:
    """Write the labelling interface: the image, its overlay, the classes in the results, and their regions."""
    names, kinds, overlays = set(), set(), False
    for row in read_rows(out):
        names |= {answer["class_name"] for answer in (row.get("predicted"), row.get("expected")) if answer}
        if (one := main_explanation(row)) is not None:
            names.add(one["class_name"])
            kinds |= {_kind(box) for box in one.get("boxes", ())}
            overlays |= "overlay" in one["files"]
    choices = sorted(names)
    lines = [
        "<View>",
        '  <Image name="image" value="$image" zoom="true"/>',
        *(['  <Image name="overlay" value="$overlay" zoom="true"/>'] if overlays else []),
        '  <Choices name="class" toName="image" choice="single">',
        *(f"    <Choice value={quoteattr(name)}/>" for name in choices),
        "  </Choices>",
    ]
    for called, tag, _ in sorted(kinds):
        listed = (f"    <Label value={quoteattr(name)}/>" for name in choices)
        lines += [f'  <{tag} name="{called}" toName="image">', *listed, f"  </{tag}>"]
    file.write("\n".join([*lines, "</View>", ""]).encode())


def _task(out: Path, row: Row, path: str, version: str) -> dict[str, Any]:
    predicted, expected, one = row["predicted"], row["expected"], main_explanation(row)
    overlay = None if one is None else one["files"].get("overlay")
    chosen = {**_result("class", "choices", {"choices": [predicted["class_name"]]}), "score": predicted["score"]}
    return {
        "data": {
            "image": _address(path),
            "file": row["file"],
            **({"overlay": _address(str((out / overlay).absolute()))} if overlay else {}),
            **({"expected": expected["class_name"]} if expected else {}),
        },
        "predictions": [
            {
                "model_version": version,
                "score": predicted["score"],
                "result": [chosen, *(_regions(row, one) if one is not None else ())],
            }
        ],
    }


def _regions(row: Row, one: Row) -> Iterator[dict[str, Any]]:
    """The regions of heat, in percent of the image, without holes."""
    across, down = 100 / row["width"], 100 / row["height"]
    about = {"original_width": row["width"], "original_height": row["height"], "image_rotation": 0}
    for place, box in enumerate(one.get("boxes", ()), 1):
        called, _, kind = _kind(box)
        if kind == _OUTLINE[2]:
            where: dict[str, Any] = {"points": [[x * across, y * down] for x, y in box["rings"][0]], "closed": True}
        else:
            sides = {"width": (box["right"] - box["left"]) * across, "height": (box["bottom"] - box["top"]) * down}
            where = {"x": box["left"] * across, "y": box["top"] * down, **sides, "rotation": 0}
        value = {**where, kind: [one["class_name"]]}
        yield {**_result(called, kind, value), "id": f"{called}-{place}", **about, "score": box["share"]}


def _result(name: str, kind: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"id": name, "from_name": name, "to_name": "image", "type": kind, "value": value}


def _kind(box: Row) -> tuple[str, str, str]:
    return _OUTLINE if box.get("rings") else _BOX


def _address(path: str) -> str:
    return path if "://" in path else f"/data/local-files/?d={quote(os.fsencode(path.lstrip('/')))}"

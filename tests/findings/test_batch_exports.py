"""The same results as CSV, Parquet and COCO."""

import csv
import json
from pathlib import Path

import pytest
from conftest import picture

import camserve
from camserve.batch import Options, run_batch
from camserve.errors import OptionError
from camserve.findings.results import read_rows


@pytest.fixture(scope="module")
def out(model: camserve.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("in")
    for number in range(3):
        picture(number).save(folder / f'{number},"ü".png')
    (folder / "fake.png").write_text("no picture")
    out = tmp_path_factory.mktemp("out")
    options = Options(methods=("cam", "layercam"), outputs=("mask", "polygons"), threshold=0.3)
    run_batch(model, folder, out, options, exports=("csv", "parquet", "coco"))
    return out


def test_csv_has_a_line_for_each_explanation_and_failure(out: Path) -> None:
    with (out / "results.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [line["file"] for line in lines] == [name for n in "012" for name in [f'{n},"ü".png'] * 2] + ["fake.png"]
    row = next(read_rows(out))
    for line, one in zip(lines, row["explanations"], strict=False):
        assert (line["method"], float(line["score"]), float(line["border"])) == (
            one["method"],
            one["score"],
            one["border"],
        )
        assert (line["mask"], line["predicted_name"]) == (one["files"]["mask"], row["predicted"]["class_name"])
    assert (lines[-1]["status"], lines[-1]["score"]) == ("failed", "")
    assert "fake.png" in lines[-1]["error"]


def test_parquet_holds_the_same_with_types(out: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet", reason="no pyarrow to read Parquet with")
    table = pq.read_table(out / "results.parquet").to_pylist()
    with (out / "results.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [{key: "" if value is None else str(value) for key, value in line.items()} for line in table] == lines
    assert isinstance(table[0]["score"], float)
    assert table[-1]["score"] is None


def test_coco_holds_every_box(out: Path, model: camserve.Model) -> None:
    coco = json.loads((out / "coco.json").read_text())
    rows = list(read_rows(out))
    assert [image["file_name"] for image in coco["images"]] == [row["file"] for row in rows[:3]]
    assert [category["name"] for category in coco["categories"]] == list(model.labels)
    names = {image["id"]: image["file_name"] for image in coco["images"]}
    boxes = []
    for row in rows[:3]:
        for one in row["explanations"]:
            for box in one["boxes"]:
                sides = [box["left"], box["top"], box["right"] - box["left"], box["bottom"] - box["top"]]
                boxes.append((row["file"], one["class_index"], sides))
    assert boxes
    assert [(names[one["image_id"]], one["category_id"], one["bbox"]) for one in coco["annotations"]] == boxes
    rings = [box["rings"][0] for row in rows[:3] for one in row["explanations"] for box in one["boxes"]]
    assert [one["segmentation"] for one in coco["annotations"]] == [
        [[side for corner in ring for side in corner]] for ring in rings
    ]
    assert len({one["id"] for one in coco["annotations"]}) == len(boxes)


def test_coco_without_boxes_is_refused_before_the_work(model: camserve.Model, tmp_path: Path) -> None:
    picture(1).save(tmp_path / "a.png")
    with pytest.raises(OptionError, match="the COCO export needs boxes: add --output boxes"):
        run_batch(model, tmp_path, tmp_path / "out", exports=("coco",))
    assert not (tmp_path / "out").exists()

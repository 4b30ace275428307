"""The same results as a dataset of FiftyOne and as tasks of Label Studio, which reads them where it is installed."""

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest
from conftest import picture
from PIL import Image

import camserve
from camserve.batch import Options, run_batch
from camserve.batch.preflight import check_exports
from camserve.errors import OptionError
from camserve.findings.exports import export
from camserve.findings.results import Row, read_rows

NAMES = ["one.png", "tw<o>&.png"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("in") / "tench"
    folder.mkdir()
    for number, name in enumerate(NAMES):
        picture(number, (90, 60)).save(folder / name)
    (folder / "fake.png").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def out(model: camserve.Model, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out, outputs = tmp_path_factory.mktemp("out"), ("overlay", "heatmap", "boxes")
    exports = ("fiftyone", "label-studio")
    run_batch(model, folder.parent, out, Options(outputs=outputs), folders_are_classes=True, exports=exports)
    return out


@pytest.fixture(scope="module")
def rows(out: Path) -> list[Row]:
    return [row for row in read_rows(out) if row["status"] == "ok"]


def test_samples_of_fiftyone_have_both_classes_and_a_heatmap_field_for_each(
    out: Path, folder: Path, rows: list[Row]
) -> None:
    samples = json.loads((out / "fiftyone" / "samples.json").read_text())["samples"]
    assert [sample["filepath"] for sample in samples] == [str(folder / name) for name in NAMES]
    for sample, row in zip(samples, rows, strict=True):
        predicted = row["predicted"]
        confidence = {"label": predicted["class_name"], "confidence": predicted["score"]}
        assert sample["predicted"] == {"_cls": "Classification", **confidence}
        assert sample["ground_truth"] == {"_cls": "Classification", "label": "tench", "confidence": None}
        assert "wrong" in sample["tags"]
        for one in row["explanations"]:
            heatmap = sample[f"cam_{one['variant']}"]
            assert heatmap == {"_cls": "Heatmap", "map_path": str(out / one["files"]["heatmap"])}
            with Image.open(heatmap["map_path"]) as image:
                assert (image.mode, image.size) == ("L", (90, 60))
            boxes = sample[f"cam_{one['variant']}_boxes"]["detections"]
            left, top, width, height = boxes[0]["bounding_box"]
            box = one["boxes"][0]
            assert (left * 90, top * 60) == pytest.approx((box["left"], box["top"]))
            assert ((left + width) * 90, (top + height) * 60) == pytest.approx((box["right"], box["bottom"]))


def test_fiftyone_reads_its_samples(out: Path, rows: list[Row]) -> None:
    fiftyone = pytest.importorskip("fiftyone", reason="no fiftyone to read with; it needs MongoDB")
    dataset = fiftyone.Dataset.from_dir(str(out / "fiftyone"), fiftyone.types.FiftyOneDataset)
    assert len(dataset) == len(rows)
    first = dataset.first()
    assert first.predicted.label == rows[0]["predicted"]["class_name"]
    assert first.cam_predicted.get_map().shape == (60, 90)
    dataset.delete()


def test_tasks_of_label_studio_lead_to_the_images_and_say_what_was_predicted(
    out: Path, folder: Path, rows: list[Row]
) -> None:
    tasks = json.loads((out / "label-studio" / "tasks.json").read_text())
    assert len(tasks) == len(rows)
    for task, row, name in zip(tasks, rows, NAMES, strict=True):
        assert unquote(task["data"]["image"]) == f"/data/local-files/?d={str(folder / name).lstrip('/')}"
        assert unquote(task["data"]["overlay"]).endswith(row["explanations"][0]["files"]["overlay"])
        assert task["data"]["expected"] == "tench"
        (prediction,) = task["predictions"]
        choice, *boxes = prediction["result"]
        assert choice["value"] == {"choices": [row["predicted"]["class_name"]]}
        assert prediction["model_version"].startswith("efficientnet-lite0 ")
        for one, box in zip(boxes, row["explanations"][0]["boxes"], strict=True):
            value = one["value"]
            assert (one["original_width"], one["original_height"]) == (90, 60)
            assert value["rectanglelabels"] == [row["predicted"]["class_name"]]
            assert (value["x"] * 0.9, value["y"] * 0.6) == pytest.approx((box["left"], box["top"]))
            assert value["width"] * 0.9 == pytest.approx(box["right"] - box["left"])


def test_the_interface_names_the_classes_that_occur(out: Path, rows: list[Row]) -> None:
    view = ElementTree.parse(out / "label-studio" / "interface.xml").getroot()
    names = sorted({"tench", *(row["predicted"]["class_name"] for row in rows)})
    assert [choice.get("value") for choice in view.iter("Choice")] == names
    assert [label.get("value") for label in view.iter("Label")] == names
    assert [tag.get("name") for tag in view] == ["image", "overlay", "class", "box"]


@pytest.mark.parametrize("outputs", [("boxes",), ("polygons",), ("heatmap",)])
def test_label_studio_takes_tasks_and_predictions(
    model: camserve.Model, folder: Path, tmp_path: Path, outputs: Any
) -> None:
    sdk = pytest.importorskip("label_studio_sdk.label_interface", reason="no label-studio-sdk to read with")
    run_batch(model, folder.parent, tmp_path, Options(outputs=outputs), exports=("label-studio",))
    interface = sdk.LabelInterface((tmp_path / "label-studio" / "interface.xml").read_text())
    interface.validate()
    tasks = json.loads((tmp_path / "label-studio" / "tasks.json").read_text())
    regions = 0
    for task in tasks:
        assert interface.validate_task({"data": task["data"]})  # of predictions it asks its own method without them
        for prediction in task["predictions"]:
            assert interface.validate_prediction(prediction)
            regions += len(prediction["result"]) - 1
    assert (regions > 0) == (outputs != ("heatmap",))
    tasks[0]["predictions"][0]["result"][0]["value"]["choices"] = ["no such class"]
    assert not interface.validate_prediction(tasks[0]["predictions"][0])


def test_without_its_plan_a_run_is_exported_by_the_names_of_its_files(
    model: camserve.Model, out: Path, tmp_path: Path
) -> None:
    (tmp_path / "results.jsonl").write_bytes((out / "results.jsonl").read_bytes())
    export(tmp_path, "fiftyone", model.labels)
    samples = json.loads((tmp_path / "fiftyone" / "samples.json").read_text())["samples"]
    assert [sample["filepath"] for sample in samples] == [str(Path(f"tench/{name}").absolute()) for name in NAMES]


def test_fiftyone_without_heatmaps_is_refused_before_the_work() -> None:
    with pytest.raises(OptionError, match="the FiftyOne export needs heatmaps: add --output heatmap"):
        check_exports(["fiftyone"], Options())


def test_names_that_are_no_utf8_are_exported_too(model: camserve.Model, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    picture(1).save(os.fsencode(tmp_path / "in") + b"/caf\xe9.png", "png")
    exports = ("fiftyone", "label-studio", "coco")
    options = Options(outputs=("overlay", "heatmap", "boxes"))
    run_batch(model, tmp_path / "in", tmp_path / "out", options, exports=exports)
    (task,) = json.loads((tmp_path / "out" / "label-studio" / "tasks.json").read_text())
    assert task["data"]["image"].endswith("/in/caf%E9.png")
    (sample,) = json.loads((tmp_path / "out" / "fiftyone" / "samples.json").read_text())["samples"]
    assert os.fsencode(sample["filepath"]).endswith(b"/in/caf\xe9.png")
    (image,) = json.loads((tmp_path / "out" / "coco.json").read_text())["images"]
    assert image["file_name"].startswith("caf")

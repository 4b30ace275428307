"""A folder: everything in it accounted for, one row an image, and options that reach each."""

import csv
import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import pytest
from conftest import picture
from PIL import Image

import camserve
from camserve.batch import IMAGE_ENDINGS, Options, find_images, run_batch
from camserve.batch.outputs import thumbnail
from camserve.catalogue.options import ExplainOptions
from camserve.errors import OptionError, OutputError, UnknownName
from camserve.explain.pipeline import explain_classes
from camserve.findings.sketch import from_text, sketch_of
from camserve.images.decoding import EXTRAS
from camserve.images.reading import OUTPUTS
from camserve.render.canvas import canvas_of

Rows = dict[str, dict[str, Any]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    (folder / "deep" / "er").mkdir(parents=True)
    picture(1).save(folder / "cat.jpg")
    picture(2).save(folder / "cat.png")
    picture(3).save(folder / "deep" / "er" / "ünï cødé #1?.webp")
    (folder / "fake.jpg").write_text("no photograph")
    (folder / "empty.png").write_bytes(b"")
    (folder / "notes.txt").write_text("not an image, and not called one")
    (folder / "._cat.jpg").write_bytes(b"what macOS leaves behind")
    return folder


def results(out: Path) -> Rows:
    return {row["file"]: row for row in map(json.loads, (out / "results.jsonl").read_text().splitlines())}


def first(out: Path, name: str) -> dict[str, Any]:
    explanation: dict[str, Any] = results(out)[name]["explanations"][0]
    return explanation


def test_every_file_is_accounted_for(model: camserve.Model, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    summary = run_batch(model, folder, out)
    assert (summary.explained, summary.failed, summary.ignored, summary.interrupted) == (3, 2, 2, False)
    rows = results(out)
    assert {file: row["status"] for file, row in rows.items()} == {
        "cat.jpg": "ok", "cat.png": "ok", "deep/er/ünï cødé #1?.webp": "ok",
        "fake.jpg": "failed", "empty.png": "failed",
    }  # fmt: skip
    assert list(rows) == sorted(rows)
    assert "fake.jpg" in rows["fake.jpg"]["error"]
    for row in rows.values():
        for one in row.get("explanations", ()):
            with Image.open(out / one["files"]["overlay"]) as overlay:
                assert overlay.size == (90, 70)
            assert (out / one["files"]["thumbnail"]).exists()
    assert not list(out.rglob("*.part"))


def test_results_equal_those_of_the_api(model: camserve.Model, folder: Path, tmp_path: Path) -> None:
    run_batch(model, folder, tmp_path / "out", Options(targets=("7",), outputs=("map", "npy", "mask", "heatmap")))
    row, alone = first(tmp_path / "out", "cat.png"), model.explain(folder / "cat.png", target=7)
    assert (row["logit"], row["score"], row["peak"]) == (alone.logit, alone.score, float(alone.map.max()))
    sketch = from_text(row["sketch"])
    np.testing.assert_allclose(sketch, sketch_of(alone.map, alone.placement), atol=1 / 254)
    files = {kind: tmp_path / "out" / path for kind, path in row["files"].items()}
    assert np.array_equal(np.load(files["map"]), alone.map)
    assert np.array_equal(np.load(files["npy"]), alone.heatmap, equal_nan=True)
    for kind, expected in (("mask", alone.mask_image()), ("heatmap", alone.heatmap_image())):
        with Image.open(files[kind]) as written:
            assert np.array_equal(np.asarray(written), np.asarray(expected))


def test_overlay_pixels_equal_those_of_the_api(model: camserve.Model, folder: Path, tmp_path: Path) -> None:
    run_batch(model, folder, tmp_path / "out", Options(image_format="png"))
    with Image.open(tmp_path / "out" / "overlays" / "cat.png.png") as overlay:
        expected = model.explain(folder / "cat.png").overlay()
        np.testing.assert_array_equal(np.asarray(overlay), np.asarray(expected))


@pytest.mark.parametrize("image_format", OUTPUTS)
def test_overlays_come_in_the_format_asked_for(
    model: camserve.Model, folder: Path, tmp_path: Path, image_format: str
) -> None:
    run_batch(model, folder, tmp_path / "out", Options(image_format=image_format))
    with Image.open(tmp_path / "out" / "overlays" / f"cat.png{OUTPUTS[image_format].ending}") as overlay:
        assert overlay.format == image_format.upper()


def test_several_methods_and_classes_each_have_their_files(model: camserve.Model, folder: Path, tmp_path: Path) -> None:
    run_batch(
        model, folder, tmp_path / "out", Options(methods=("cam", "layercam"), targets=2, outputs=("map", "polygons"))
    )
    found = results(tmp_path / "out")["cat.png"]["explanations"]
    assert [(one["method"], one["variant"]) for one in found] == [
        ("cam", "top-1"), ("cam", "top-2"), ("layercam", "top-1"), ("layercam", "top-2"),
    ]  # fmt: skip
    for one in found:
        alone = model.explain(folder / "cat.png", method=one["method"], target=one["class_index"])
        assert np.array_equal(np.load(tmp_path / "out" / one["files"]["map"]), alone.map)
        assert [{**box, "rings": None} for box in one["boxes"]] == [
            {**vars(box), "rings": None} for box in alone.boxes()
        ]
        assert [box["rings"] for box in one["boxes"]] == [polygon.rings for polygon in alone.polygons()]
    assert len({one["files"]["map"] for one in found}) == 4


def test_targets_whose_names_look_alike_do_not_meet() -> None:
    assert Options(targets=("tiger cat", "Tiger-Cat", "-281", "predicted")).variants(False) == [
        "tiger-cat", "tiger-cat-2", "281", "predicted",
    ]  # fmt: skip


def test_the_expected_class_is_explained_beside_the_predicted_where_it_is_another(
    model: camserve.Model, folder: Path, tmp_path: Path
) -> None:
    predicted = model.explain(folder / "cat.png").class_index
    (tmp_path / "table.csv").write_text(f"file,class\nin/cat.png,{predicted}\nin/cat.jpg,tench\n")
    run_batch(model, str(tmp_path / "table.csv"), tmp_path / "out")
    rows = results(tmp_path / "out")
    assert [one["variant"] for one in rows["in/cat.png"]["explanations"]] == ["predicted"]
    wrong = rows["in/cat.jpg"]
    assert [one["variant"] for one in wrong["explanations"]] == ["predicted", "expected"]
    alone = model.explain(folder / "cat.jpg", target="tench")
    assert wrong["expected"] == vars(alone.answer_of(0))
    assert wrong["explanations"][1]["class_name"] == "tench"


def test_the_expected_class_may_be_one_for_all_and_stand_in_a_target(
    model: camserve.Model, folder: Path, tmp_path: Path
) -> None:
    options = Options(outputs=(), targets=("predicted-expected",), how=ExplainOptions(expected="tench"))
    run_batch(model, folder, tmp_path / "out", options)
    row = results(tmp_path / "out")["cat.png"]
    alone = model.explain(folder / "cat.png", target="predicted-expected", expected=0)
    assert row["expected"]["class_name"] == "tench"
    assert row["explanations"][0]["target"] == alone.target.name == f"{row['predicted']['class_name']} - tench"
    assert row["explanations"][0]["peak"] == float(alone.map.max())
    said = [text for text in alone.warnings if "expected was" not in text]
    assert row["explanations"][0]["warnings"] == said and len(said) == len(alone.warnings) - 1
    (tmp_path / "table.csv").write_text("file,class\nin/cat.png,7\nin/cat.jpg,\n")
    run_batch(model, tmp_path / "table.csv", tmp_path / "table", Options(outputs=(), targets=("expected-predicted",)))
    rows = results(tmp_path / "table")
    assert rows["in/cat.png"]["explanations"][0]["class_index"] == 7
    assert "its expected class is not known" in rows["in/cat.jpg"]["error"]
    run_batch(model, tmp_path / "table.csv", tmp_path / "rest", replace(options, targets=()))
    assert [row["expected"]["class_index"] for row in results(tmp_path / "rest").values()] == [0, 7]


def test_wnids_are_classes_as_folders_and_in_a_table(model: camserve.Model, tmp_path: Path) -> None:
    for wnid in ("n01440764", "n02123045"):
        (tmp_path / "in" / wnid).mkdir(parents=True)
        picture(1).save(tmp_path / "in" / wnid / "a.png")
    run_batch(model, tmp_path / "in", tmp_path / "out", Options(outputs=()), folders_are_classes=True)
    rows = results(tmp_path / "out").values()
    assert [row["expected"]["class_name"] for row in rows] == ["tench", "tabby"]
    (tmp_path / "table.csv").write_text("file,class,target\nin/n02123045/a.png,n02123045,n02123159\n")
    run_batch(model, tmp_path / "table.csv", tmp_path / "table", Options(outputs=()))
    (row,) = results(tmp_path / "table").values()
    assert (row["expected"]["class_index"], row["explanations"][0]["class_name"]) == (281, "tiger cat")


def test_paths_of_a_table_stay_as_given_and_join_with_it(model: camserve.Model, folder: Path, tmp_path: Path) -> None:
    """Rows, exports and the page; boxes of the same table are found, too."""
    absolute, relative, fake = given = [str(folder / "cat.png"), ".././in/cat.jpg", "../in/fake.jpg"]
    (tmp_path / "lists").mkdir()
    table, boxes = tmp_path / "lists" / "table.csv", tmp_path / "boxes.csv"
    table.write_text("file\n" + "".join(f"{one}\n" for one in given))
    boxes.write_text(f"file,left,top,right,bottom\n{absolute},20,10,60,50\n{relative},0,0,9,9\n")
    out, options = tmp_path / "out", Options(outputs=("overlay", "boxes"))
    run_batch(model, str(table), out, options, objects=boxes, exports=("csv", "parquet", "coco"))
    rows = results(out)
    assert set(rows) == set(given)
    assert rows[absolute]["name"] == f"=root{absolute}"
    assert rows[absolute]["explanations"][0]["files"]["overlay"] == f"overlays/=root{absolute}.jpg"
    assert all(rows[one]["explanations"][0]["outside"] is not None for one in (absolute, relative))
    with (out / "results.csv").open(newline="") as exported:
        assert {line["file"] for line in csv.DictReader(exported)} == set(given)
    assert set(parquet.read_table(out / "results.parquet")["file"].to_pylist()) == set(given)
    images = json.loads((out / "coco.json").read_text())["images"]
    assert {image["file_name"] for image in images} == {absolute, relative}
    page = (out / "index.html").read_text()
    assert all(f'["{one}",' in page for one in given)
    assert "=root" not in rows[fake]["error"]


def test_a_table_says_what_to_explain_of_each_image(model: camserve.Model, folder: Path, tmp_path: Path) -> None:
    lines = ["file,target", "in/cat.png,tench", "in/cat.png,281-282", "in/cat.jpg,predicted"]
    (tmp_path / "table.csv").write_text("\n".join(lines))
    run_batch(model, str(tmp_path / "table.csv"), tmp_path / "out")
    rows = results(tmp_path / "out")
    found = {name: [one["target"] for one in row["explanations"]] for name, row in rows.items()}
    best = rows["in/cat.jpg"]["predicted"]["class_name"]
    assert found == {"in/cat.jpg": [best], "in/cat.png": ["tench", "tabby - tiger cat"]}
    tench, difference = rows["in/cat.png"]["explanations"]
    alone = model.explain(folder / "cat.png", target="281-282")
    assert (difference["score"], difference["value"], difference["logit"]) == (None, alone.value, alone.logit)
    assert tench["value"] == tench["logit"] and tench["score"] is not None
    row, texts = rows_of_page(tmp_path / "out")[-2:]
    shown = row[6][1]
    assert (shown[:2], texts[shown[3]], shown[7]) == ([281, None], "tabby - tiger cat", round(alone.value or 0, 4))


def test_a_bad_target_in_a_table_is_that_row_s_failure(model: camserve.Model, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("file,target\nin/cat.png,tenhc\nin/cat.jpg,tench\n")
    summary = run_batch(model, str(tmp_path / "table.csv"), tmp_path / "out")
    assert (summary.explained, summary.failed) == (1, 1)
    assert "did you mean 'tench'" in results(tmp_path / "out")["in/cat.png"]["error"]


def test_too_little_memory_is_that_row_s_failure(
    model: camserve.Model, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = iter([MemoryError(), RuntimeError("can't allocate memory")])

    def at_first_too_much(*given: Any) -> Any:
        for error in told:
            raise error
        return explain_classes(*given)

    monkeypatch.setattr("camserve.batch.explain_item.explain_classes", at_first_too_much)
    (tmp_path / "table.csv").write_text("file\nin/cat.png\nin/cat.jpg\n")
    summary = run_batch(model, str(tmp_path / "table.csv"), tmp_path / "out")
    assert (summary.explained, summary.failed) == (0, 2)
    rows = results(tmp_path / "out").values()
    assert {row["code"] for row in rows} == {"out_of_memory"}
    assert all("there is too little memory" in row["error"] for row in rows)


def test_folders_can_be_classes(model: camserve.Model, tmp_path: Path) -> None:
    for name in ("tench", "Tiger Cat"):
        (tmp_path / "in" / name / "more").mkdir(parents=True)
        picture(4).save(tmp_path / "in" / name / "more" / "a.png")
    picture(5).save(tmp_path / "in" / "of no class.png")
    summary = run_batch(model, tmp_path / "in", tmp_path / "out", folders_are_classes=True)
    assert (summary.explained, summary.ignored) == (2, 1)
    expected = {name: row["expected"]["class_index"] for name, row in results(tmp_path / "out").items()}
    assert expected == {"Tiger Cat/more/a.png": 282, "tench/more/a.png": 0}


def test_heat_beside_given_boxes_and_masks_is_counted(model: camserve.Model, folder: Path, tmp_path: Path) -> None:
    heat = np.nan_to_num(model.explain(folder / "cat.png").heatmap)
    outside = 1 - heat[10:50, 20:60].sum() / heat.sum()
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("file,left,top,right,bottom\ncat.png,20,10,40,50\ncat.png,40,10,60,50\n")
    mask = np.zeros((70, 90), np.uint8)
    mask[10:50, 20:60] = 255
    (tmp_path / "masks").mkdir()
    Image.fromarray(mask).save(tmp_path / "masks" / "cat.png")
    for source in (boxes, tmp_path / "masks"):
        run_batch(model, folder, tmp_path / "out", objects=source, restart=True)
        assert first(tmp_path / "out", "cat.png")["outside"] == pytest.approx(outside, abs=1e-4)
    assert first(tmp_path / "out", "deep/er/ünï cødé #1?.webp")["outside"] is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,left\n", "has no columns bottom, right, top"),
        ("file,left,top,right,bottom\na.png,1,2,x,4\n", "line 2: .* must be numbers"),
        ("file,left,top,right,bottom\na.png,5,2,1,4\n", "line 2: left must be less than right"),
    ],
)
def test_bad_boxes_are_named(model: camserve.Model, folder: Path, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "boxes.csv").write_text(text)
    with pytest.raises(OptionError, match=message):
        run_batch(model, folder, tmp_path / "out", objects=tmp_path / "boxes.csv")


def test_the_page_shows_each_file_and_each_failure(model: camserve.Model, folder: Path, tmp_path: Path) -> None:
    (folder / "<b>.jpg").write_text("a name that is markup")
    run_batch(model, folder, tmp_path / "out")
    assert "<b>.jpg" not in (tmp_path / "out" / "index.html").read_text()
    *rows, texts = rows_of_page(tmp_path / "out")
    assert "<b>.jpg" in [row[0] for row in rows]
    (overlay,) = (row[6][0][4] for row in rows if row[0] == "deep/er/ünï cødé #1?.webp")
    assert texts[overlay] == "overlays/*.jpg"
    assert len(rows) == 6


def rows_of_page(out: Path) -> list[Any]:
    """The rows in the page of a run; last the texts that they name."""
    found = re.search(
        r'<script type="application/json" id="data">(.*?)</script>', (out / "index.html").read_text(), re.DOTALL
    )
    assert found is not None
    rows: list[Any] = json.loads(found[1])["rows"]
    return rows


def test_running_again_into_a_folder_inside_the_input_finds_only_the_input(model: camserve.Model, folder: Path) -> None:
    for _ in range(2):
        assert run_batch(model, folder, folder / "out").explained == 3


def test_a_bad_option_stops_before_the_first_file(model: camserve.Model, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="unknown class"):
        run_batch(model, folder, tmp_path / "out", Options(targets=("catt",)))
    with pytest.raises(UnknownName, match="unknown output 'masks'; did you mean 'mask'"):
        Options(outputs=("masks",))
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_written_stops_the_run(model: camserve.Model, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "overlays").write_text("in the way")
    with pytest.raises(OutputError, match="cannot write into"):
        run_batch(model, folder, out)


def test_a_folder_without_images_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(
        OptionError, match=r"no images in .*; left out: 1 file that is no image \(.txt 1\); looked for .*\.jpg"
    ):
        find_images(tmp_path, tmp_path / "out")
    with pytest.raises(OptionError, match="is not a folder"):
        find_images(tmp_path / "notes.txt", tmp_path / "out")


@pytest.mark.parametrize("native", [True, False])
def test_thumbnails_are_small_and_never_empty(native: bool) -> None:
    for size, small in (
        ((4000, 3000), (360, 270)),
        ((4000, 1), (360, 1)),
        ((20, 10), (20, 10)),
        ((500, 400), (360, 288)),
    ):
        pixels = np.zeros((*size[::-1], 3), np.uint8)
        assert thumbnail(canvas_of(pixels, native=native)).size == small


def test_thumbnails_are_those_of_pillow_but_for_rounding() -> None:
    random = np.random.default_rng(0)
    for size in ((500, 400), (361, 20), (200, 700)):
        coarse = Image.fromarray(random.integers(0, 256, (9, 9, 3), dtype=np.uint8))
        pixels = np.array(coarse.resize(size, Image.Resampling.BICUBIC))
        quick, slow = (thumbnail(canvas_of(pixels, native=native)) for native in (True, False))
        far = np.abs(np.asarray(quick).astype(int) - np.asarray(slow))
        assert quick.mode == slow.mode == "RGB" and far.max() <= 1 and (far > 0).mean() < 0.01


def test_every_ending_we_look_for_is_a_format_we_read() -> None:
    known = {ending for ending, name in Image.registered_extensions().items() if name in (
        "JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "AVIF")}  # fmt: skip
    extras = {"HEIC": {".heic", ".heif", ".hif"}, "JPEG XL": {".jxl"}, "DICOM": {".dcm", ".dicom"}}
    assert set(extras) == set(EXTRAS)
    assert known.union(*extras.values()) >= IMAGE_ENDINGS >= set().union(*extras.values())


def test_a_file_whose_library_is_missing_is_a_row_that_names_the_extra(
    model: camserve.Model, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "phone.HEIC").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    run_batch(model, folder, tmp_path / "out")
    row = results(tmp_path / "out")["phone.HEIC"]
    assert (row["status"], row["code"]) == ("failed", "unsupported_type")
    assert 'needs pillow-heif. Try pip install "camserve[pictures]"' in row["error"]


def test_small_photographs_have_thumbnails_to_look_at_and_overlays_of_their_own_size(
    model: camserve.Model, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    picture(1, (32, 20)).save(tmp_path / "in" / "small.png")
    picture(1, (300, 200)).save(tmp_path / "in" / "usual.png")
    run_batch(model, tmp_path / "in", tmp_path / "out", Options(image_format="png"))
    sizes = {}
    for kind, ending in (("overlays", "png"), ("thumbnails", "jpg")):
        for name in ("small", "usual"):
            with Image.open(tmp_path / "out" / kind / f"{name}.png.{ending}") as made:
                sizes[kind, name] = made.size
    assert sizes == {
        ("overlays", "small"): (32, 20), ("thumbnails", "small"): (256, 160),
        ("overlays", "usual"): (300, 200), ("thumbnails", "usual"): (300, 200),
    }  # fmt: skip

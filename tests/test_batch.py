"""A folder: everything in it accounted for, names that cannot collide, and a clean end."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import picture
from PIL import Image

import camserve
from camserve.batch import IMAGE_ENDINGS, find_images, run_batch, thumbnail
from camserve.errors import OptionError, OutputError, UnknownName
from camserve.images import OUTPUTS

NO_OPTIONS = {"how": {}, "look": {}, "progress": False}


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


def results(out: Path) -> dict[str, dict[str, object]]:
    return {row["file"]: row for row in map(json.loads, (out / "results.jsonl").read_text().splitlines())}


def test_every_file_is_accounted_for(model: camserve.Model, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    summary = run_batch(model, folder, out, **NO_OPTIONS)
    assert (summary.explained, summary.failed, summary.ignored, summary.interrupted) == (3, 2, 2, False)
    rows = results(out)
    assert {file: row["status"] for file, row in rows.items()} == {
        "cat.jpg": "ok", "cat.png": "ok", "deep/er/ünï cødé #1?.webp": "ok",
        "fake.jpg": "failed", "empty.png": "failed",
    }  # fmt: skip
    assert "fake.jpg" in str(rows["fake.jpg"]["error"])
    for row in rows.values():
        if row["status"] == "ok":
            with Image.open(out / str(row["overlay"])) as overlay:
                assert overlay.size == (90, 70)
            assert (out / str(row["thumbnail"])).exists()
    assert not list(out.rglob("*.part"))


def test_results_equal_those_of_the_api(model: camserve.Model, folder: Path, tmp_path: Path) -> None:
    run_batch(model, folder, tmp_path / "out", how={"target": 7}, look={}, progress=False)
    row = results(tmp_path / "out")["cat.png"]
    alone = model.explain(folder / "cat.png", target=7)
    assert (row["logit"], row["score"]) == (alone.logit, alone.score)


@pytest.mark.parametrize("image_format", OUTPUTS)
def test_overlays_come_in_the_format_asked_for(
    model: camserve.Model, folder: Path, tmp_path: Path, image_format: str
) -> None:
    run_batch(model, folder, tmp_path / "out", image_format=image_format, **NO_OPTIONS)
    with Image.open(tmp_path / "out" / "overlays" / f"cat.png{OUTPUTS[image_format].ending}") as overlay:
        assert overlay.format == image_format.upper()


def test_the_page_shows_each_file_and_each_failure(model: camserve.Model, folder: Path, tmp_path: Path) -> None:
    (folder / "<b>.jpg").write_text("a name that is markup")
    run_batch(model, folder, tmp_path / "out", **NO_OPTIONS)
    page = (tmp_path / "out" / "index.html").read_text()
    assert "3 explained, 3 failed" in page
    assert "overlays/deep/er/%C3%BCn%C3%AF%20c%C3%B8d%C3%A9%20%231%3F.webp.jpg" in page
    assert "&lt;b&gt;.jpg" in page
    assert "<b>" not in page


def test_running_again_into_a_folder_inside_the_input_finds_only_the_input(model: camserve.Model, folder: Path) -> None:
    for _ in range(2):
        assert run_batch(model, folder, folder / "out", **NO_OPTIONS).explained == 3


def test_a_bad_option_stops_before_the_first_file(model: camserve.Model, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="unknown class"):
        run_batch(model, folder, tmp_path / "out", how={"target": "catt"}, look={}, progress=False)
    assert not (tmp_path / "out").exists()


def test_a_folder_without_images_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(OptionError, match=r"no images below .* \(1 other files\); looked for .*\.jpg"):
        find_images(tmp_path, tmp_path / "out")
    with pytest.raises(OptionError, match="is not a folder"):
        find_images(tmp_path / "notes.txt", tmp_path / "out")


def test_a_loop_of_links_is_not_walked(folder: Path, tmp_path: Path) -> None:
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    found, _ = find_images(folder, tmp_path / "out")
    assert len(found) == 5


def test_an_output_that_cannot_be_written_stops_the_run(model: camserve.Model, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "overlays").write_text("in the way")
    with pytest.raises(OutputError, match="cannot write into"):
        run_batch(model, folder, out, **NO_OPTIONS)


def test_an_interrupted_run_keeps_its_results_and_makes_its_page(
    model: camserve.Model, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from camserve import batch

    in_order = batch.in_order

    def interrupted(*arguments, **options):  # type: ignore[no-untyped-def]
        for count, future in enumerate(in_order(*arguments, **options)):
            if count == 2:
                raise KeyboardInterrupt
            yield future

    monkeypatch.setattr(batch, "in_order", interrupted)
    summary = run_batch(model, folder, tmp_path / "out", **NO_OPTIONS)
    assert summary.interrupted
    assert summary.explained + summary.failed == 2
    assert len(results(tmp_path / "out")) == 2
    assert (tmp_path / "out" / "index.html").exists()


def test_thumbnails_are_small_and_never_empty() -> None:
    assert thumbnail(Image.new("RGB", (4000, 3000))).size == (360, 270)
    assert thumbnail(Image.new("RGB", (4000, 1))).size == (360, 1)
    assert thumbnail(Image.new("RGB", (20, 10))).size == (20, 10)


def test_every_ending_we_look_for_is_a_format_we_read() -> None:
    known = {ending for ending, name in Image.registered_extensions().items() if name in (
        "JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "AVIF")}  # fmt: skip
    assert known >= IMAGE_ENDINGS


def test_overlay_pixels_equal_those_of_the_api(model: camserve.Model, folder: Path, tmp_path: Path) -> None:
    run_batch(model, folder, tmp_path / "out", image_format="png", **NO_OPTIONS)
    with Image.open(tmp_path / "out" / "overlays" / "cat.png.png") as overlay:
        expected = model.explain(folder / "cat.png").overlay()
        np.testing.assert_array_equal(np.asarray(overlay), np.asarray(expected))

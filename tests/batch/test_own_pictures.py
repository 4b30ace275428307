"""No run explains what a run has made, wherever OUT lies and whatever leads to it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import picture

import camserve
from camserve.batch import Options, run_batch
from camserve.errors import OptionError

Places = Callable[[Path, Path], Any]


def _by_two_links(photos: Path, out: Path) -> None:
    (out.parent / "far").symlink_to(out / "overlays")
    (photos / "more").symlink_to(out.parent / "far")


# What leads from the photographs to the pictures of OUT, which lies beside them.
WAYS: dict[str, Places] = {
    "a link to OUT": lambda photos, out: (photos / "results").symlink_to(out),
    "a link to the folder above": lambda photos, out: (photos / "above").symlink_to(out.parent),
    "a link to its pictures": lambda photos, out: (photos / "more").symlink_to(out / "overlays"),
    "a link to a folder of its pictures": lambda photos, out: (photos / "more").symlink_to(out / "overlays" / "deep"),
    "a link to one of them": lambda photos, out: (photos / "one.jpg").symlink_to(out / "overlays" / "a.png.jpg"),
    "a link to a link": _by_two_links,
}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    photos = tmp_path / "in" / "photos"
    (photos / "deep").mkdir(parents=True)
    for number, name in enumerate(("a.png", "deep/b.png")):
        picture(number).save(photos / name)
    return photos


def left_out(summary: camserve.batch.Summary) -> str:
    return "; ".join(one["reason"] for one in summary.left_out)


@pytest.mark.parametrize("way", WAYS)
def test_whatever_leads_to_out_is_left_out(model: camserve.Model, photos: Path, tmp_path: Path, way: str) -> None:
    out, other = tmp_path / "results" / "out", tmp_path / "other"
    assert run_batch(model, photos, out).explained == 2
    WAYS[way](photos, out)
    for source in (photos, f"{photos}/*", photos.as_uri()):
        again = run_batch(model, source, out, restart=True)
        if source == f"{photos}/*":  # matches a.png, and what leads to OUT
            assert again.explained == 1
            continue
        assert again.explained == 2
        assert "results of batches" in left_out(again) or "this batch's own results" in left_out(again)
    elsewhere = run_batch(model, photos, other)
    assert elsewhere.explained == 2
    assert "batches" in left_out(elsewhere)


@pytest.mark.parametrize("source", ["in", "in/**/*", "file://{}/in"])
def test_out_among_the_images_is_left_out_each_time(
    model: camserve.Model, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    monkeypatch.chdir(tmp_path)
    source, out = source.format(tmp_path), photos / "out"
    for more in ({}, {}, {"resume": True}, {"restart": True}):
        summary = run_batch(model, source, out, **more)  # type: ignore[arg-type]
        assert summary.explained == 2
        assert left_out(summary).endswith("places of this batch's own results")


def test_results_may_lie_around_the_images(model: camserve.Model, photos: Path, tmp_path: Path) -> None:
    around = photos.parent
    for source in (photos, photos, f"{photos}/**/*.png"):
        assert run_batch(model, source, around, restart=True).explained == 2
    for source in (around, f"{around}/**/*"):
        summary = run_batch(model, source, tmp_path / "out", restart=True)
        assert (summary.explained, left_out(summary).split("; ")[-1]) == (2, "folders of other batches' results")


def test_the_folder_of_the_images_is_refused_in_python_too(model: camserve.Model, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(photos)
    for out in (photos, tmp_path / "link", photos / "deep" / ".."):
        for source in (photos, f"{photos}/**/*.png", photos.as_uri()):
            with pytest.raises(OptionError, match="is also the folder of the images"):
                run_batch(model, source, out)
    out = tmp_path / "out"
    run_batch(model, photos, out, Options())
    (tmp_path / "made").symlink_to(out / "overlays")
    for source in (out / "overlays", tmp_path / "made", out / "overlays" / "deep"):
        with pytest.raises(OptionError, match="would write its pictures into"):
            run_batch(model, source, out, restart=True)
    assert run_batch(model, out / "overlays", tmp_path / "of overlays").explained == 2  # as was asked for

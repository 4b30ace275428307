"""Settings that trade what is given for time, at every door; each is off by default."""

import base64
import hashlib
import io
import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import picture
from flask.testing import FlaskClient
from PIL import Image, JpegImagePlugin

import camserve
from camserve.batch import Options, run_batch
from camserve.cli import main
from camserve.config import load_settings
from camserve.findings.results import read_rows
from camserve.images.reading import SUBSAMPLINGS, encode
from camserve.web.app import create_app
from camserve.web.service import Service

PNG = encode(picture(), "png")


def client_with(section: str, **values: object) -> Iterator[FlaskClient]:
    """A service of the embedded model."""
    service = Service(load_settings(environ={}, overrides={section: values}))
    service.load()
    yield create_app(service=service).test_client()
    service.close()


def sampling(data: bytes | Path) -> str:
    """How a JPEG's colours are sampled."""
    with Image.open(io.BytesIO(data) if isinstance(data, bytes) else data) as image:
        assert image.format == "JPEG"
        return SUBSAMPLINGS[JpegImagePlugin.get_sampling(image)]


@pytest.fixture(scope="module")
def client() -> Iterator[FlaskClient]:
    yield from client_with("render", subsampling="4:2:0")


def test_http_samples_colours_as_the_setting_says(client: FlaskClient) -> None:
    wanted = {"data": PNG, "content_type": "image/png", "headers": {"Accept": "image/jpeg"}}
    overlay = client.post("/api/v1/explain", **wanted).data
    assert sampling(overlay) == "4:2:0"
    assert sampling(client.post("/api/v1/explain/classes?targets=2", **wanted).data) == "4:2:0"


def test_a_batch_samples_colours_as_the_setting_says(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    picture().save(tmp_path / "in" / "a.png")
    for name in SUBSAMPLINGS:
        model = camserve.load(settings=load_settings(environ={}, overrides={"render": {"subsampling": name}}))
        run_batch(model, tmp_path / "in", tmp_path / name, Options(image_format="jpeg"))
        assert [sampling(path) for path in (tmp_path / name).glob("*/*.jpg")] == [name, name]  # and its thumbnail


@pytest.mark.parametrize("name", SUBSAMPLINGS)
def test_the_command_line_samples_colours_of_sheets(tmp_path: Path, name: str) -> None:
    picture().save(tmp_path / "a.png")
    asked = ("explain", str(tmp_path / "a.png"), "--target", "1", "--target", "2", "--out", str(tmp_path / "out"))
    CliRunner().invoke(main, asked, env={"CAMSERVE_RENDER_SUBSAMPLING": name}, catch_exceptions=False)
    assert sampling(tmp_path / "out" / "a.png" / "sheet.jpg") == name


LARGE = encode(picture(1, (1024, 300)), "png")
SMALLER = {"width": 600, "height": 176, "scale": 600 / 1024}


def size_of(data: bytes | Path) -> tuple[int, int]:
    with Image.open(io.BytesIO(data) if isinstance(data, bytes) else data) as image:
        return image.size


@pytest.fixture(scope="module")
def smaller() -> Iterator[FlaskClient]:
    yield from client_with("render", max_side=600)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_http_paints_smaller_and_says_so(smaller: FlaskClient, kind: str) -> None:
    response = smaller.post("/api/v1/explain", data=LARGE, headers={"Accept": f"image/{kind}"})
    assert size_of(response.data) == (600, 176)
    assert float(response.headers["X-Cam-Overlay-Scale"]) == 600 / 1024
    small = smaller.post("/api/v1/explain", data=PNG, headers={"Accept": f"image/{kind}"})
    assert "X-Cam-Overlay-Scale" not in small.headers and size_of(small.data) == picture().size


def test_json_and_masks_keep_the_photographs_pixels(smaller: FlaskClient, client: FlaskClient) -> None:
    url, wanted = "/api/v1/explain?outputs=mask,heatmap,overlay&polygons=on", {"Accept": "application/json"}
    one, other = (door.post(url, data=LARGE, headers=wanted).get_json() for door in (smaller, client))
    assert one.pop("overlay") == SMALLER
    overlays = [base64.b64decode(facts["outputs"].pop("overlay")["b64"]) for facts in (one, other)]
    assert [size_of(overlay) for overlay in overlays] == [(600, 176), (1024, 300)]
    assert one == other and one["boxes"]


def test_a_batch_paints_smaller_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "large.png").write_bytes(LARGE)
    (tmp_path / "in" / "small.png").write_bytes(PNG)
    model = camserve.load(settings=load_settings(environ={}, overrides={"render": {"max_side": 600}}))
    run_batch(model, tmp_path / "in", tmp_path / "out", Options(outputs=("overlay", "mask", "boxes")))
    large, small = read_rows(tmp_path / "out")
    assert (large["overlay"], large["width"], "overlay" in small) == (SMALLER, 1024, False)
    files = large["explanations"][0]["files"]
    sizes = [size_of(tmp_path / "out" / files[kind]) for kind in ("overlay", "thumbnail", "mask")]
    assert sizes == [(600, 176), (360, 106), (1024, 300)]
    run_batch(model, tmp_path / "in", tmp_path / "no pictures", Options(outputs=("mask",)))
    assert not any("overlay" in row for row in read_rows(tmp_path / "no pictures"))


def test_the_command_line_paints_smaller_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(LARGE)
    asked = ("explain", str(tmp_path / "a.png"), "--out", str(tmp_path / "out"))
    said = CliRunner().invoke(main, asked, env={"CAMSERVE_RENDER_MAX_SIDE": "600"}, catch_exceptions=False).output
    assert "overlay: 600 x 176, 0.586 of the photograph's side" in said
    folder = tmp_path / "out" / "a.png"
    assert json.loads((folder / "manifest.json").read_text())["overlay"] == SMALLER
    assert (size_of(folder / "overlay.png"), size_of(folder / "heatmap.png")) == ((600, 176), (1024, 300))
    assert np.load(folder / "heatmap.npy").shape == (300, 1024)


@pytest.fixture(scope="module")
def scene() -> bytes:
    """A real photograph made larger: as large, by a model's inputs, as those of cameras."""
    with Image.open("photos/cat.jpg") as cat:
        return encode(cat.convert("RGB").resize((1600, 1200), Image.Resampling.BICUBIC), "jpeg")


@pytest.fixture(scope="module")
def drafts() -> Iterator[FlaskClient]:
    yield from client_with("images", draft=True)


def is_close(one: dict[str, Any], other: dict[str, Any]) -> None:
    """The same answer, with a map of other pixels: not the same bits, and 5 % of its maximum at most away."""
    maps = [np.array(each["map"]) for each in (one, other)]
    assert 0 < np.abs(maps[0] - maps[1]).max() <= 0.05 * np.abs(maps[1]).max()
    for key in ("class_index", "expected", "unit", "receptive_field", "threshold"):
        assert one[key] == other[key], key
    for key in ("image", "frame", "placement", "model", "layer"):
        assert one["provenance"][key] == other["provenance"][key], key
    for box, its in zip(one["boxes"], other["boxes"], strict=True):
        assert all(abs(box[edge] - its[edge]) <= 24 for edge in ("left", "top", "right", "bottom"))
    assert [note for note in one["warnings"] if DRAFTED not in note] == other["warnings"]
    assert sum(DRAFTED in note for note in one["warnings"]) == 1


DRAFTED = "decoded at 1/2 of its size"


def test_json_may_be_of_a_draft_and_pictures_never(drafts: FlaskClient, client: FlaskClient, scene: bytes) -> None:
    for _ in range(2):  # what is remembered of one is not given to the other
        said, full = (
            door.post("/api/v1/explain?outputs=heatmap,mask", data=scene, headers={"Accept": "application/json"})
            for door in (drafts, client)
        )
        is_close(said.get_json(), full.get_json())
        heat = np.load(io.BytesIO(base64.b64decode(said.get_json()["outputs"]["heatmap"]["b64"])))
        assert heat.shape == (1200, 1600)
        assert size_of(base64.b64decode(said.get_json()["outputs"]["mask"]["b64"])) == (1600, 1200)
        seen = drafts.post("/api/v1/explain?outputs=overlay", data=scene, headers={"Accept": "application/json"})
        assert seen.get_json()["map"] == full.get_json()["map"]
        assert seen.get_json()["warnings"] == full.get_json()["warnings"]
        pictures = [
            door.post("/api/v1/explain", data=scene, headers={"Accept": "image/png"}) for door in (drafts, client)
        ]
        assert pictures[0].data == pictures[1].data and size_of(pictures[0].data) == (1600, 1200)
        assert said.headers["ETag"] != full.headers["ETag"]


def test_a_batch_without_overlays_may_be_of_drafts(tmp_path: Path, scene: bytes) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(scene)
    rows = {}
    for draft, outputs in product((False, True), (("mask", "boxes"), ("overlay", "mask", "boxes"))):
        model = camserve.load(settings=load_settings(environ={}, overrides={"images": {"draft": draft}}))
        out = tmp_path / f"{draft} {len(outputs)}"
        run_batch(model, tmp_path / "in", out, Options(outputs=outputs))
        (rows[draft, len(outputs)],) = read_rows(out)
        assert size_of(out / "masks" / "a.jpg.png") == (1600, 1200)
    for row in rows.values():
        assert (row["width"], row["height"], row["sha256"]) == (1600, 1200, hashlib.sha256(scene).hexdigest())
    drafted, full = rows[True, 2]["explanations"][0], rows[False, 2]["explanations"][0]
    assert DRAFTED in drafted["warnings"][-1] and drafted["peak"] != full["peak"]
    assert drafted["peak"] == pytest.approx(full["peak"], rel=0.05)
    assert drafted["boxes"][0]["right"] == pytest.approx(full["boxes"][0]["right"], abs=24)
    painted, usual = rows[True, 3]["explanations"][0], rows[False, 3]["explanations"][0]
    assert painted == usual  # with an overlay it is decoded in full

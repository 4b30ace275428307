"""Settings that trade what is given for time, at every door; each is off by default."""

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path

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


def client_with(**render: object) -> Iterator[FlaskClient]:
    """A service of the embedded model."""
    service = Service(load_settings(environ={}, overrides={"render": render}))
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
    yield from client_with(subsampling="4:2:0")


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
    yield from client_with(max_side=600)


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

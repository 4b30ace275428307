"""Settings that trade what is given for time, at every door; each is off by default."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import picture
from flask.testing import FlaskClient
from PIL import Image, JpegImagePlugin

import camserve
from camserve.batch import Options, run_batch
from camserve.cli import main
from camserve.config import load_settings
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
